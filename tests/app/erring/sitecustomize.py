"""Lets the disk fail for a process, from when it is told to; nothing undoes that.

On PYTHONPATH of a server, its runner inherits it; the program knows nothing of it. A
filter of system calls (seccomp), which needs no rights, answers in place of Linux: to
those by which SQLite writes, and with EIO to those by which it reads, too. It is set by
the signal SIGRTMIN plus the error's number, or where the environment has that number as
`ERR_AT_CONNECT`, when the database is opened. Later filters win over earlier ones.
"""

import ctypes
import errno
import os
import platform
import signal
import struct
import sys

NUMBERS = {  # of seccomp; pread64; pwrite64, fsync, fdatasync, ftruncate
    "x86_64": (317, 17, (18, 74, 75, 77)),
    "aarch64": (277, 67, (68, 82, 83, 46)),
}
ERRORS = (errno.EIO, errno.ENOSPC, errno.EROFS)
NO_NEW_PRIVILEGES = 38
SET_FILTER, ALL_THREADS = 1, 1
LOAD, IS_EQUAL, RETURN = 0x20, 0x15, 0x06
FAIL, ALLOW = 0x0005_0000, 0x7FFF_0000


def _err(error: int) -> None:
    """Let these system calls of all threads fail from here on."""
    seccomp, read, writes = NUMBERS[platform.machine()]
    calls = (*writes, read) if error == errno.EIO else writes
    steps = [(LOAD, 0, 0, 0)]
    steps += [(IS_EQUAL, len(calls) - n, 0, call) for n, call in enumerate(calls)]
    steps += [(RETURN, 0, 0, ALLOW), (RETURN, 0, 0, FAIL | error)]
    code = ctypes.create_string_buffer(
        b"".join(struct.pack("HBBI", *step) for step in steps)
    )
    program = struct.pack("HP", len(steps), ctypes.addressof(code))
    libc = ctypes.CDLL(None)
    libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    if libc.syscall(seccomp, SET_FILTER, ALL_THREADS, program):
        raise OSError("no filter of system calls can be set")
    os.write(2, f"{os.strerror(error)} from here on\n".encode())


def _err_at_connect(event: str, _: object) -> None:
    if event == "sqlite3.connect":
        _err(int(os.environ["ERR_AT_CONNECT"]))


if {"app", "app.runner"} & {*sys.orig_argv}:
    for each in ERRORS:
        signal.signal(
            signal.SIGRTMIN + each, lambda number, _: _err(number - signal.SIGRTMIN)
        )
    if "ERR_AT_CONNECT" in os.environ:
        sys.addaudithook(_err_at_connect)
