"""An SMS gateway in a process of its own, which outlives the service: it answers like Kannel's smsbox, writes down every submission
before it answers, and sends delivery reports afterwards, again and again until the service takes them.

Started by bench.crash.sinks: `python -m bench.crash.sms_sink --port P --log FILE`. The report address holds our reference,
notice.channel.attempt. The last two digits of the number say how it behaves at attempt 1:

| digits | what happens                                       | the message is    |
|--------|----------------------------------------------------|-------------------|
| 90     | 503 Temporal failure                               | not taken         |
| 91     | 403 Not routable, at every attempt                 | not taken         |
| 92     | the connection is closed instead of an answer      | taken, unanswered |
| 93     | nothing, until the service gives up                | taken, unanswered |
| 94     | 202, and every report comes twice                  | taken             |
| 95     | 202, and the report comes before the answer        | taken             |
| 96     | 500 and garbage                                    | taken, unanswered |
| 97     | 202, and a report that it is undeliverable         | taken, then lost  |
| other  | 202, and a report within a second                  | taken             |
"""

import argparse
import asyncio
import contextlib
import random
import time
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
from aiohttp import web

from bench.crash.lines import Lines, read
from tests.fakes.sms_gateway import Request

_UNANSWERED = {"92", "93", "96"}
_ALWAYS = {"91", "97"}  # at every attempt
_EARLY_S = 3.0
_AGAIN_S = 0.25


class Gateway:
    """Submissions in, reports out."""

    def __init__(self, log: Lines, slowest_s: float) -> None:
        self._log, self._slowest_s, self._random = log, slowest_s, random.Random()
        self._reports: set[asyncio.Task[None]] = set()
        self._at_once = asyncio.Semaphore(16)
        self._session: aiohttp.ClientSession | None = None

    async def submitted(self, request: web.Request) -> web.StreamResponse:
        """One submission."""
        headers = {name.lower(): value for name, value in request.headers.items()}
        whole = Request(request.method, request.path, headers, await request.read())
        reference = parse_qs(urlsplit(headers.get("x-kannel-dlr-url", "")).query).get("reference", [""])[0]
        to = headers.get("x-kannel-to", "")
        digits = to[-2:] if to[-2:] in _ALWAYS or reference.endswith(".1") else ""
        if digits in ("90", "91"):
            self._log.write(event="refused", reference=reference, to=to, for_good=digits == "91")
            return web.Response(status=503 if digits == "90" else 403,
                                text="Temporal failure, try again later." if digits == "90" else "Not routable. Do not try again.")
        self._log.write(event="taken", reference=reference, to=to, answered=digits not in _UNANSWERED,
                        report_to=headers.get("x-kannel-dlr-url", ""))
        if digits == "95":
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_EARLY_S):
                    await self._report(whole, reference, 0.0)
        else:
            for _ in range(2 if digits == "94" else 1):
                self._report_later(whole, reference)
        if digits == "92" and request.transport is not None:
            request.transport.abort()
        if digits == "93":
            await asyncio.Event().wait()  # cancelled when the service gives up
        if digits == "96":
            return web.Response(status=500, body=b"\xff\x00 what is this")
        await asyncio.sleep(self._random.random() * self._slowest_s)
        return web.Response(status=202, text="0: Accepted for delivery")

    def owed(self, before: list[dict[str, Any]]) -> None:
        """Reports that an earlier process of this gateway did not get to."""
        done = {line["reference"] for line in before if line["event"] == "reported"}
        for line in before:
            if line["event"] == "taken" and line["reference"] not in done:
                headers = {"x-kannel-dlr-url": line["report_to"], "x-kannel-to": line["to"]}
                self._report_later(Request("POST", "", headers, b""), line["reference"])

    def _report_later(self, submission: Request, reference: str) -> None:
        task = asyncio.create_task(self._report(submission, reference, self._random.random()))
        self._reports.add(task)
        task.add_done_callback(self._reports.discard)

    async def _report(self, submission: Request, reference: str, after_s: float) -> None:
        """Report that it arrived, or that it never will; repeated until the service answers anything but 5xx."""
        await asyncio.sleep(after_s)
        lost = submission.headers.get("x-kannel-to", "").endswith("97")
        url = submission.report_url(*((2, "stat:UNDELIV err:001") if lost else (1, "stat:DELIVRD err:000")), int(time.time()))
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10))
        while True:
            status = 0
            async with self._at_once:
                try:
                    async with self._session.get(url) as answer:
                        await answer.read()
                        status = answer.status
                except (aiohttp.ClientError, TimeoutError, OSError):
                    status = 0
            if 200 <= status < 500:
                self._log.write(event="reported", reference=reference, status=status, lost=lost)
                return
            await asyncio.sleep(_AGAIN_S)


async def _serve(port: int, gateway: Gateway, before: list[dict[str, Any]]) -> None:
    gateway.owed(before)
    app = web.Application(handler_args={"handler_cancellation": True})
    app.router.add_post("/cgi-bin/sendsms", gateway.submitted)
    runner = web.AppRunner(app, handler_cancellation=True, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port, reuse_address=True)
    await site.start()
    assert site._server is not None
    print("ready", site._server.sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--log", type=Path, required=True)
    parser.add_argument("--slowest", type=float, default=0.03)
    asked = parser.parse_args()
    asyncio.run(_serve(asked.port, Gateway(Lines(asked.log), asked.slowest), read(asked.log)))


if __name__ == "__main__":
    main()
