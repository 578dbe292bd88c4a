"""The table that a person reads and the file that a program does."""

import datetime
import json
import os


def write(results, path):
    machine = {"kernel": os.uname().release, "cpus": os.cpu_count(), "when": datetime.datetime.now().isoformat("T", "seconds")}
    with open(path, "w") as out:
        json.dump({"machine": machine, "results": results}, out, indent=1)
    print(f"written to {path}\n")


def ours(values):
    return next((name for name in values if name.startswith("gantry")), None)


def rows(result):
    """contender, cells; the last cell is how many times ours it is."""
    timed = "times" in result
    values = {name: t["median"] if timed else t for name, t in (result["times"] if timed else result["values"]).items()}
    base = values.get(ours(values))
    for name, value in sorted(values.items(), key=lambda item: item[1]):
        ratio = f"{value / base:.2f}" if base else ""
        if timed:
            yield name, [f"{value:.2f}", f"{result['times'][name]['p90']:.2f}", ratio]
        else:
            yield name, [f"{value:.0f}", "", ratio]


def table(results):
    for result in results:
        print(f"{result['name']}  [{result['unit']}]")
        print(f"  {'':24}{'median':>10}{'p90':>10}{'ratio':>8}")
        for name, cells in rows(result):
            print(f"  {name:24}{cells[0]:>10}{cells[1]:>10}{cells[2]:>8}")
        print()
