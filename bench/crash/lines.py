"""Append-only files of JSON lines: what sinks and clients write down, so that a verdict needs nobody's word but theirs.

One line is one write to a file opened for appending, so it survives the death of its writer and lines never mix.
"""

import json
import os
import time
from pathlib import Path
from typing import Any


class Lines:
    """A file of lines, to write to."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def write(self, **members: Any) -> None:
        """Append one line; `at` is now, in seconds."""
        os.write(self._fd, json.dumps({"at": round(time.time(), 4), **members}, ensure_ascii=False).encode() + b"\n")


def read(path: Path) -> list[dict[str, Any]]:
    """All whole lines of a file, the oldest first; none if there is no file."""
    return read_after(path, 0)


def read_after(path: Path, start: int) -> list[dict[str, Any]]:
    """The whole lines that came after a file had this `size`."""
    if not path.exists():
        return []
    with path.open("rb") as file:
        file.seek(start)
        return [json.loads(line) for line in file.read().split(b"\n")[:-1]]


def size(path: Path) -> int:
    """The bytes of a file, 0 if there is none: grows while its writer is at work."""
    return path.stat().st_size if path.exists() else 0
