"""The system's endpoints, volumes, networks, and those of a swarm that the engine is not part of."""
import time

import client

SCHEMA_OF_EVENT = {"$ref": "#/definitions/EventMessage"}


def system(t):
    ping = t.call("GET", "/_ping", 200, shape=False)
    t.expect("ping says OK", ping.body == b"OK", ping.body)
    for header in ("Api-Version", "Builder-Version", "Docker-Experimental", "Cache-Control", "Pragma", "Ostype", "Swarm"):
        t.expect(f"ping has {header}", header in ping.headers, dict(ping.headers))
    head = t.call("HEAD", "/_ping", 200, shape=False)
    t.expect("HEAD has no body", head.body == b"")
    version = t.call("GET", "/version", 200).json()
    t.expect("the version is the contract's", version["ApiVersion"] == t.contract.document["info"]["version"], version)
    t.call("GET", "/info", 200)
    t.call("GET", "/system/df", 200)
    if t.since(42):
        t.call("GET", "/system/df", 200, {"type": "volume"})
        t.call("GET", "/system/df", 400, {"type": "nonsense"})


def versions(t):
    """What is not a version, or not one that is spoken, is refused."""
    for path, status in (("/v1.23/version", 400), ("/v9.9/version", 400), ("/v1.24/version", 200), ("/version", 200)):
        answer = client.ask(t.socket, "GET", path)
        t.expect(f"{path} gives {status}", answer.status == status, answer.body)
    answer = client.ask(t.socket, "GET", t.prefix + "/nonsense")
    t.expect("an unknown path gives 404", answer.status == 404 and answer.json() == {"message": "page not found"},
             answer.body)


def events(t):
    since = time.time() - 1
    it = t.container("events", ["true"])
    client.ask(t.socket, "POST", f"{t.prefix}/containers/{it}/wait")
    t.call("DELETE", "/containers/{id}", 204, id=it)
    query = {"since": f"{since:.9f}", "until": f"{time.time() + 0.05:.9f}", "filters": {"container": [it]}}
    found = t.call("GET", "/events", 200, query).documents()
    actions = [e["Action"] for e in found if e["Type"] == "container"]
    t.expect("a container's life is told", [a for a in actions if a != "exec_die"] == [
        "create", "start", "die", "destroy"], actions)
    t.call("GET", "/events", 400, {"filters": {"nonsense": ["1"]}})
    t.call("GET", "/events", 400, {"since": 5, "until": 1})


def volumes(t):
    made = t.call("POST", "/volumes/create", 201, body={"Name": "contract", "Labels": {"contract": "1"}}).json()
    t.expect("it has its name", made["Name"] == "contract", made)
    t.call("POST", "/volumes/create", 400, body={"Name": "bad/name"})
    t.call("POST", "/volumes/create", 404, body={"Name": "x", "Driver": "nobody"})
    nameless = t.call("POST", "/volumes/create", 201, body={"Labels": {"contract": "1"}}).json()
    t.call("GET", "/volumes/{name}", 200, name="contract")
    t.call("GET", "/volumes/{name}", 404, name="nobody")
    for filters in ({"name": ["contract"]}, {"label": ["contract"]}, {"dangling": ["true"]}, {"driver": ["local"]}):
        found = t.call("GET", "/volumes", 200, {"filters": filters}).json()
        t.expect(f"it is found by {filters}", "contract" in [v["Name"] for v in found["Volumes"]], found)
    t.call("GET", "/volumes", 400, {"filters": {"nonsense": ["1"]}})
    it = t.container("user", ["true"], start=False, host={"Binds": ["contract:/data"]})
    t.call("DELETE", "/volumes/{name}", 409, name="contract")
    t.call("DELETE", "/containers/{id}", 204, {"v": 1}, id=it)
    pruned = t.call("POST", "/volumes/prune", 200, {"filters": {"label": ["contract"]}}).json()["VolumesDeleted"]
    wanted = {nameless["Name"]} if t.since(42) else {nameless["Name"], "contract"}
    t.expect("prune takes anonymous ones, or all for clients before 1.42", set(pruned) == wanted, pruned)
    if t.since(42):
        t.call("DELETE", "/volumes/{name}", 204, name="contract")
    t.call("DELETE", "/volumes/{name}", 404, name="contract")
    t.call("DELETE", "/volumes/{name}", 204, {"force": 1}, name="contract")
    t.call("POST", "/volumes/prune", 400, {"filters": {"nonsense": ["1"]}})


def networks(t):
    listed = t.call("GET", "/networks", 200).json()
    t.expect("the predefined ones are there", {n["Name"] for n in listed} >= {"bridge", "host", "none"}, listed)
    t.call("GET", "/networks", 200, {"filters": {"driver": ["bridge"]}})
    t.call("GET", "/networks", 400, {"filters": {"nonsense": ["1"]}})
    made = t.call("POST", "/networks/create", 201, body={
        "Name": "contract", "Driver": "bridge", "Labels": {"contract": "1"},
        "IPAM": {"Config": [{"Subnet": "10.213.0.0/24"}]}}).json()
    t.call("POST", "/networks/create", 409, body={"Name": "contract", "CheckDuplicate": True})
    t.call("POST", "/networks/create", 404, body={"Name": "x", "Driver": "nobody"})
    t.call("GET", "/networks/{id}", 200, id="contract")
    t.call("GET", "/networks/{id}", 200, {"verbose": 1}, id=made["Id"])
    t.call("GET", "/networks/{id}", 404, id="nobody")
    it = t.container("user", host={"NetworkMode": "contract"})
    t.call("GET", "/networks/{id}", 200, id="contract")
    t.call("DELETE", "/networks/{id}", 403, id="contract")
    second = t.call("POST", "/networks/create", 201, body={"Name": "contract2"}).json()
    t.call("POST", "/networks/{id}/connect", 200, body={"Container": it, "EndpointConfig": {"Aliases": ["a"]}},
           id="contract2")
    shown = t.call("GET", "/containers/{id}/json", 200, id=it).json()["NetworkSettings"]["Networks"]
    t.expect("it is in both", set(shown) == {"contract", "contract2"}, shown)
    t.call("POST", "/networks/{id}/connect", 404, body={"Container": it}, id="nobody")
    t.call("POST", "/networks/{id}/connect", 404, body={"Container": "nobody"}, id="contract2")
    t.call("POST", "/networks/{id}/disconnect", 200, body={"Container": it}, id="contract2")
    t.call("POST", "/networks/{id}/disconnect", 404, body={"Container": it}, id="nobody")
    t.call("DELETE", "/containers/{id}", 204, {"force": 1}, id=it)
    t.call("DELETE", "/networks/{id}", 204, id="contract")
    t.call("DELETE", "/networks/{id}", 404, id="contract")
    t.call("DELETE", "/networks/{id}", 403, id="bridge")
    pruned = t.call("POST", "/networks/prune", 200).json()
    t.expect("prune removes the other", "contract2" in (pruned["NetworksDeleted"] or []), (pruned, second))
    t.call("POST", "/networks/prune", 400, {"filters": {"nonsense": ["1"]}})


# (method, path, status) of an engine that is in no swarm and has no plugins.
SWARM = [
    ("GET", "/swarm", 503), ("GET", "/swarm/unlockkey", 503), ("POST", "/swarm/update", 503),
    ("POST", "/swarm/unlock", 503), ("POST", "/swarm/leave", 503), ("POST", "/swarm/init", 501),
    ("POST", "/swarm/join", 501), ("GET", "/nodes", 503), ("GET", "/nodes/{id}", 503), ("DELETE", "/nodes/{id}", 503),
    ("POST", "/nodes/{id}/update", 503), ("GET", "/services", 503), ("POST", "/services/create", 503),
    ("GET", "/services/{id}", 503), ("DELETE", "/services/{id}", 503), ("POST", "/services/{id}/update", 503),
    ("GET", "/services/{id}/logs", 503), ("GET", "/tasks", 503), ("GET", "/tasks/{id}", 503),
    ("GET", "/tasks/{id}/logs", 503), ("GET", "/secrets", 503), ("POST", "/secrets/create", 503),
    ("GET", "/secrets/{id}", 503), ("DELETE", "/secrets/{id}", 503), ("POST", "/secrets/{id}/update", 503),
    ("GET", "/configs", 503), ("POST", "/configs/create", 503), ("GET", "/configs/{id}", 503),
    ("DELETE", "/configs/{id}", 503), ("POST", "/configs/{id}/update", 503),
    ("GET", "/plugins", 200), ("GET", "/plugins/{name}/json", 404), ("DELETE", "/plugins/{name}", 404),
    ("POST", "/plugins/{name}/enable", 404), ("POST", "/plugins/{name}/disable", 404),
]


def swarm(t):
    for method, path, status in SWARM:
        names = {part[1:-1]: "x" for part in path.split("/") if part.startswith("{")}
        t.call(method, path, status, **names)


STEPS = [system, versions, events, volumes, networks, swarm]
