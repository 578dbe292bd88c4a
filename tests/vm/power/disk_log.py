"""What a disk holds after a power cut, from the log of its writes that QEMU's `blklogwrites` keeps.

The format is the kernel's: Documentation/admin-guide/device-mapper/log-writes.rst. A write that a later flush covers is
on the disk; of those after the last flush a disk with a write-back cache has stored any, in any order.
"""

import struct

MAGIC, VERSION = 0x6A736677736872, 1
FLUSH, FUA, DISCARD, MARK = 1, 2, 4, 8


def entries(path):
    """(flags, offset, data) of each write, in order; the last one may be torn and is left out."""
    with open(path, "rb") as log:
        magic, version, _, sector = struct.unpack("<QQQI", log.read(28))
        if (magic, version) != (MAGIC, VERSION):
            raise ValueError(f"{path} is no log of writes")
        log.seek(sector)
        while True:
            head = log.read(sector)
            if len(head) < sector:
                return
            at, count, flags, _ = struct.unpack("<QQQQ", head[:32])
            if count == 0 and flags == 0:
                return  # not written yet
            data = b"" if flags & (DISCARD | MARK) else log.read(count * sector)
            if not flags & (DISCARD | MARK) and len(data) < count * sector:
                return
            yield flags, at * sector, count * sector if flags & DISCARD else data


def cut(log, disk, rng):
    """Brings `disk`, as it was when the log began, to a state that a power cut at the log's end may leave.
    (writes that were kept, writes that were lost)"""
    all_entries = list(entries(log))
    flushed = max((i for i, (flags, _, _) in enumerate(all_entries) if flags & FLUSH), default=-1)
    kept = lost = 0
    share = rng.choice([0, 0.5, 0.9])  # of the cache that the disk had stored by itself
    with open(disk, "r+b") as file:
        for number, (flags, offset, data) in enumerate(all_entries):
            if flags & MARK or not data:
                continue
            if number > flushed and not flags & FUA and rng.random() >= share:
                lost += 1
                continue
            file.seek(offset)
            file.write(b"\0" * data if flags & DISCARD else data)
            kept += 1
    return kept, lost
