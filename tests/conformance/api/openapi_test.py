#!/usr/bin/python3
"""openapi_test.py CONTRACT: answers that are wrong in one way each are found to be so."""
import sys
import unittest

import openapi

CONTRACT = openapi.Contract(sys.argv.pop())
RIGHT = {"Name": "v", "Driver": "local", "Mountpoint": "/x", "Labels": {"a": "b"}, "Scope": "local", "Options": None}


class Problems(unittest.TestCase):
    def found(self, **changes):
        volume = {**RIGHT, **changes}
        return list(CONTRACT.problems({k: v for k, v in volume.items() if v != "absent"}, {"$ref": "#/definitions/Volume"}))

    def test_what_is_right_is_right(self):
        self.assertEqual(self.found(), [])

    def test_what_is_wrong_is_found(self):
        for changes, told in (({"Name": 5}, "is no string"), ({"Name": None}, "null"), ({"Name": "absent"}, "required"),
                              ({"Scope": "wide"}, "is none of"), ({"Labels": []}, "is no object"),
                              ({"Labels": {"a": 1}}, "is no string"), ({"Strange": 1}, "not in the contract"),
                              ({"CreatedAt": "yesterday"}, "is no time"), ({"UsageData": {"Size": True, "RefCount": 1}}, "integer")):
            with self.subTest(changes=changes):
                self.assertTrue(any(told in problem for problem in self.found(**changes)), self.found(**changes))

    def test_numbers_have_ranges(self):
        self.assertTrue(list(CONTRACT.problems(1 << 70, {"type": "integer", "format": "int64"})))
        self.assertTrue(list(CONTRACT.problems(-1, {"type": "integer", "minimum": 0})))

    def test_lists_are_looked_into(self):
        self.assertTrue(list(CONTRACT.problems(["a", 5], {"type": "array", "items": {"type": "string"}})))


if __name__ == "__main__":
    unittest.main()
