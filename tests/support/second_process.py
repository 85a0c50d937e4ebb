"""A second process for tests: begun by its first job, stopped at the end, and gone then."""

import os
from contextlib import asynccontextmanager
from pathlib import Path

from noticesvc import vault
from noticesvc.dispatch.second_process import SecondProcess

SILENT = "import sys; sys.stdin.read()"  # a program that never answers
VAULT = vault.Vault({1: bytes(range(32))}, bytes(32), os.urandom)


@asynccontextmanager
async def process(keys=None):
    """A second process, stopped at the end, and gone then."""
    made = SecondProcess(keys or VAULT)
    try:
        yield made
    finally:
        pid = pid_of(made)
        await made.stop()
        assert pid is None or not Path(f"/proc/{pid}").exists()


def pid_of(second):
    return second._life._process.pid if second._life is not None and second._life._process is not None else None
