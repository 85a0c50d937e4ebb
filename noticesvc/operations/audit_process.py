"""The walk over a log in a second process, so that both cores work: it inflates, hashes and judges while the first reads rows.

Called by operations.audit. The second process is a program of its own with pipes: it is given pages and a scratch database, never
the installation's database, configuration or keys. It ends when its standard input ends, so it cannot outlive the first.
"""

import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from noticesvc.operations import pipes
from noticesvc.operations.audit_entries import opened
from noticesvc.operations.audit_pages import Page
from noticesvc.operations.audit_tree import Findings
from noticesvc.operations.audit_walk import Judge, Step, Waiting

_PROGRAM: Final = "from noticesvc.operations.audit_process import main; main()"
_AHEAD: Final = 2  # pages that wait to be sent, or to be looked at
_ROOM_S: Final = 0.05


class _Give(msgspec.Struct, array_like=True):
    """What the second process is given; neither is the end."""

    page: Page | None = None
    waiting: Waiting | None = None


class _Say(msgspec.Struct, array_like=True):
    """What it says: a step, or at the end what it found."""

    step: Step | None = None
    sentences: list[str] = []
    more: int = 0


class Far:
    """Walks in a second process. Close it, whatever happened."""

    def __init__(self, scratch: Path, size: int) -> None:
        self.findings = Findings()
        self._process = subprocess.Popen(  # noqa: S603 (our own program)
            [sys.executable, "-P", "-c", _PROGRAM, str(scratch), str(size)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, env=pipes.environment())
        self._given: queue.Queue[_Give] = queue.Queue(_AHEAD)
        self._said: queue.Queue[_Say | None] = queue.Queue(_AHEAD)
        self._ended = False
        for target in (self._send, self._receive):
            threading.Thread(target=target, daemon=True).start()

    def take(self, given: Page | Waiting) -> bool:
        """Send this, unless enough waits to be sent."""
        with suppress(queue.Full):
            self._given.put_nowait(_Give(given) if isinstance(given, Page) else _Give(None, given))
            return True
        return self._ended  # who has ended takes everything and does nothing

    def steps(self) -> Iterator[Step]:
        """What it has said since the last call."""
        with suppress(queue.Empty):
            while not self._ended:
                yield from self._heard(self._said.get_nowait())

    def end(self) -> Iterator[Step]:
        """Wait for the rest."""
        sent = False
        while not self._ended and not sent:
            with suppress(queue.Full):
                self._given.put(_Give(), timeout=_ROOM_S)
                sent = True
            yield from self.steps()
        while not self._ended:
            yield from self._heard(self._said.get())

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()
        for one in (self._given, self._said):  # lets go of threads that wait
            with suppress(queue.Empty):
                while True:
                    one.get_nowait()
        self._given.put(_Give())
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(OSError):
                pipe.close()  # type: ignore[union-attr]

    def _heard(self, said: _Say | None) -> Iterator[Step]:
        if said is not None and said.step is not None:
            yield said.step
            return
        self._ended = True
        if said is None:
            self.findings.add("The second process of the audit ended before its end (it was killed, or there was no memory left), so that "
                              "not all of the log was looked at. Run the audit again.")
        else:
            self.findings.take(said.sentences, said.more)

    def _send(self) -> None:
        with suppress(OSError, ValueError):
            while True:
                given = self._given.get()
                pipes.write(self._process.stdin, msgspec.msgpack.encode(given))
                if given.page is None and given.waiting is None:
                    return

    def _receive(self) -> None:
        said: _Say | None = None
        with suppress(OSError, ValueError):
            while (data := pipes.read(self._process.stdout)) is not None:
                said = msgspec.msgpack.decode(data, type=_Say)
                self._said.put(said)
                if said.step is None:
                    return
        self._said.put(None)


def main() -> None:
    """The second process."""
    path, size = sys.argv[1:]
    given, said = sys.stdin.buffer, sys.stdout.buffer
    memory = opened(path)
    judge = Judge(memory, int(size))
    with suppress(BrokenPipeError, KeyboardInterrupt):
        while (data := pipes.read(given)) is not None:
            one = msgspec.msgpack.decode(data, type=_Give)
            if (what := one.page or one.waiting) is not None:
                pipes.write(said, msgspec.msgpack.encode(_Say(judge.step(what))))
                continue
            for step in judge.lasts():
                pipes.write(said, msgspec.msgpack.encode(_Say(step)))
            memory.close()  # before the first process opens it
            pipes.write(said, msgspec.msgpack.encode(_Say(None, judge.findings.sentences, judge.findings.more)))
            return
