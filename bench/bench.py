#!/usr/bin/python3
"""Measures Gantry beside the container engines and runtimes that are installed.

usage: bench.py --programs BUILD-TREE --out DIRECTORY [--runs N] [--quick] [NAME…]

Prints a table and writes DIRECTORY/bench.json. Names (default: all):

  run        CLIENT run --rm busybox true, on a bridge network
  run-none   the same with --network none
  bare       RUNTIME run, create + start + delete, exec, and 200 runs, one and eight at a time, of one OCI bundle:
             gantry-runtime, crun, runc
  exec       CLIENT exec CONTAINER true
  ps         CLIENT ps
  names      the DNS server of containers beside dockerd's: latency and queries a second; run --rm on a network with names
             (bench/names.py)
  memory     PSS of an idle daemon, and the mean PSS of 50 shims
  engine     gantryd alone, asked on its socket, beside what the project holds itself to: time in the database per
             run, tag and untag, ps over 1,000 containers and inspect, start-up with them, garbage collection of
             10,000 blobs beside runs (bench/engine.py)
  registry   gantry-registry beside docker-registry: push and pull of a 600 MiB blob and of 1,000 small ones, memory
             (bench/registry.py)
  pull, push, load, save
             600 MB in one layer, 40 layers and many tiny images, from and to the same registry on loopback, with erofs and
             with overlay2 (bench/transfer.py)
  layers     one big layer with every storage driver: taken in, mounted, read, removed (bench/layers.py)

Every contender's runs are interleaved with the others', so that what the machine does meanwhile hits all alike,
and done once back to back and once 300 ms apart, because some costs of the kernel show only on an idle host.
Times are from just before posix_spawn of the client until it has been reaped, the same for every contender.

Peers run on roots and sockets of their own, in network, mount and cgroup namespaces of the bench's own
(tests/isolate), and are stopped by pid.
"""

import argparse
import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import contenders  # noqa: E402
import engine as engine_bench  # noqa: E402
import layers  # noqa: E402
import measure  # noqa: E402
import names as names_bench  # noqa: E402
import registry as registry_bench  # noqa: E402
import report  # noqa: E402
import transfer  # noqa: E402

ISOLATED = "GANTRY_BENCH_ISOLATED"
BENCHES = ("run", "run-none", "bare", "exec", "ps", "names", "memory", "engine", "registry", "layers", *transfer.NAMES)


def arguments():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--programs", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--runs", type=int, default=40, help="runs of each contender, each way")
    parser.add_argument("--tiny", type=int, default=1000, help="tiny images that are pulled")
    parser.add_argument("--rounds", type=int, default=5, help="of pull, push, load and save with each contender")
    parser.add_argument("--images", help="directory that keeps the images of pull, push, load and save for the next time")
    parser.add_argument("--shims", type=int, default=50)
    parser.add_argument("--quick", action="store_true", help="few runs: to see that it works")
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    unknown = set(options.names) - set(BENCHES)
    if unknown:
        parser.error(f"there is no bench {', '.join(sorted(unknown))} ({' '.join(BENCHES)})")
    options.names = options.names or list(BENCHES)
    options.programs = os.path.abspath(options.programs)
    options.out = os.path.abspath(options.out)
    if options.quick:
        options.runs, options.shims = 5, 5
    return options


def timed(name, commands, runs):
    """commands: contender → argument list. One result for each way of spacing the runs."""
    return [measure.compare(name, commands, runs, pause) for pause in (0.0, 0.3)]


def bench_runtimes(options, place):
    """OCI runtimes on the same bundles: a whole run, step by step, into one that runs, and many."""
    bundle, sleeper = place.bundle("bundle", "/bin/true"), place.bundle("sleeper", "/bin/sleep", "100000")
    runtimes = place.runtimes()
    results = timed("RUNTIME run BUNDLE (true)",
                    {name: base + ["run", "--bundle", bundle, "bench-" + name] for name, base in runtimes.items()},
                    options.runs)
    steps = '"$@" create --bundle "$BUNDLE" steps </dev/null >/dev/null 2>&1 && "$@" start steps && "$@" delete --force steps'
    results += timed("RUNTIME create, start, delete --force (true; with a shell's start)",
                     {name: ["env", "BUNDLE=" + bundle, "sh", "-c", steps, "sh"] + base
                      for name, base in runtimes.items()}, options.runs)
    for base in runtimes.values():
        subprocess.run(base + ["run", "--detach", "--bundle", sleeper, "target"], check=True, stdin=subprocess.DEVNULL,
                       stdout=subprocess.DEVNULL)
    results += timed("RUNTIME exec (true)",
                     {name: base + ["exec", "target", "/bin/true"] for name, base in runtimes.items()}, options.runs)
    for base in runtimes.values():
        subprocess.run(base + ["delete", "--force", "target"], check=True)
    total = 200 if not options.quick else 16
    for width in (1, 8):
        results.append(measure.many(
            f"{total} times RUNTIME run (true), {width} at a time",
            {name: lambda number, base=base: base + ["run", "--bundle", bundle, f"many-{number}"]
             for name, base in runtimes.items()}, total, width))
    return results


def bench_engines(options, engines):
    names, results = options.names, []
    clients = [(engine, client, argv) for engine in engines for client, argv in engine.clients()]
    if "run" in names:
        results += timed("run --rm busybox true, bridge network",
                         {c: argv + ["run", "--rm", "busybox", "true"] for _, c, argv in clients}, options.runs)
    if "run-none" in names:
        results += timed("run --rm --network none busybox true",
                         {c: argv + ["run", "--rm", "--network", "none", "busybox", "true"] for _, c, argv in clients},
                         options.runs)
    if "exec" in names or "ps" in names:
        for engine in engines:
            engine.run("run", "-d", "--name", "target", "busybox", "sleep", "100000")
        if "exec" in names:
            results += timed("exec CONTAINER true",
                             {c: argv + ["exec", "target", "true"] for _, c, argv in clients}, options.runs)
        if "ps" in names:
            results += timed("ps, one container", {c: argv + ["ps"] for _, c, argv in clients}, options.runs)
        for engine in engines:
            engine.run("rm", "-f", "target")
    if "names" in names:
        results += names_bench.bench(options, engines, timed)
    if "memory" in names:
        results += bench_memory(options, engines)
    return results


def bench_memory(options, engines):
    daemons, shims = {}, {}
    for engine in engines:
        if engine.pids():
            daemons[engine.name] = sum(map(measure.pss_kib, engine.pids()))
        shims[engine.name] = measure.shim_pss_kib(engine, options.shims)
    return [{"name": "idle daemon, PSS", "unit": "KiB", "values": daemons},
            {"name": f"beside each of {options.shims} containers, mean PSS", "unit": "KiB",
             "values": {name: value for name, value in shims.items() if value is not None}}]


def main():
    options = arguments()
    # By itself, lest somebody set it: what follows mounts over /usr.
    if not os.environ.get(ISOLATED) or not os.environ.get("GANTRY_ISOLATE_TMP"):
        isolate = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "isolate")
        os.environ[ISOLATED] = "1"
        os.execv(isolate, [isolate, sys.executable] + sys.argv)
    os.makedirs(options.out, exist_ok=True)
    contenders.use_peers()
    results = []
    with contenders.Workplace(options.programs) as place:
        if "bare" in options.names:
            results += bench_runtimes(options, place)
        if "engine" in options.names:
            results += engine_bench.bench(options, place)
        if "registry" in options.names:
            results += registry_bench.bench(options, place)
        if "layers" in options.names:
            results += layers.bench(options)
        if set(transfer.NAMES) & set(options.names):
            results += transfer.bench(options, place)
        if set(options.names) - {"bare", "engine", "registry", "layers", *transfer.NAMES}:
            with place.engines() as engines:
                results += bench_engines(options, engines)
    report.write(results, os.path.join(options.out, "bench.json"))
    report.table(results)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except subprocess.CalledProcessError as error:
        sys.exit(f"bench: {error}: {(error.stderr or b'').decode(errors='replace').strip()}")
    except measure.Failed as error:
        sys.exit(f"bench: {error}")
