"""The program of the second process that makes notices of broadcasts, so that both cores work; and what is said between the two.

Run by dispatch.second_process with pipes. It is given the master keys first and then jobs, never the database or the configuration,
keeps nothing, and ends when its standard input ends, so it cannot outlive the process that gives them.
"""

import gc
import os
import signal
import sys
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Final

import msgspec

from noticesvc import vault
from noticesvc.domain import identity
from noticesvc.errors import VaultError
from noticesvc.ledger import entry
from noticesvc.operations import broadcast_portion, pipes
from noticesvc.operations.broadcast_portion import Job, Portion
from noticesvc.proof import accepted_entries, openings
from noticesvc.storage import bulk, bundle, copying
from noticesvc.storage.tables import base, notices
from noticesvc.vault import Vault

PROGRAM: Final = "from noticesvc.operations.broadcast_process import main; main()"
_GARBAGE: Final = 50_000  # objects made before the youngest are looked through; hardly any of them are in cycles


class Keys(msgspec.Struct, array_like=True, frozen=True):
    """The first message: the master keys of the vault by version."""

    masters: dict[int, bytes]

    def __repr__(self) -> str:
        return "Keys()"


class Made(msgspec.Struct, array_like=True, frozen=True):
    """The answer to a job: its batch, its entries, and its rows as COPY takes them, in the order of `broadcast_portion.rows`.

    Without entries if a key was wrapped under a master key that is newer than this process, or a row was changed.
    """

    batch: str
    packed: bytes = b""
    rows: list[bytes] = []


_DECIDES = (identity, entry, openings, accepted_entries, vault, bundle, copying, bulk, base, notices, pipes, broadcast_portion)


def _form() -> str:
    files = [Path(str(module.__file__)) for module in _DECIDES]
    return sha256(b"".join([file.read_bytes() for file in (*files, Path(__file__))])).hexdigest()


FORM: Final = _form()
"""Hash of the programs that decide what is made and said: a package that was replaced since the first process began is of no use to it."""


def main() -> None:
    """The second process. It ends at once if the first one is made of other programs."""
    for number in (signal.SIGINT, signal.SIGTERM):  # for the first process to act on
        signal.signal(number, signal.SIG_IGN)
    if sys.argv[1:] != [FORM]:
        raise SystemExit(1)
    gc.freeze()
    gc.set_threshold(_GARBAGE, 20, 50)
    given, said = sys.stdin.buffer, sys.stdout.buffer
    keys: Vault | None = None
    decode = msgspec.msgpack.Decoder(Job).decode
    with suppress(BrokenPipeError):
        while (data := pipes.read(given)) is not None:
            if keys is None:
                keys = Vault(msgspec.msgpack.decode(data, type=Keys).masters, b"", os.urandom)
            else:
                pipes.write(said, msgspec.msgpack.encode(made(decode(data), keys)))


def made(job: Job, keys: Vault) -> Made:
    """All notices of a job."""
    portion = Portion(job, keys, os.urandom, postgresql=True)
    try:
        while portion.make(len(job.members)):
            pass
    except (VaultError, ValueError):
        return Made(job.batch)
    return Made(job.batch, portion.packed, [one.encoded for one in portion.rows])
