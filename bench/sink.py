"""Postfix's smtp-sink as the other side of every e-mail benchmark: it swallows mail and counts."""

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.support.ports import free_port


class Sink:
    """A running smtp-sink on a free loopback port."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, output: Path) -> None:
        self.process, self.port, self.output = process, port, output

    @property
    def count(self) -> int:
        """Messages taken so far, as smtp-sink itself counts them."""
        with self.output.open("rb") as file:
            file.seek(max(0, self.output.stat().st_size - 200))
            parts = file.read().replace(b"\r", b"\n").split(b"\n")
        for part in reversed(parts):
            _, found, number = part.rpartition(b"mesg=")
            if found and number.strip().isdigit():
                return int(number)
        return 0

    def wait_for(self, count: int, limit_s: float) -> float:
        """Seconds on the monotonic clock at which the sink had `count` messages; TimeoutError after `limit_s`."""
        ends = time.monotonic() + limit_s
        while self.count < count:
            if time.monotonic() > ends:
                raise TimeoutError(f"the sink has {self.count} of {count} messages")
            time.sleep(0.01)
        return time.monotonic()


@contextlib.contextmanager
def running() -> Iterator[Sink]:
    """Start smtp-sink (Debian's postfix package)."""
    path = shutil.which("smtp-sink") or shutil.which("smtp-sink", path="/usr/sbin:/sbin")
    if path is None:
        raise SystemExit("smtp-sink is missing; install the package postfix.")
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "count"
        with output.open("wb") as file:
            user = ["-u", "nobody"] if os.geteuid() == 0 else []
            process = subprocess.Popen([path, "-c", *user, f"127.0.0.1:{port}", "4096"], stdout=file, stderr=subprocess.DEVNULL)
        try:
            ends = time.monotonic() + 60
            while True:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
                    break
                if process.poll() is not None or time.monotonic() > ends:
                    raise SystemExit("smtp-sink did not start")
                time.sleep(0.02)
            yield Sink(process, port, output)
        finally:
            process.kill()
            process.wait()
