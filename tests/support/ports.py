"""Loopback ports for programs that must be told theirs before they listen, and may listen on it again after a restart.

A port from the kernel would be anybody's again as soon as it is let go. These lie below the range that the kernel hands out, and
each test process has a block of its own, held by a lock for as long as it lives.
"""

import fcntl
import functools
import itertools
import os
import random
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

_FIRST, _BLOCK, _BLOCKS = 10_200, 100, 56  # to 15,799


def free_port() -> int:
    """A port on which nothing listens, and on which nobody else will."""
    for _ in range(_BLOCK):
        port = next(_ports())
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise AssertionError("every port of this process's block is taken")


@functools.cache
def _ports() -> Iterator[int]:
    """The ports of our block, again and again; the lock goes with the process."""
    folder = Path(tempfile.gettempdir()) / f"noticesvc-test-ports-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    for block in random.sample(range(_BLOCKS), _BLOCKS):
        lock = os.open(folder / str(block), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            continue
        first = _FIRST + block * _BLOCK
        return itertools.cycle(range(first, first + _BLOCK))
    raise AssertionError(f"all {_BLOCKS} blocks of ports are in use")
