"""The list of failpoints, read from the sources, so that a new one shows up by itself."""

import os
import re

CALL = re.compile(r'(\(void\))?failpoint\("([^"]+)"(\s*\+\s*resource\.kind)?\)')
OF_SHIMS = ("shim.", "runtime.", "init.")

# Never reached by a case here, and why.
EXCUSED = {
    "engine.commit_now": "only where half of a database was lost, or a repair met what is corrupt: damage.bats",
    "engine.settle": "only after a rollback that could not be written: the pairs at engine.rolled_back reach it",
    "resource.release.net.sysctl": "only where forwarding was off; covered by networks_test",
    "resource.released.net.sysctl": "as resource.release.net.sysctl",
}


def sources(root):
    for directory, _, files in os.walk(root + "/src"):
        for file in files:
            if file.endswith(".cc") and not file.endswith(("_test.cc", "_fuzz.cc")) and file != "failpoint.cc":
                with open(os.path.join(directory, file)) as text:
                    yield text.read()


def all_points(root, kinds):
    """{name: may_fail}; a point whose result is dropped can only wait or die."""
    points = {}
    for text in sources(root):
        for dropped, name, of_kind in CALL.findall(text):
            for full in [name + kind for kind in kinds] if of_kind else [name]:
                points[full] = points.get(full, False) or not dropped
    return points
