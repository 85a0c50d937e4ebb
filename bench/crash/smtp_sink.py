"""An SMTP server in a process of its own, which outlives the service: it takes mail and writes down every message before it answers.

Started by bench.crash.sinks: `python -m bench.crash.smtp_sink --port P --log FILE`. RFC 5321 with PIPELINING (RFC 2920) and
DSN (RFC 3461), whose ENVID is our reference, notice.channel.attempt. The recipient's address says how it behaves at attempt 1:

| local part ends in | what happens                                                              | the message is     |
|--------------------|---------------------------------------------------------------------------|--------------------|
| .ok                | 250                                                                       | taken              |
| .later             | 451 to RCPT                                                               | not taken          |
| .full              | 452 to the final dot                                                      | not taken          |
| .drop              | the connection is closed instead of an answer to the final dot            | taken, unanswered  |
| .hang              | nothing, until the service closes the connection                          | taken, unanswered  |
| .junk              | a line that is no SMTP reply, then the connection is closed               | taken, unanswered  |
| .never             | 550 5.7.1 to RCPT, at every attempt                                       | not taken          |
| .gone              | 550 5.1.1 to RCPT, at every attempt                                       | not taken          |
| .bounce            | 250, and a report of failure in the Maildir of `--bounces`, every attempt | taken, then failed |
"""

import argparse
import asyncio
import random
import re
import time
from pathlib import Path

from bench.crash.lines import Lines
from tests.support.bounces import report

_GREETING = b"250-sink\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-ENHANCEDSTATUSCODES\r\n250 DSN\r\n"
_ENVID = re.compile(rb"ENVID=(\S+)")
_TO = re.compile(rb"TO:<([^>]*)>", re.IGNORECASE)
_MESSAGE_ID = re.compile(rb"(?im)^message-id:\s*<([^>]*)>")
_UNANSWERED = {"drop", "hang", "junk"}


class Sink:
    """The conversations of all connections; `slowest_s` bounds how long a final dot waits for its answer."""

    def __init__(self, log: Lines, slowest_s: float, bounces: Path | None = None) -> None:
        self._log, self._slowest_s, self._random, self._bounces = log, slowest_s, random.Random(), bounces

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, to its end."""
        try:
            await self._converse(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.transport.abort()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 sink ESMTP\r\n")
        reference = to = ""
        while line := await reader.readline():
            verb = line[:4].upper()
            if verb in (b"EHLO", b"HELO"):
                writer.write(_GREETING)
            elif verb == b"MAIL":
                reference, to = _found(_ENVID, line), ""
                writer.write(b"250 2.1.0 Ok\r\n")
            elif verb == b"RCPT":
                to = self._recipient(_found(_TO, line), reference, writer)
            elif verb == b"DATA" and not to:
                writer.write(b"554 5.5.1 No valid recipients\r\n")
            elif verb == b"DATA":
                writer.write(b"354 Go ahead\r\n")
                content = await reader.readuntil(b"\r\n.\r\n")
                if not await self._content(content, reference, to, writer):
                    await reader.read()  # hang: until the other side gives up
                    return
            elif verb == b"QUIT":
                writer.write(b"221 2.0.0 Bye\r\n")
                return
            else:
                writer.write(b"250 2.0.0 Ok\r\n")
            await writer.drain()

    def _recipient(self, to: str, reference: str, writer: asyncio.StreamWriter) -> str:
        """Answer RCPT; the address if it is taken, else nothing."""
        behaviour = _behaviour(to, reference)
        if behaviour in ("never", "gone"):
            self._log.write(event="refused", reference=reference, to=to, for_good=True)
            writer.write(b"550 5.7.1 Policy\r\n" if behaviour == "never" else b"550 5.1.1 No such user\r\n")
            return ""
        if behaviour == "later":
            self._log.write(event="refused", reference=reference, to=to, for_good=False)
            writer.write(b"451 4.2.1 Busy\r\n")
            return ""
        writer.write(b"250 2.1.5 Ok\r\n")
        return to

    async def _content(self, content: bytes, reference: str, to: str, writer: asyncio.StreamWriter) -> bool:
        """Answer the final dot; false if nothing will ever be said."""
        behaviour = _behaviour(to, reference)
        if behaviour == "full":
            self._log.write(event="refused", reference=reference, to=to, for_good=False)
            writer.write(b"452 4.3.1 Full\r\n")
            return True
        self._log.write(event="taken", reference=reference, to=to, message_id=_found(_MESSAGE_ID, content[:4096]),
                        answered=behaviour not in _UNANSWERED)
        if behaviour == "bounce" and self._bounces is not None:
            self._bounce(reference, to)
        if behaviour == "hang":
            return False
        if behaviour == "drop":
            raise ConnectionResetError
        if behaviour == "junk":
            writer.write(b"\xff\x00 what is this\r\n")
            await writer.drain()
            raise ConnectionResetError
        await asyncio.sleep(self._random.random() * self._slowest_s)
        writer.write(b"250 2.0.0 Ok: queued as 4XYZ123\r\n")
        return True


    def _bounce(self, reference: str, to: str) -> None:
        """Write a report of failure as a relay of the sender's own does."""
        assert self._bounces is not None
        name = f"{time.time_ns()}.{self._random.getrandbits(32):x}"
        mail = report(to="notices@example.com", recipient=to, envelope_id=reference)
        for folder in ("tmp", "new", "cur"):
            (self._bounces / folder).mkdir(parents=True, exist_ok=True)
        (self._bounces / "tmp" / name).write_bytes(mail)
        (self._bounces / "tmp" / name).replace(self._bounces / "new" / name)
        self._log.write(event="bounced", reference=reference, to=to)


def _found(pattern: re.Pattern[bytes], text: bytes) -> str:
    match = pattern.search(text)
    return match[1].decode("utf-8", "replace") if match else ""


def _behaviour(to: str, reference: str) -> str:
    behaviour = to.partition("@")[0].rpartition(".")[2]
    return behaviour if behaviour in ("never", "gone", "bounce") or reference.endswith(".1") else "ok"


async def _serve(port: int, sink: Sink) -> None:
    server = await asyncio.start_server(sink.converse, "127.0.0.1", port, limit=1 << 24, reuse_address=True)
    print("ready", server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--log", type=Path, required=True)
    parser.add_argument("--slowest", type=float, default=0.03)
    parser.add_argument("--bounces", type=Path, default=None)
    asked = parser.parse_args()
    asyncio.run(_serve(asked.port, Sink(Lines(asked.log), asked.slowest, asked.bounces)))


if __name__ == "__main__":
    main()
