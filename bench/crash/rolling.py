"""A rolling upgrade under traffic: the database is migrated while old processes work on it, then they are replaced one by one.

Used by tests/acceptance/test_rolling_upgrade.py, where the new version is this one with further migrations, and by `python -m
bench.upgrade`, where the old version is another checkout. PostgreSQL only.
"""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.crash.balanced import Caller
from bench.crash.clients import Clients
from bench.crash.lines import Lines
from bench.crash.service import Service
from tests.fakes.smtp_server import SmtpServer
from tests.support.ports import free_port

_MORE = 5  # notices that must be accepted in each phase
_PAUSE_S = 0.05  # between two notices of a caller: what is starting meanwhile needs the processor
_WITHIN_S = 90.0


@dataclass
class Rolled:
    """What came of it. `findings` is empty if nothing was lost, refused or doubled, and every process ended in order."""

    accepted: int = 0
    elsewhere: int = 0
    longest_s: float = 0.0  # from a caller's first try to its 202, the worst of all
    migrated: str = ""
    findings: list[str] = field(default_factory=list)


class Rolling:
    """An old and a new version of one installation, each with an API and a worker of its own."""

    def __init__(self, old: Service, new: Service, mail: SmtpServer, say: Callable[[str], None] = lambda _: None) -> None:
        self.old, self.new, self.mail, self.say = old, new, mail, say
        self.ports = {id(old): free_port(), id(new): free_port()}
        self.urls = [f"http://127.0.0.1:{port}" for port in self.ports.values()]

    async def start(self, version: Service, only: str) -> asyncio.subprocess.Process:
        """One process of a version, ready; each has a port and journals of its own."""
        process = await self.launch(version, only)
        await version.ready(process)
        return process

    async def launch(self, version: Service, only: str) -> asyncio.subprocess.Process:
        """The same without waiting."""
        port = self.ports[id(version)]
        return await version.launch(only=only, environment={
            "NOTICESVC_SERVER__PORT": str(port), "NOTICESVC_WORKER__JOURNAL_DIR": f"journal-{port}"})

    async def roll(self, folder: Path) -> Rolled:
        """All of it; the new version's processes go on running."""
        found = Rolled()
        await self.start(self.old, "api")
        worker = await self.start(self.old, "worker")
        async with Clients(self.urls[0], self.old.key, Lines(folder / "accepted.log"), count=0) as at_old:
            await at_old.put_contacts({"u-1": [{"channel": "email", "address": "u@sink.example", "confirmation": "confirmed"}]})
            callers = [Caller(self.urls, self.old.key, _PAUSE_S) for _ in range(2)]
            calling = [asyncio.create_task(one.run()) for one in callers]
            await _more(callers)
            status, found.migrated = await self.new.command("migrate", "--config", str(self.new.config_file))
            if status:
                found.findings.append(f"the migration ended with {status}: {found.migrated}")
            self.say(found.migrated.strip())
            # The old processes alone work on the new tables.
            await _more(callers)
            await _served(at_old, callers[0].accepted[-1], found)
            if (await at_old.get("/readyz"))[0] != 200:
                found.findings.append("an old process says that it is not ready")
        api = await self.start(self.new, "api")
        await self.start(self.new, "worker")
        await _more(callers)
        for process in (worker, *(p for p in self.old.processes if p is not worker)):
            if (ended := await self.old.stop(process)) != [0]:
                found.findings.append(f"an old process ended with {ended}")
        await _more(callers)
        for one in callers:
            one.enough.set()
        await asyncio.gather(*calling)
        await self._judge(found, callers, folder)
        assert api.returncode is None
        return found

    async def _judge(self, found: Rolled, callers: list[Caller], folder: Path) -> None:
        """Every notice is served once, and the audit of the new version holds."""
        accepted = [notice_id for one in callers for notice_id in one.accepted]
        found.accepted, found.elsewhere = len(set(accepted)), sum(one.elsewhere for one in callers)
        found.longest_s = max(one.longest_s for one in callers)
        found.findings += [f"a caller was refused: {answer}" for one in callers for answer in one.refused]
        async with Clients(self.urls[1], self.new.key, Lines(folder / "accepted.log"), count=0) as at_new:
            for notice_id in accepted:
                await _served(at_new, notice_id, found)
        taken = Counter(_message_id(taken.content) for taken in self.mail.contents)
        if len(taken) != found.accepted or max(taken.values()) > 1:
            found.findings.append(f"{found.accepted} notices were accepted, {len(taken)} mails came, one {max(taken.values())} times")
        status, output = await self.new.command("ledger", "audit", "--open", "--config", str(self.new.config_file))
        if status:
            found.findings.append(f"the audit found: {output}")


async def _more(callers: list[Caller]) -> None:
    """Wait until each caller had some more accepted."""
    ends, wanted = time.monotonic() + _WITHIN_S, [len(one.accepted) + _MORE for one in callers]
    while any(len(one.accepted) < least and not one.refused for one, least in zip(callers, wanted, strict=True)):
        if time.monotonic() > ends:
            raise TimeoutError("nothing is accepted any more")
        await asyncio.sleep(0.02)


async def _served(at: Clients, notice_id: str, found: Rolled) -> None:
    ends = time.monotonic() + _WITHIN_S
    while True:
        _, notice = await at.get(f"/v1/notices/{notice_id}")
        if notice["state"] == "served":
            break
        if time.monotonic() > ends:
            found.findings.append(f"not served: {json.dumps(notice)[:300]}")
            return
        await asyncio.sleep(0.05)
    outcomes = [attempt["outcome"] for attempt in _attempts(notice) if attempt["outcome"] != "not_sent"]
    if outcomes != ["arrived"]:
        found.findings.append(f"{notice_id} has the outcomes {outcomes}")


def _attempts(notice: dict[str, Any]) -> list[dict[str, Any]]:
    return [attempt for delivery in notice["deliveries"] for attempt in delivery["attempts"]]


def _message_id(content: bytes) -> str:
    return next(line for line in content.decode(errors="replace").splitlines() if line.lower().startswith("message-id:"))
