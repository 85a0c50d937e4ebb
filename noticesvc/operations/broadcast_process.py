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
from importlib.metadata import PackageNotFoundError, version
from typing import Final

import msgspec

from noticesvc.errors import VaultError
from noticesvc.operations import pipes
from noticesvc.operations.broadcast_portion import COLUMNS, Job, Member, Portion
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


def _form() -> str:
    try:
        ours = version("noticesvc")
    except PackageNotFoundError:  # run from a checkout that was never installed
        ours = ""
    said = [ours, COLUMNS, *[(one.__name__, one.__struct_fields__) for one in (Job, Member, Keys, Made)]]
    return sha256(repr(said).encode()).hexdigest()


FORM: Final = _form()
"""Version and form of what is said: a package that was replaced since the first process began is not talked to."""


def main() -> None:
    """The second process. It ends at once if the first one is of another version."""
    for number in (signal.SIGINT, signal.SIGTERM):  # for the first process to act on
        signal.signal(number, signal.SIG_IGN)
    if sys.argv[1:] != [FORM]:
        raise SystemExit(1)
    gc.freeze()
    gc.set_threshold(_GARBAGE, 20, 50)
    given, said = sys.stdin.buffer, sys.stdout.buffer
    vault: Vault | None = None
    decode = msgspec.msgpack.Decoder(Job).decode
    with suppress(BrokenPipeError):
        while (data := pipes.read(given)) is not None:
            if vault is None:
                vault = Vault(msgspec.msgpack.decode(data, type=Keys).masters, b"", os.urandom)
            else:
                pipes.write(said, msgspec.msgpack.encode(made(decode(data), vault)))


def made(job: Job, vault: Vault) -> Made:
    """All notices of a job."""
    portion = Portion(job, vault, os.urandom, postgresql=True)
    try:
        while portion.make(len(job.members)):
            pass
    except (VaultError, ValueError):
        return Made(job.batch)
    return Made(job.batch, portion.packed, [one.encoded for one in portion.rows])
