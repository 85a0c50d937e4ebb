"""Messages between a process and a second one of ours over pipes: four bytes of length, then as many bytes.

Called by the audit and by the making of broadcasts, each of which runs a program of its own in its second process.
"""

import os
import struct
from typing import IO, Final

LENGTH: Final = struct.Struct(">I")


def environment() -> dict[str, str]:
    """The environment for a second process: this one's, without our settings and secrets."""
    return {name: value for name, value in os.environ.items() if not name.startswith("NOTICESVC_")}


def write(pipe: IO[bytes] | None, data: bytes) -> None:
    """Send a message. OSError if nobody reads any more."""
    if pipe is not None:
        pipe.write(LENGTH.pack(len(data)))
        pipe.write(data)
        pipe.flush()


def read(pipe: IO[bytes] | None) -> bytes | None:
    """The next message; null at the end, also in the middle of one."""
    if pipe is None:
        return None
    start = pipe.read(LENGTH.size)
    if len(start) < LENGTH.size:
        return None
    (length,) = LENGTH.unpack(start)
    data = pipe.read(length)
    return data if len(data) == length else None
