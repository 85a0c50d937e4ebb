"""Rotates the master key of the vault: a new line in the key file, every data key wrapped again, old lines retired.

Called by `noticesvc vault`. The key file is replaced as a whole (written beside, flushed, renamed), so that a crash
leaves the old or the new one. The new key is in the file before anything is wrapped under it, and an old one leaves the
file only when nothing is wrapped under it. One rotation at a time: a lock beside the file.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from noticesvc import vault
from noticesvc.config import Settings
from noticesvc.errors import ConfigurationError
from noticesvc.operations import rotation
from noticesvc.storage.database import Database

_LAST_VERSION = 255


def add(settings: Settings) -> int:
    """Put a fresh master key into the file as the current one; its version."""
    path = settings.path(settings.vault.key_file)
    with _alone(path):
        text = vault.read_secret_file(path, "vault key")
        if max(vault.parse(text)[0]) == _LAST_VERSION:
            raise ConfigurationError("The vault key file has used all 255 versions; this installation cannot be rotated further.")
        _replace(path, vault.rotated(text, os.urandom))
        return max(vault.parse(vault.read_secret_file(path, "vault key"))[0])


async def rewrap(settings: Settings, database: Database) -> int:
    """Wrap every data key under the current master key; how many there were to do."""
    master = vault.load(settings.path(settings.vault.key_file))
    done = 0
    for number in range(len(rotation.WRAPPED)):
        after: str | None = None
        while True:
            after, wrapped = await database.write(rotation.rewrap, master, number, after)
            done += wrapped
            if after is None:
                break
    return done


async def retire(settings: Settings, database: Database) -> int:
    """Take every old master key out of the file; the version that is left. ConfigurationError while one is needed."""
    path = settings.path(settings.vault.key_file)
    with _alone(path):
        text = vault.read_secret_file(path, "vault key")
        current = max(vault.parse(text)[0])
        if await database.read(rotation.left_behind, current):
            raise ConfigurationError("Keys are still wrapped under an older master key; run `noticesvc vault rotate --stage rewrap`, "
                                     "and restart services that began before the rotation.")
        _replace(path, vault.retired(text))
        return current


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    with path.with_name(path.name + ".lock").open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigurationError("Another rotation of this vault key is running; wait for it to end.") from None
        yield


def _replace(path: Path, text: str) -> None:
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
