"""What must hold at the end: the daemon has what the model has; the database is sound; the daemon has not grown."""

import os
import sqlite3

from engine import Failure, eventually
from model import ABSENT, THERE

JOURNAL_LIMIT = 2000  # EngineOptions::journal_limit; trimmed now and then, so a few more
DONE = 3              # JobStatus::done
INTENDED = 1          # ResourceState::intended


def complaints(engine, clients):
    """Every difference between the daemon and what was acknowledged to the clients, one line each."""
    containers = {c["Id"]: c for c in engine.request("GET", "/containers/json", all=1)[1]}
    volumes = {v["Name"] for v in engine.request("GET", "/volumes")[1]["Volumes"] or []}
    networks = {n["Id"]: n["Name"] for n in engine.request("GET", "/networks")[1]}
    tags = {t: i["Id"] for i in engine.request("GET", "/images/json")[1] for t in i["RepoTags"] or []}
    known = set()
    for client in clients:
        yield from container_complaints(engine, client.model.containers, containers, known)
        yield from presence("volume", client.model.volumes, lambda v: v.name in volumes)
        yield from presence("network", client.model.networks, lambda n: n.name in networks.values())
        yield from presence("tag", client.model.tags, lambda t: t.name in tags)
        for tag in client.model.tags:
            if tag.name in tags and tag.image and tags[tag.name] != tag.image:
                yield f"tag {tag.name} is {tags[tag.name]}, not {tag.image}"
        known |= {t.name for t in client.model.volumes + client.model.networks + client.model.tags}
    for container in containers.values():
        if container["Id"] not in known and not container["Names"][0].startswith("/shared-"):
            yield f"container {container['Names'][0]} ({container['State']}) is there and nobody made it"
    for name in [*volumes, *networks.values(), *tags]:
        if name not in known and name not in ("bridge", "host", "none", "busybox:latest"):
            yield f"{name} is there and nobody made it"


def container_complaints(engine, things, containers, known):
    for thing in things:
        found = [c for c in containers.values() if c["Id"] == thing.id or c["Names"][0][1:] in thing.names]
        known |= {c["Id"] for c in found}
        state = found[0]["State"] if found else ABSENT
        if state not in thing.states:
            yield f"container {thing.name} is {state}, must be one of {sorted(thing.states)}"
        if not found:
            continue
        _, detail = engine.request("GET", f"/containers/{found[0]['Id']}/json")
        if detail["Name"][1:] not in thing.names:
            yield f"container {thing.name} is called {detail['Name']}, must be one of {sorted(thing.names)}"
        if detail["HostConfig"]["Memory"] not in thing.facts["memory"]:
            yield f"container {thing.name} has memory {detail['HostConfig']['Memory']}, not {thing.facts['memory']}"


def presence(kind, things, there):
    for thing in things:
        state = THERE if there(thing) else ABSENT
        if state not in thing.states:
            yield f"{kind} {thing.name} is {state}, must be one of {sorted(thing.states)}"


def database_complaints(path):
    """Of the closed database: torn pages, dangling rows, a journal without bound, jobs and resources left over."""
    database = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        for (line,) in database.execute("PRAGMA integrity_check"):
            if line != "ok":
                yield f"database: {line}"
        for row in database.execute("PRAGMA foreign_key_check"):
            yield f"database: dangling row {row}"
        (jobs,) = database.execute("SELECT count(*) FROM job").fetchone()
        if jobs > JOURNAL_LIMIT * 1.5:
            yield f"the journal has {jobs} rows; it is to keep {JOURNAL_LIMIT}"
        for row in database.execute("SELECT id, name FROM job WHERE status < ?", (DONE,)):
            yield f"job {row} is queued or running though no daemon is"
        for row in database.execute("SELECT kind, name, owner, state FROM resource WHERE state = ?", (INTENDED,)):
            yield f"resource {row} is still only intended"
    finally:
        database.close()


def settle(engine):
    """Until no job runs."""
    def idle():
        jobs = engine.request("GET", "/gantry/jobs", limit=1000)[1]
        return not [j for j in jobs if j["Status"] in ("queued", "running")]
    eventually("no job runs any more", idle)


def quiet_cost(engine):
    """What the daemon costs once nothing happens any more."""
    settle(engine)
    best = {}

    def same_twice():
        now = engine.cost()
        same = now["descriptors"] == best.get("descriptors") and now["threads"] <= best.get("threads", 0)
        best.update(now)
        return same
    eventually("the daemon comes to rest", same_twice)
    best["wal"] = os.path.getsize(f"{engine.root}/data/gantry.db-wal") >> 10
    return best


def growth(before, after):
    """What a run of operations must not do to the daemon. Memory: what malloc keeps varies, so a quarter and 4 MiB."""
    if after["pss"] > before["pss"] * 1.25 + 4096:
        yield f"the daemon's memory grew from {before['pss']} to {after['pss']} KiB"
    if after["descriptors"] > before["descriptors"] + 4:
        yield f"the daemon's descriptors grew from {before['descriptors']} to {after['descriptors']}"
    if after["threads"] > before["threads"] + 8:
        yield f"the daemon's threads grew from {before['threads']} to {after['threads']}"
    if after["wal"] > 64 << 10:
        yield f"the database's write-ahead log has {after['wal']} KiB"


def check_empty(engine):
    for path in ("content", "erofs", "overlay2", "containers", "volumes", "tmp"):
        place = f"{engine.root}/data/{path}"
        if os.path.isdir(place) and path in ("containers", "tmp") and os.listdir(place):
            raise Failure(f"{place} still has {os.listdir(place)}")
