"""The Engine API's contract (a Swagger 2.0 file) as something that answers can be held against.

Some liberties are taken, because Docker's own engine takes them: an empty list or map may be null (Go writes
nil so), and so may the few scalars of NULLS.
"""
import re

import yaml

# Scalars that Docker writes as null where they were not given, whatever the contract says.
NULLS = {"MemorySwappiness", "OomKillDisable", "PidsLimit", "Init", "ExitCode"}
JSON_TYPES = {"object": dict, "array": list, "string": str, "boolean": bool}
TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$")
INT_RANGES = {"int8": 7, "int16": 15, "int32": 31, "int64": 63, "uint8": 8, "uint16": 16, "uint32": 32, "uint64": 64}


class Contract:
    def __init__(self, path):
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        with open(path, encoding="utf-8") as file:
            self.document = yaml.load(file, loader)

    def operations(self):
        for path, methods in self.document["paths"].items():
            for method, operation in methods.items():
                if method != "parameters":
                    yield method.upper(), path, operation

    def operation(self, method, path):
        try:
            return self.document["paths"][path][method.lower()]
        except KeyError:
            raise KeyError(f"the contract has no {method} {path}") from None

    def resolve(self, schema):
        while "$ref" in schema:
            at = self.document
            for part in schema["$ref"].removeprefix("#/").split("/"):
                at = at[part]
            schema = at
        return schema

    def fields(self, schema):
        """The properties of an object's schema with those of its allOf parts, and those that are required."""
        schema = self.resolve(schema)
        properties, required = dict(schema.get("properties", {})), set(schema.get("required", []))
        for part in schema.get("allOf", []):
            more, needed = self.fields(part)
            properties.update(more)
            required |= needed
        return properties, required

    def problems(self, value, schema, where="$", unknown=frozenset()):
        """What is wrong with a value, a line each. `unknown`: paths that may be there and are not in the contract."""
        nullable = schema.get("x-nullable", False)
        schema = self.resolve(schema)
        nullable = nullable or schema.get("x-nullable", False)
        kind = schema.get("type") or ("object" if self.fields(schema)[0] else None)
        if kind is None and "allOf" in schema:  # of something that is no object
            for part in schema["allOf"]:
                yield from self.problems(value, part, where, unknown)
            return
        if value is None:
            if nullable or where.rpartition(".")[2] in NULLS or kind in ("array", "object", None):
                return
            yield f"{where}: null, not {kind}"
            return
        if kind == "array":
            if not isinstance(value, list):
                yield f"{where}: {value!r:.60} is no array"
                return
            if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
                yield f"{where}: {len(value)} items"
            for i, item in enumerate(value):
                yield from self.problems(item, schema.get("items", {}), f"{where}[]", unknown)
                if i > 20:
                    break
        elif kind == "object":
            yield from self.object_problems(value, schema, where, unknown)
        elif kind in ("integer", "number"):
            yield from number_problems(value, kind, schema, where)
        elif kind in ("string", "boolean"):
            if not isinstance(value, JSON_TYPES[kind]):
                yield f"{where}: {value!r:.60} is no {kind}"
                return
            if kind == "string":
                yield from string_problems(value, schema, where)

    def object_problems(self, value, schema, where, unknown):
        if not isinstance(value, dict):
            yield f"{where}: {value!r:.60} is no object"
            return
        properties, required = self.fields(schema)
        for name in required - value.keys():
            yield f"{where}.{name}: is required and not there"
        others = schema.get("additionalProperties", not properties)
        for name, item in value.items():
            if name in properties:
                yield from self.problems(item, properties[name], f"{where}.{name}", unknown)
            elif isinstance(others, dict):
                yield from self.problems(item, others, f"{where}.*", unknown)
            elif not others and f"{where}.{name}" not in unknown:
                yield f"{where}.{name}: is not in the contract"


def number_problems(value, kind, schema, where):
    if isinstance(value, bool) or not isinstance(value, int if kind == "integer" else (int, float)):
        yield f"{where}: {value!r:.60} is no {kind}"
        return
    bits = INT_RANGES.get(schema.get("format"))
    if bits and not (0 if schema["format"][0] == "u" else -(1 << bits)) <= value < 1 << bits:
        yield f"{where}: {value} is no {schema['format']}"
    if value < schema.get("minimum", value) or value > schema.get("maximum", value):
        yield f"{where}: {value} is out of range"


def string_problems(value, schema, where):
    if "enum" in schema and value not in schema["enum"]:
        yield f"{where}: {value!r} is none of {schema['enum']}"
    if schema.get("format") in ("dateTime", "date-time") and not TIME.match(value):
        yield f"{where}: {value!r} is no time"
    if "pattern" in schema and not re.search(schema["pattern"], value):
        yield f"{where}: {value!r} does not match {schema['pattern']}"
