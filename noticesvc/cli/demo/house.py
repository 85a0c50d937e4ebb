"""The demo's folder and its service: an installation made afresh, and `noticesvc serve` as a process that never outlives us."""

import asyncio
import fcntl
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Self

from noticesvc.bootstrap import foundation
from noticesvc.errors import ConfigurationError, NoticesvcError

MARKER = ".made-by-noticesvc-demo"
PROGRAM = (sys.executable, "-c", "from noticesvc.cli.main import main; main()")
_USUAL_PORT = 8080
_START_S, _STOP_S = 30.0, 40.0


class DemoFailed(NoticesvcError):
    """The demo cannot go on; the message says at which step and where to look."""


def make_installation(folder: Path) -> str:
    """Make the installation in `folder`, wiping one that an earlier demo left there; returns the key with every scope.

    Raises ConfigurationError for a folder that is not ours or where a demo still runs.
    """
    if folder.is_dir() and any(folder.iterdir()):
        if not (folder / MARKER).is_file():
            raise ConfigurationError(f"{folder}: this folder holds something that no demo made; move it away or give another with --dir.")
        if _served(folder):
            raise ConfigurationError(f"{folder}: a demo is still up here; stop it with Ctrl-C first, or give another folder with --dir.")
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    (folder / MARKER).write_text("Made by `noticesvc demo`, which wipes this folder when it runs again.\n", "utf-8")
    for name in [name for name in os.environ if name.startswith("NOTICESVC_") and "__" in name]:
        del os.environ[name]  # the demo is the same everywhere, and so is its service, which inherits this
    os.umask(0o077)
    done = asyncio.run(foundation.found(folder, None))
    _listen_on(done.config_file, _free_port())
    if done.secret is None:
        raise DemoFailed("The new installation has no API key; this is a fault of the program.")
    return done.secret


def _served(folder: Path) -> bool:
    """Whether a service holds the lock of a database in this folder."""
    for path in folder.glob("*.serve-lock"):
        with path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
    return False


def _free_port() -> int:
    """The usual port, or any that is free."""
    for port in (_USUAL_PORT, 0):
        with socket.socket() as attempt:
            attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                attempt.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(attempt.getsockname()[1])
    raise DemoFailed("No port of this machine is free.")


def _listen_on(config_file: Path, port: int) -> None:
    text = config_file.read_text("utf-8")
    for before, after in ((f"port = {_USUAL_PORT}", f"port = {port}"), (f"http://127.0.0.1:{_USUAL_PORT}", f"http://127.0.0.1:{port}")):
        if before not in text:
            raise DemoFailed("The new configuration does not look as expected; this is a fault of the program.")
        text = text.replace(before, after)
    config_file.write_text(text, "utf-8")


class Service:
    """`noticesvc serve` in a process of its own; a context manager that stops it whatever happens.

    While it runs, SIGTERM and SIGHUP end the demo like Ctrl-C, so that the process is stopped then too.
    """

    def __init__(self, config_file: Path, log_file: Path) -> None:
        self._config_file, self._log_file = config_file, log_file
        self._process: subprocess.Popen[bytes] | None = None
        self.url = ""

    def __enter__(self) -> Self:
        """Start, and wait for `ready`. DemoFailed says what the log says."""
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, _end)
        try:
            with self._log_file.open("ab") as log:
                # A group of its own: Ctrl-C reaches us alone, and we stop it in order.
                self._process = subprocess.Popen(  # noqa: S603 (this program itself)
                    [*PROGRAM, "serve", "--config", str(self._config_file)], stdout=subprocess.PIPE, stderr=log,
                    stdin=subprocess.DEVNULL, process_group=0)
            self.url = self._ready(self._process)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _ready(self, process: "subprocess.Popen[bytes]") -> str:
        ends, said = time.monotonic() + _START_S, b""
        assert process.stdout is not None  # noqa: S101 (asked for above)
        while b"\n" not in said and time.monotonic() < ends:
            if select.select([process.stdout], [], [], 0.2)[0]:
                some = os.read(process.stdout.fileno(), 4096)
                if not some:
                    break
                said += some
        words = said.decode("utf-8", "replace").split()
        if words[:2] != ["ready", "all"] or len(words) < 3:
            raise DemoFailed(f"The service did not become ready. The end of {self._log_file}:\n{self.log_tail()}")
        return words[2]

    def log_tail(self, lines: int = 5) -> str:
        """The end of the service's log."""
        return "\n".join(f"  {line}" for line in self._log_file.read_text("utf-8", "replace").splitlines()[-lines:]) or "  (empty)"

    def wait(self) -> int:
        """Wait until the service ends by itself; its exit status."""
        assert self._process is not None  # noqa: S101 (entered)
        return self._process.wait()

    def stop(self) -> int | None:
        """Stop it with SIGTERM and wait; killed only if it outlives its grace. The exit status."""
        process = self._process
        if process is None:
            return None
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if process.stdout is not None:
            process.stdout.close()
        return process.returncode


def _end(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)
