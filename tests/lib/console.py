#!/usr/bin/python3
"""console.py SOCKET TYPED OUTPUT: the other end of --console-socket. Takes the terminal's master, types what is
written to the FIFO TYPED and keeps what comes in OUTPUT, until the terminal is gone."""
import array
import os
import select
import socket
import sys

listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen(1)
peer, _ = listener.accept()
data, ancillary, _, _ = peer.recvmsg(4096, socket.CMSG_SPACE(4))
fds = array.array('i')
fds.frombytes(ancillary[0][2])
master = fds[0]
typed = os.open(sys.argv[2], os.O_RDWR)
with open(sys.argv[3], 'wb', buffering=0) as output:
    while True:
        ready, _, _ = select.select([master, typed], [], [])
        if typed in ready:
            os.write(master, os.read(typed, 4096))
        if master in ready:
            try:
                piece = os.read(master, 4096)
            except OSError:  # EIO: nobody has the terminal open
                break
            output.write(piece)
