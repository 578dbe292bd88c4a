#!/usr/bin/python3
"""Runs a command on a terminal of its own and talks to it.

usage: terminal.py STEP… -- COMMAND ARGUMENT…

  expect:REGEX     read until what came since the last match matches (10 s at most)
  send:TEXT        write it; \\r \\n \\x.. \\e are understood
  resize:ROWSxCOLS change the size of the terminal
  signal:NAME      send a signal to the command
  restored:        at the end, the terminal's modes must be what they were

The terminal starts with 30 rows and 100 columns. Prints everything that came, exits with the command's status
(128 + signal for one that died of it), or with 99 and the reason on stderr when a step was not met.
"""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time

STEP_SECONDS = 10.0


class StepFailed(Exception):
    pass


class Session:
    def __init__(self, command):
        self.seen = b""
        self.matched = 0
        self.master, slave = pty.openpty()
        self.slave = slave  # kept open so that the modes can be read after the command has gone
        self.resize(30, 100)
        self.resized = False
        self.modes = termios.tcgetattr(slave)
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self.master)
            os.setsid()
            fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
            for target in (0, 1, 2):
                os.dup2(slave, target)
            os.closerange(3, 64)
            try:
                os.execvp(command[0], command)
            finally:
                os._exit(127)
        self.status = None

    def resize(self, rows, columns):
        self.resized = True
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read(self, seconds):
        if select.select([self.master], [], [], seconds)[0]:
            try:
                self.seen += os.read(self.master, 65536)
                return True
            except OSError:
                return False
        return False

    def ended(self):
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = status
        return self.status is not None

    def expect(self, pattern):
        deadline = time.monotonic() + STEP_SECONDS
        again = time.monotonic() + 0.5
        while True:
            # docker shows output a moment before it listens for a change of size, and misses one in between.
            if self.resized and time.monotonic() > again and not self.ended():
                os.kill(self.pid, signal.SIGWINCH)
                again += 0.5
            match = re.search(pattern.encode(), self.seen[self.matched:], re.S | re.M)
            if match:
                self.matched += match.end()
                return
            over = self.ended()
            if not self.read(0.05) and (over or time.monotonic() > deadline):
                raise StepFailed(f"expected {pattern!r}, " + ("but the command ended" if over else "not in time"))

    def finish(self):
        deadline = time.monotonic() + STEP_SECONDS
        while not self.ended():
            self.read(0.05)
            if time.monotonic() > deadline:
                os.kill(self.pid, signal.SIGKILL)
                self.status = os.waitpid(self.pid, 0)[1]
                raise StepFailed("the command did not end in time")
        while self.read(0):
            pass
        return os.waitstatus_to_exitcode(self.status)


def unescape(text):
    return text.replace("\\e", "\\x1b").encode("latin-1", "backslashreplace").decode("unicode_escape").encode("latin-1")


def perform(session, step):
    verb, _, argument = step.partition(":")
    if verb == "expect":
        session.expect(argument)
    elif verb == "send":
        os.write(session.master, unescape(argument))
    elif verb == "resize":
        session.resize(*map(int, argument.split("x")))
    elif verb == "signal":
        os.kill(session.pid, getattr(signal, "SIG" + argument))
    elif verb != "restored":
        raise StepFailed(f"there is no step {verb!r}")


def main(arguments):
    split = arguments.index("--")
    steps, command = arguments[:split], arguments[split + 1:]
    session = Session(command)
    try:
        for step in steps:
            perform(session, step)
        code = session.finish()
        if "restored:" in steps and termios.tcgetattr(session.slave) != session.modes:
            raise StepFailed("the terminal's modes were not restored")
        return code if code >= 0 else 128 - code
    except StepFailed as failure:
        sys.stderr.write(f"terminal: {failure}\n")
        if not session.ended():
            os.kill(session.pid, signal.SIGKILL)
        return 99
    finally:
        sys.stdout.buffer.write(session.seen.replace(b"\r\n", b"\n"))
        sys.stdout.flush()


sys.exit(main(sys.argv[1:]))
