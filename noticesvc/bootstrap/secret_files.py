"""Files of secrets, replaced whole and durably, one writer at a time."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from noticesvc.errors import ConfigurationError


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Hold the right to replace this file. ConfigurationError if another process holds it."""
    with path.with_name(path.name + ".lock").open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigurationError("Another rotation of this key is running; wait for it to end.") from None
        yield


def replace(path: Path, text: str) -> None:
    """Replace the file; its owner alone can read it, and when this returns it survives a power cut."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
