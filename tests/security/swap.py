#!/usr/bin/env python3
"""swap.py A B: exchanges what two names stand for, again and again, until it is killed: the neighbour in attacks
that race a runtime's look at a path against its use. Says "ready" once it has done so for the first time."""
import ctypes
import os
import sys

AT_FDCWD, RENAME_EXCHANGE = -100, 2
libc = ctypes.CDLL(None, use_errno=True)
a, b = (os.fsencode(name) for name in sys.argv[1:3])
first = True
while True:
    if libc.renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE) != 0:
        sys.exit(f"swap.py: {os.strerror(ctypes.get_errno())}")
    if first:
        print("ready", flush=True)
        first = False
