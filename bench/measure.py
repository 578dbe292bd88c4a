"""Timing of commands and sizes of processes."""

import concurrent.futures
import glob
import os
import statistics
import time


class Failed(Exception):
    pass


def once(command, pause):
    """Seconds from just before the spawn until the command has been reaped; its output is thrown away."""
    if pause:
        time.sleep(pause)
    actions = [(os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
               (os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0)]
    start = time.monotonic_ns()
    pid = os.posix_spawnp(command[0], command, os.environ, file_actions=actions)
    _, status = os.waitpid(pid, 0)
    elapsed = time.monotonic_ns() - start
    if status:
        raise Failed(f"status {os.waitstatus_to_exitcode(status)} from: {' '.join(command)}")
    return elapsed / 1e9


def compare(name, commands, runs, pause):
    """Interleaved runs of all commands, two unmeasured ones first."""
    for command in commands.values():
        for _ in range(2):
            once(command, 0)
    times = {contender: [] for contender in commands}
    for _ in range(runs):
        for contender, command in commands.items():
            times[contender].append(once(command, pause))
    spacing = f"{pause * 1000:.0f} ms apart" if pause else "back to back"
    return {"name": f"{name}, {spacing}", "unit": "ms", "runs": runs, "times": {
        contender: {"median": statistics.median(ts) * 1e3, "p90": sorted(ts)[int(len(ts) * 0.9)] * 1e3,
                    "min": min(ts) * 1e3, "all": [round(t * 1e3, 3) for t in ts]}
        for contender, ts in times.items()}}


def many(name, commands, total, width):
    """`total` runs of each command (a function of the run's number), `width` at a time: the time for all of them,
    three rounds, interleaved."""
    def all_of(command):
        start = time.monotonic_ns()
        with concurrent.futures.ThreadPoolExecutor(width) as pool:
            list(pool.map(lambda number: once(command(number), 0), range(total)))
        return (time.monotonic_ns() - start) / 1e9

    times = {contender: [] for contender in commands}
    for _ in range(3):
        for contender, command in commands.items():
            times[contender].append(all_of(command))
    return {"name": name, "unit": "ms", "runs": 3, "times": {
        contender: {"median": statistics.median(ts) * 1e3, "p90": max(ts) * 1e3, "min": min(ts) * 1e3,
                    "all": [round(t * 1e3, 3) for t in ts]}
        for contender, ts in times.items()}}


def pss_kib(pid):
    for line in open(f"/proc/{pid}/smaps_rollup"):
        if line.startswith("Pss:"):
            return int(line.split()[1])
    return 0


def parent(pid):
    for line in open(f"/proc/{pid}/status"):
        if line.startswith("PPid:"):
            return int(line.split()[1])


def processes():
    return {int(path.split("/")[2]) for path in glob.glob("/proc/[0-9]*/stat")}


def shim_pss_kib(engine, count):
    """Mean PSS of what stands beside a container: the parents of the containers' first processes."""
    ids = [engine.run("run", "-d", "busybox", "sleep", "100000").strip() for _ in range(count)]
    try:
        shims = {parent(int(engine.run("inspect", "-f", "{{.State.Pid}}", i))) for i in ids} - {1, None}
        return sum(map(pss_kib, shims)) / count if shims else None
    finally:
        for i in ids:
            engine.run("rm", "-f", i)
