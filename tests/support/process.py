"""A running service for acceptance tests: one installation with scripted peers, one caller, and waiting for what the API shows.

Called by tests/acceptance. The service is a real process of the command line; its providers speak to servers in the test's loop.
"""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import select

from bench.crash.clients import Clients
from bench.crash.lines import Lines
from bench.crash.service import Service, installed
from noticesvc import config
from noticesvc.bootstrap.installation import open_database
from noticesvc.storage import tables as t
from tests.fakes.sms_gateway import SmsGateway
from tests.fakes.smtp_server import EXTENSIONS, SmtpServer
from tests.support.waiting import PATIENCE_S, until

PIPELINING = (*EXTENSIONS, "PIPELINING")
PATIENT: dict[str, dict[str, Any]] = {"worker": {"lease_s": 45, "stop_grace_s": 30}, "mail": {"timeout_s": 20}, "sms": {"timeout_s": 20}}


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
        body = {
            "recipient_id": recipient_id,
            "category": category,
            "channels": list(channels),
            "content": {"subject": "S", "body": "B", **_sms(channels)},
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
        return dict(await until(lambda: self.notice(notice_id), holds, within_s))

    async def post_many(self, recipient_id: str, count: int, channels: tuple[str, ...] = ("email",)) -> list[str]:
        """Post a batch; the ids."""
        body = {"recipient_id": recipient_id, "category": "platform", "channels": list(channels),
                "content": {"subject": "S", "body": "B", **_sms(channels)}}
        status, answer = await self.caller.request("POST", "/v1/notices/batch", {
            "notices": [body | {"idempotency_key": f"many-{time.monotonic_ns()}-{i}"} for i in range(count)]})
        assert status == 200, answer
        return [str(result["id"]) for result in answer["results"]]

    async def refused(self, path: str = "/v1/notices") -> None:
        """A POST is answered with 503 and Retry-After before its caller gives up, and nothing says ready."""
        status, headers = await self.caller.once("POST", path, {
            "recipient_id": "u-1", "category": "platform", "channels": ["in_site"], "content": {"subject": "S", "body": "B"}})
        assert status == 503
        assert int(headers["Retry-After"]) >= 1
        assert (await self.caller.once("GET", "/readyz"))[0] == 503
        assert (await self.caller.once("GET", "/healthz"))[0] == 200
        assert self.service.processes, "nobody waited for its end"
        assert all(process.returncode is None for process in self.service.processes), "the process stays"

    async def ready(self) -> None:
        """Wait until /readyz says so."""
        await until(lambda: self.caller.once("GET", "/readyz"), lambda answer: answer[0] == 200)

    async def taken(self, count: int) -> None:
        """Wait until the mail server has taken so many."""
        end = time.monotonic() + PATIENCE_S
        while len(self.mail.contents) < count:
            assert time.monotonic() < end, f"{len(self.mail.contents)} of {count} mails"
            await asyncio.sleep(0.002)

    async def due_in(self, notice_id: str, channel: str = "email") -> float | None:
        """Seconds until the delivery is looked at again, straight from the database; null: never."""
        database = open_database(config.load(self.service.config_file, {}))
        try:
            at = await database.read(lambda tx: tx.execute(select(t.delivery.c.due_at).where(
                t.delivery.c.notice_id == notice_id, t.delivery.c.channel == channel)).scalar())
        finally:
            await database.close()
        return None if at is None else at / 1e6 - time.time()

    async def audited(self) -> None:
        """The ledger agrees with everything."""
        status, output = await self.service.command("ledger", "audit", "--open", "--config", str(self.service.config_file))
        assert status == 0, output


def _sms(channels: tuple[str, ...]) -> dict[str, str]:
    return {"sms": "Hello", "sms_carries": "full"} if "sms" in channels else {}


def state(notice: dict[str, Any], channel: str = "email") -> str:
    """The state of a notice's delivery on a channel."""
    return str(next(d["state"] for d in notice["deliveries"] if d["channel"] == channel))


def message_ids(server: SmtpServer) -> list[bytes]:
    """The Message-IDs of what the mail server took, in order."""
    return [found[1] for taken in server.contents for found in [re.search(rb"(?im)^message-id:\s*(\S+)", taken.content)] if found]


def outcomes(notice: dict[str, Any], channel: str = "email") -> list[str | None]:
    """The outcomes of its attempts in order."""
    return [a["outcome"] for d in notice["deliveries"] if d["channel"] == channel for a in d["attempts"]]


def called(notice: dict[str, Any], channel: str = "email") -> list[str | None]:
    """The outcomes of what was called: on a busy machine a short lease may lapse between seal and call, and then nothing is sent."""
    return [outcome for outcome in outcomes(notice, channel) if outcome != "not_sent"]


def delivered(notice: dict[str, Any]) -> bool:
    """Whether every delivery was."""
    return all(d["state"] == "delivered" for d in notice["deliveries"])


@asynccontextmanager
async def running(folder: Path, database_url: str | None, *, wrapper: str = "", patient: bool = False,
                  **sections: Any) -> AsyncIterator[Running]:
    """A new installation with a mail server that pipelines and an SMS gateway; everything is ended afterwards.

    `patient`: calls and leases may last as long as with real peers, for tests in which nobody is killed and nobody hangs: whatever
    takes long there is the machine's doing.
    """
    if patient:
        sections |= {name: settings | sections.get(name, {}) for name, settings in PATIENT.items()}
    async with SmtpServer({}, extensions=PIPELINING) as mail, SmsGateway() as sms:
        service = await installed(
            folder / "service", smtp_port=mail.port, sms_port=sms.port, database_url=database_url, wrapper=wrapper, **sections
        )
        try:
            async with Clients(service.url, service.key, Lines(folder / "accepted.log"), count=0) as caller:
                yield Running(service, mail, sms, caller)
        finally:
            await service.kill()
