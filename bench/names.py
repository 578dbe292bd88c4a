"""Names of containers: the latency of a local name and the queries a second, asked inside a container's network
namespace of the engine's DNS server; and what a network with names adds to a run."""

import os

import contenders

TOOL = os.path.join(contenders.HERE, "../tests/lib/dns.py")
NETWORK = "bench-names"


def served(engines):
    """Those that have a DNS server: the network is made on each."""
    for engine in engines:
        engine.run("network", "create", NETWORK)
    return engines


def bench(options, engines, timed):
    engines = served([engine for engine in engines if engine.name != "podman"])
    latency, rate = {}, {}
    for engine in engines:
        engine.run("run", "-d", "--name", "named", "--network", NETWORK, "busybox", "sleep", "100000")
        pid = engine.run("inspect", "-f", "{{.State.Pid}}", "named").strip()
        out = contenders.call("nsenter", f"--net=/proc/{pid}/ns/net", "/usr/bin/python3", TOOL, "load",
                              "0.5" if options.quick else "6", "named")
        rate[engine.name], latency[engine.name] = map(int, out.split())
        engine.run("rm", "-f", "named")
    results = [{"name": "a local name, asked by datagram: latency, median", "unit": "µs", "values": latency},
               {"name": "a local name, 32 asked at a time", "unit": "queries/s", "values": rate}]
    results += timed("run --rm --network NAMED busybox true",
                     {client: argv + ["run", "--rm", "--network", NETWORK, "busybox", "true"]
                      for engine in engines for client, argv in engine.clients()}, options.runs)
    for engine in engines:
        engine.run("network", "rm", NETWORK)
    return results
