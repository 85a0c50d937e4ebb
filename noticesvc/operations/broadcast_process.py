"""The program of the second process that makes notices of broadcasts, so that both cores work; and what is said between the two.

Run by dispatch.second_process with pipes. It is given the master keys first and then jobs, never the database or the configuration,
keeps nothing, and ends when its standard input ends, so it cannot outlive the process that gives them.
"""

import gc
import os
import signal
import sys
from contextlib import suppress
from typing import Final

import msgspec

from noticesvc.errors import VaultError
from noticesvc.operations import pipes
from noticesvc.operations.broadcast_portion import Job, Portion
from noticesvc.vault import Vault

PROGRAM: Final = "from noticesvc.operations.broadcast_process import main; main()"
_GARBAGE: Final = 50_000  # objects made before the youngest are looked through; hardly any of them are in cycles


class Keys(msgspec.Struct, array_like=True, frozen=True):
    """The first message: the master keys of the vault by version."""

    masters: dict[int, bytes]


class Made(msgspec.Struct, array_like=True, frozen=True):
    """The answer to a job: its entries, and its rows as COPY takes them, in the order of `broadcast_portion.rows`.

    Without entries if a key was wrapped under a master key that is newer than this process, or a row was changed.
    """

    packed: bytes = b""
    rows: list[bytes] = []


def main() -> None:
    """The second process."""
    for number in (signal.SIGINT, signal.SIGTERM):  # for the first process to act on
        signal.signal(number, signal.SIG_IGN)
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
        return Made()
    return Made(portion.packed, [one.encoded for one in portion.rows])
