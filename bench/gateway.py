"""An SMS gateway that takes everything: HTTP/1.1 with kept connections, in a process of its own, as quick as Python can be.

usage: python -m bench.gateway PORT; it answers as Kannel's smsbox does. `running` starts it.
"""

import asyncio
import contextlib
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import uvloop

from tests.support.ports import free_port

_ANSWER = b"HTTP/1.1 202 Accepted\r\nContent-Type: text/html\r\nContent-Length: 24\r\n\r\n0: Accepted for delivery"
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class _Gateway(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport, self._held = transport, b""

    def data_received(self, data: bytes) -> None:
        self._held += data
        while (head := self._held.find(b"\r\n\r\n")) >= 0:
            length = _LENGTH.search(self._held, 0, head + 2)
            end = head + 4 + (int(length.group(1)) if length else 0)
            if len(self._held) < end:
                return
            self._held = self._held[end:]
            self._transport.write(_ANSWER)  # type: ignore[attr-defined]


async def _serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(_Gateway, "127.0.0.1", port)
    await server.serve_forever()


@contextlib.contextmanager
def running() -> Iterator[int]:
    """The port of a running gateway."""
    port = free_port()
    process = subprocess.Popen([sys.executable, "-m", "bench.gateway", str(port)])
    try:
        ends = time.monotonic() + 60
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
                break
            if time.monotonic() > ends:
                raise SystemExit("the gateway did not start")
            time.sleep(0.05)
        yield port
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1])))
