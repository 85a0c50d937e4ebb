"""The worker's journal: each call's start and answer, in a local file, before the database hears of it.

It survives kill -9 (a write to a file is the kernel's from then on) and says after a crash which calls were begun and what was
answered. Lines: `W <worker>` once, `S <reference> <micros>` before a call, `A <reference> <sealed answer>` after it. Answers are
sealed under their recipients' keys, so that destroying a key reaches them too; references are ours. The file is locked while its
worker lives; one that no lock holds belongs to a dead worker and is adopted (dispatch.adoption). When
every answer in it is committed it is emptied.
"""

import base64
import fcntl
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import structlog

from noticesvc.errors import VaultError
from noticesvc.operations.record import Answer
from noticesvc.vault import DataKey

log = structlog.get_logger()
SUFFIX = ".journal"
_decode = msgspec.json.Decoder(Answer).decode
_EMPTY_ABOVE = 1 << 16  # bytes; below this, emptying is not worth a system call


class Journal:
    """The journal of this worker."""

    def __init__(self, folder: Path, worker: str) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path, self._worker = folder / f"{worker}{SUFFIX}", worker
        # Locked before it has its name: whoever adopts would take an unlocked one for a dead worker's and delete it.
        fresh = self.path.with_suffix(".new")
        self._fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fresh.rename(self.path)
        self._open: set[str] = set()  # references begun and not yet committed
        self._size = 0
        self._failed = False
        self._write(f"W {worker}\n")

    def ready(self) -> bool:
        """Whether a call's start could be written now; after a failure that is tried with a line that says nothing."""
        if self._failed:
            try:
                self._write("-\n")
            except OSError:
                return False
        return True

    def start(self, reference: str, micros: int) -> None:
        """Write that a call begins. OSError if it cannot be written: then the call must not begin."""
        self._write(f"S {reference} {micros}\n")
        self._open.add(reference)

    def answer(self, reference: str, answer: Answer, key: DataKey) -> None:
        """Write what was answered. An error is logged: the answer is still on its way to the database."""
        sealed = key.seal(encode(answer), f"journal:{reference}")
        try:
            self._write(f"A {reference} {base64.b64encode(sealed).decode()}\n")
        except OSError as error:
            log.error("journal cannot be written", error=type(error).__name__)

    def committed(self, references: list[str]) -> None:
        """These answers are in the database; once all are, the file is emptied."""
        self._open.difference_update(references)
        if not self._open and self._size > _EMPTY_ABOVE:
            os.ftruncate(self._fd, 0)
            self._size = 0
            self._write(f"W {self._worker}\n")

    def close(self) -> None:
        """Delete the file if nothing in it is outstanding; else leave it for whoever adopts it."""
        if not self._open:
            self.path.unlink(missing_ok=True)
        os.close(self._fd)

    def _write(self, line: str) -> None:
        data = line.encode()
        self._failed = True
        if (written := os.write(self._fd, data)) != len(data):
            if written > 0:
                os.ftruncate(self._fd, self._size)  # half a line would spoil the next one
            raise OSError("short write")
        self._size += len(data)
        self._failed = False


@dataclass(slots=True)
class Found:
    """What a dead worker's journal says: calls begun (microseconds by reference) and their sealed answers."""

    worker: str
    starts: dict[str, int] = field(default_factory=dict)
    answers: dict[str, bytes] = field(default_factory=dict)

    @property
    def notice_ids(self) -> set[str]:
        """The notices whose attempts were answered."""
        return {reference.partition(".")[0] for reference in self.answers}

    def answered(self, keys: Mapping[str, DataKey | None]) -> Iterator[Answer]:
        """The answers that can be opened with the keys of their notices' recipients; of one who was anonymised there is none left."""
        for reference, sealed in self.answers.items():
            key = keys.get(reference.partition(".")[0])
            if key is None:
                continue
            try:
                yield decode(key.open(sealed, f"journal:{reference}"))
            except (VaultError, msgspec.DecodeError):
                log.warning("an answer in a journal cannot be read", worker=self.worker)


def adopt(folder: Path, own: Path | None, take: Callable[[int], None]) -> Iterator[tuple[Path, Found]]:
    """Journals that no lock holds, one by one, locked while in hand (`take` keeps the descriptor until the caller closes it)."""
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        if path == own:
            continue
        try:
            fd = os.open(path, os.O_RDWR)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(fd)  # its worker lives, or another one adopts it
            continue
        take(fd)
        if path.exists():
            yield path, read(path)


def read(path: Path) -> Found:
    """Parse a journal; lines that are torn or strange are passed over."""
    found = Found(path.stem)
    for line in path.read_bytes().split(b"\n")[:-1]:
        word, _, rest = line.decode("ascii", "replace").partition(" ")
        reference, _, value = rest.partition(" ")
        if word == "W":
            found.worker = rest
        elif word == "S" and value.isdigit():
            found.starts[reference] = int(value)
        elif word == "A":
            try:
                found.answers[reference] = base64.b64decode(value, validate=True)
            except ValueError:
                continue
    return found


def encode(answer: Answer) -> bytes:
    """An answer as bytes."""
    return msgspec.json.encode(answer)  # bytes become base64


def decode(data: bytes) -> Answer:
    """The answer again."""
    return _decode(data)
