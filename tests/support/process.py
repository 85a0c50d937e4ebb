"""A running service for acceptance tests: one installation with scripted peers, one caller, and waiting for what the API shows.

Called by tests/acceptance. The service is a real process of the command line; its providers speak to servers in the test's loop.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.crash.clients import Clients
from bench.crash.lines import Lines
from bench.crash.service import Service, installed
from tests.fakes.sms_gateway import SmsGateway
from tests.fakes.smtp_server import EXTENSIONS, SmtpServer

PATIENCE_S = 40.0
_POLL_S = 0.05
PIPELINING = (*EXTENSIONS, "PIPELINING")


@dataclass
class Running:
    """The service, its scripted peers, and somebody who calls it."""

    service: Service
    mail: SmtpServer
    sms: SmsGateway
    caller: Clients

    async def recipient(self, name: str = "u-1") -> str:
        """Make a recipient with a mail address and a number."""
        number = sum(name.encode()) % 10_000
        await self.caller.put_contacts(
            {
                name: [
                    {"channel": "email", "address": f"{name}@sink.example", "confirmation": "confirmed"},
                    {"channel": "sms", "address": f"+8613800{number:06d}", "confirmation": "confirmed"},
                ]
            }
        )
        return name

    async def post(
        self, recipient_id: str, *, category: str = "platform", channels: tuple[str, ...] = ("email",), key: str | None = None
    ) -> str:
        """Post a notice, repeated until it is accepted; its id."""
        sms = {"sms": "Hello", "sms_carries": "full"} if "sms" in channels else {}
        body = {
            "recipient_id": recipient_id,
            "category": category,
            "channels": list(channels),
            "content": {"subject": "S", "body": "B", **sms},
        }
        status, answer = await self.caller.request("POST", "/v1/notices", body, {"Idempotency-Key": key} if key else None)
        assert status == 202, answer
        return str(answer["id"])

    async def notice(self, notice_id: str) -> dict[str, Any]:
        """The notice as the API shows it."""
        status, body = await self.caller.get(f"/v1/notices/{notice_id}")
        assert status == 200, body
        return dict(body)

    async def until(self, notice_id: str, holds: Callable[[dict[str, Any]], bool], within_s: float = PATIENCE_S) -> dict[str, Any]:
        """The notice once something holds of it; fails with its last form after so long."""
        end = time.monotonic() + within_s
        while not holds(found := await self.notice(notice_id)):
            assert time.monotonic() < end, found["deliveries"]
            await asyncio.sleep(_POLL_S)
        return found

    async def audited(self) -> None:
        """The ledger agrees with everything."""
        status, output = await self.service.command("ledger", "audit", "--config", str(self.service.config_file))
        assert status == 0, output


def state(notice: dict[str, Any], channel: str = "email") -> str:
    """The state of a notice's delivery on a channel."""
    return str(next(d["state"] for d in notice["deliveries"] if d["channel"] == channel))


def outcomes(notice: dict[str, Any], channel: str = "email") -> list[str | None]:
    """The outcomes of its attempts in order."""
    return [a["outcome"] for d in notice["deliveries"] if d["channel"] == channel for a in d["attempts"]]


def delivered(notice: dict[str, Any]) -> bool:
    """Whether every delivery was."""
    return all(d["state"] == "delivered" for d in notice["deliveries"])


@asynccontextmanager
async def running(folder: Path, database_url: str | None, *, wrapper: str = "", **sections: Any) -> AsyncIterator[Running]:
    """A new installation, started, with a mail server that pipelines and an SMS gateway; everything is ended afterwards."""
    async with SmtpServer({}, extensions=PIPELINING) as mail, SmsGateway() as sms:
        service = await installed(
            folder / "service", smtp_port=mail.port, sms_port=sms.port, database_url=database_url, wrapper=wrapper, **sections
        )
        try:
            async with Clients(service.url, service.key, Lines(folder / "accepted.log"), count=0) as caller:
                yield Running(service, mail, sms, caller)
        finally:
            await service.kill()
