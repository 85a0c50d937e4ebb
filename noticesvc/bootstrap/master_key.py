"""Rotates the master key of the vault: a new line in the key file, every data key wrapped again, old lines retired.

Called by `noticesvc vault`. The key file is replaced as a whole (written beside, flushed, renamed), so that a crash
leaves the old or the new one. The new key is in the file before anything is wrapped under it, and an old one leaves the
file only when nothing is wrapped under it. One rotation at a time: a lock beside the file.
"""

import os

from noticesvc import vault
from noticesvc.bootstrap import key_sources, secret_files
from noticesvc.config import Settings
from noticesvc.errors import ConfigurationError
from noticesvc.operations import rotation
from noticesvc.storage.database import Database

_LAST_VERSION = 255


def add(settings: Settings) -> int:
    """Put a fresh master key into the file as the current one; its version."""
    key_sources.require_file(settings, "vault")
    path = settings.path(settings.vault.key_file)
    with secret_files.alone(path):
        text = vault.read_secret_file(path, "vault key")
        if max(vault.parse(text)[0]) == _LAST_VERSION:
            raise ConfigurationError("The vault key file has used all 255 versions; this installation cannot be rotated further.")
        secret_files.replace(path, vault.rotated(text, os.urandom))
        return max(vault.parse(vault.read_secret_file(path, "vault key"))[0])


async def rewrap(settings: Settings, database: Database) -> int:
    """Wrap every data key under the current master key; how many there were to do."""
    master = key_sources.vault(settings)
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
    key_sources.require_file(settings, "vault")
    path = settings.path(settings.vault.key_file)
    with secret_files.alone(path):
        text = vault.read_secret_file(path, "vault key")
        current = max(vault.parse(text)[0])
        if await database.read(rotation.left_behind, current):
            raise ConfigurationError("Keys are still wrapped under an older master key; run `noticesvc vault rotate --stage rewrap`, "
                                     "and restart services that began before the rotation.")
        secret_files.replace(path, vault.retired(text))
        return current
