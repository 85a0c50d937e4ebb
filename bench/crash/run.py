"""One run of the kill test: callers post, the service works and is killed again and again, and at the end everything is counted.

Called by bench.soak (long) and tests/acceptance/test_kill.py (short). The rule that is tested: never lost, never silently
twice. Callers and sinks are other processes' witnesses; they keep what they saw in the run's folder.
"""

import asyncio
import contextlib
import json
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp

from bench.crash import faults, lines, sinks, verdict
from bench.crash.clients import Clients
from bench.crash.cutting_proxy import CuttingProxy
from bench.crash.faults import FAULTS, Around, Skipped
from bench.crash.lines import Lines
from bench.crash.plan import End, Plan
from bench.crash.service import Service, installed
from bench.crash.sinks import Sinks
from bench.crash.verdict import Verdict
from tests.support.postgres import PrivatePostgres

ACCEPTED, KILLS = "accepted.log", "kills.log"
_POLL_S = 0.005
_ASK_AT_ONCE = 20
_LONGEST_LEG_S = 15.0
_FINISHED = {"delivered", "failed", "undeliverable", "cancelled", "expired"}


async def run(plan: Plan, folder: Path, *, wrapper: str = "", say: Callable[[str], None] = lambda _: None,
              server: PrivatePostgres | None = None) -> Verdict:
    """Do the run, or the rest of it, and judge. Some faults need the `server` of the plan's database."""
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    home = folder / "service"
    async with contextlib.AsyncExitStack() as stack:
        peers = await stack.enter_async_context(
            sinks.running(folder, smtp_port=plan.smtp_port, sms_port=plan.sms_port, slowest_s=plan.slowest_s))
        proxy = None
        if server is not None and plan.database_url is not None:
            proxy = await stack.enter_async_context(CuttingProxy(server.port))
            plan = replace(plan, database_url=plan.database_url.replace(f":{server.port}/", f":{proxy.port}/"))
        small = "disk full" in plan.faults and await stack.enter_async_context(faults.small_disk(home, 32 + plan.notices // 10))
        if (home / "key").exists():
            service = Service(home, wrapper)
            if plan.database_url is not None:
                service.move_database(plan.database_url)
            Lines(folder / KILLS).write(leg=-1, kind="interrupted", workers=max(1, plan.workers))  # which was a kill like the others
        else:
            plan = replace(plan, smtp_port=peers.smtp_port, sms_port=peers.sms_port)
            service = await installed(
                home, smtp_port=peers.smtp_port, sms_port=peers.sms_port, database_url=plan.database_url, wrapper=wrapper,
                worker={"concurrency": plan.concurrency}, mail={"connections": plan.connections})
            plan.save(folder)
        service.several = plan.workers
        around = Around(service, lambda: _ready(clients), server, proxy, small)
        if "clock set" in plan.faults:
            around.set_clock(0)
            service.environment = faults.clock_environment(around.clock)
        try:
            async with Clients(service.url, service.key, Lines(folder / ACCEPTED)) as clients:
                await _Run(plan, folder, around, peers, clients, say).legs()
                return await _Run(plan, folder, around, peers, clients, say).judged()
        finally:
            await service.kill()


async def _ready(clients: Clients) -> bool:
    """Whether /readyz says ready, whatever becomes of the question."""
    try:
        return (await clients.once("GET", "/readyz"))[0] == 200
    except (aiohttp.ClientError, TimeoutError, OSError):
        return False


class _Run:
    def __init__(self, plan: Plan, folder: Path, around: Around, peers: Sinks, clients: Clients, say: Callable[[str], None]) -> None:
        self.plan, self.folder, self.around, self.peers, self.clients, self.say = plan, folder, around, peers, clients, say
        self.service = around.service
        self.kills = Lines(folder / KILLS)

    async def legs(self) -> None:
        """Post a portion, kill, start again: as often as planned; then the rest is posted and accepted."""
        known = {line["key"] for line in lines.read(self.folder / ACCEPTED)}
        groups = [g for g in self.plan.groups() if any(body["idempotency_key"] not in known for body in g)]
        done = {line["leg"] for line in lines.read(self.folder / KILLS)}
        ends = [(leg, end) for leg, end in enumerate(self.plan.ends()) if leg not in done]
        await self.service.start_all()
        await self.clients.put_contacts(self.plan.contacts())
        for n, (leg, end) in enumerate(ends):
            share = -(-len(groups) // (len(ends) - n + 1))
            self.clients.release(groups[:share])
            groups = groups[share:]
            began = time.monotonic()
            await self._end(leg, end)
            self.say(f"leg {leg + 1} of {len(self.plan.ends())}: {end.kind} after {time.monotonic() - began:.1f} s")
        self.clients.release(groups)
        await self.clients.done()

    async def _end(self, leg: int, end: End) -> None:
        """End one leg."""
        if end.kind == "any time":
            await asyncio.sleep(2 * end.luck)
        else:
            await self._in_flight(end)
        if end.kind in FAULTS:
            await self._fault(leg, end.kind)
            return
        await self._kill(leg, end.kind)
        for _ in range({"start-up": 1, "twice": 2}.get(end.kind, 0)):
            process = await self.service.launch()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.2 + 2.5 * end.luck):
                    await process.wait()
            await self._kill(leg, end.kind)
        await self.service.start_all()

    async def _fault(self, leg: int, kind: str) -> None:
        """Let it happen; what it may lose is written down with it."""
        fault = FAULTS[kind]
        try:
            await fault.happens(self.around)
        except Skipped as reason:
            self.say(f"SKIPPED {kind}: {reason}")
            self.kills.write(leg=leg, kind=f"skipped: {kind}", workers=0)
        else:
            self.kills.write(leg=leg, kind=kind, workers={"all": max(1, self.plan.workers), "one": 1}.get(fault.loses, 0))

    async def _in_flight(self, end: End) -> None:
        """Wait until the sinks were given some more, so that others are on their way; at most so long."""
        until = time.monotonic() + _LONGEST_LEG_S
        wanted = self._logged() + 150 * end.lines
        while time.monotonic() < until and self._logged() < wanted:  # noqa: ASYNC110 (other processes write the logs)
            await asyncio.sleep(_POLL_S)
        await asyncio.sleep(0.02 * end.luck)

    def _logged(self) -> int:
        return lines.size(self.peers.mail_log) + lines.size(self.peers.sms_log)

    async def _kill(self, leg: int, kind: str) -> None:
        await self.service.kill()
        self.kills.write(leg=leg, kind=kind, workers=max(1, self.plan.workers))

    async def judged(self) -> Verdict:
        """Wait until everything is finished, then count."""
        found = Verdict()
        _, document = await self.clients.get("/openapi.json")
        paths = document["paths"]
        reports = any(path.endswith("/callbacks") for path in paths)
        self.say("waiting until everything is finished")
        accepted = lines.read(self.folder / ACCEPTED)
        by_id = {line["id"]: line for line in accepted}
        notices, unsettled = await self._settled(by_id, reports=reports)
        self.say("counting")
        _, counts = await self.clients.get("/v1/notices/counts")
        verdict.accepted_once(found, accepted, self.plan.notices, counts["counts"]["total"])
        verdict.judge_states(found, notices, unsettled)
        ends = lines.read(self.folder / KILLS)
        killed = sum(end.get("workers", 1) for end in ends)
        no_kill = ("skipped", "interrupted", *FAULTS)
        found.numbers |= {"kills": sum(not end["kind"].startswith(no_kill) for end in ends),
                          "faults": [end["kind"] for end in ends if end["kind"] in FAULTS], "counts": counts["counts"]}
        mail, sms = lines.read(self.peers.mail_log), lines.read(self.peers.sms_log)
        verdict.judge_channel(found, "email", mail, notices, by_id, killed * self.plan.connections)
        verdict.judge_channel(found, "sms", sms, notices, by_id, killed * self.plan.concurrency)
        if reports:
            verdict.judge_reports(found, sms, notices)
        if "/v1/inbox/{recipient_id}/messages" in paths:
            verdict.judge_inbox(found, await self._inbox({line["recipient_id"] for line in accepted}), by_id)
        else:
            verdict.judge_inbox(found, {n["id"]: sum(e["channel"] == "in_site" and e["kind"] == "arrived" for e in n["evidence"])
                                        for n in notices.values()}, by_id)
        found.found("strange", self.clients.strange)
        await self._replay(found)
        await self._proofs(found, paths, list(by_id))
        status, output = await self.service.command("ledger", "audit", "--config", str(self.service.config_file))
        if status:
            found.findings.append(f"ledger audit ended with {status}: {output[-400:]}")
        return found

    async def _settled(self, accepted: dict[str, Any], *, reports: bool) -> tuple[dict[str, Any], list[str]]:
        """Every notice as GET shows it once its deliveries are finished, and those that are not in time."""
        notices: dict[str, Any] = {}
        until = time.monotonic() + self.plan.drain_s
        waiting = set(accepted)
        limit = asyncio.Semaphore(8)

        async def look(notice_id: str) -> None:
            async with limit:
                status, body = await self.clients.get(f"/v1/notices/{notice_id}")
            if status == 200:
                notices[notice_id] = body
        while waiting:
            # A few at a time: whoever asks for everything again and again keeps the service from its work.
            asked = sorted(waiting)[:_ASK_AT_ONCE]
            await asyncio.gather(*(look(i) for i in asked))
            reported = verdict.reported(lines.read(self.peers.sms_log)) if reports else set()
            late_reports = {r.partition(".")[0] for r in reported - verdict.arrived(notices)}
            waiting -= {i for i in asked if i in notices and i not in late_reports and _finished(notices[i], reports=reports)}
            if time.monotonic() > until:
                break
            await asyncio.sleep(0.1 if waiting.isdisjoint(asked) else 0.5)
        await asyncio.gather(*(look(i) for i in accepted))
        return notices, [f"{i} {[(d['channel'], d['state']) for d in notices[i]['deliveries']] if i in notices else 'not found'}"
                         for i in waiting if i not in notices or not _finished(notices[i], reports=reports)]

    async def _inbox(self, recipients: set[str]) -> Counter[str]:
        """How often each notice is in an inbox."""
        found: Counter[str] = Counter()
        for recipient_id in sorted(recipients):
            cursor = ""
            while cursor is not None:
                more = f"&cursor={cursor}" if cursor else ""
                status, page = await self.clients.get(f"/v1/inbox/{recipient_id}/messages?limit=200{more}")
                if status != 200:
                    raise RuntimeError(f"an inbox was answered with {status}: {page}")
                found.update(item["notice_id"] for item in page["items"])
                cursor = page["next_cursor"]
        return found

    async def _replay(self, found: Verdict) -> None:
        """Some of the requests once more, as callers do who never saw the answer: the same notices must come back."""
        ids = {line["key"]: line["id"] for line in lines.read(self.folder / ACCEPTED)}
        chance = random.Random(self.plan.seed)
        bodies = [body for group in self.plan.groups() for body in group]
        again = chance.sample(bodies, min(20, len(bodies)))
        _, answer = await self.clients.request("POST", "/v1/notices/batch", {"notices": again})
        found.found("a repeated request is another notice", [
            body["idempotency_key"] for body, result in zip(again, answer["results"], strict=True)
            if result.get("id") != ids.get(body["idempotency_key"]) or not result.get("replayed")])

    async def _proofs(self, found: Verdict, paths: dict[str, Any], ids: list[str]) -> None:
        """A sample of proofs verifies, where this version has proofs and the command that verifies them."""
        if not self.plan.proofs:
            return
        _, commands = await self.service.command("--help")
        if "/v1/notices/{notice_id}/proof" not in paths or "\n  verify " not in commands:
            return
        chance = random.Random(self.plan.seed)
        for notice_id in chance.sample(ids, min(self.plan.proofs, len(ids))):
            status, bundle = await self.clients.get(f"/v1/notices/{notice_id}/proof?reason=soak")
            file = self.folder / f"{notice_id}.json"
            file.write_text(json.dumps(bundle, ensure_ascii=False))
            if status != 200:
                found.findings.append(f"a proof was answered with {status}")
                continue
            code, output = await self.service.command("verify", str(file), *await self._log_key())
            if code:
                found.findings.append(f"a proof does not verify: {output[-400:]}")

    async def _log_key(self) -> list[str]:
        """The verifier key, as the command asks for it."""
        _, usage = await self.service.command("verify", "--help")
        status, key = await self.clients.get("/v1/ledger/key")
        return ["--log-key", key.strip().splitlines()[0]] if status == 200 and "--log-key" in usage else []


def _finished(notice: dict[str, Any], *, reports: bool) -> bool:
    """Whether nothing more is to come: a commercial message of unknown outcome waits for days, and is not sent again.

    A report may have delivered an attempt before the worker's own answer is recorded; that still comes.
    """
    answered = all(attempt["outcome"] is not None for d in notice["deliveries"] for attempt in d["attempts"])
    return answered and all(
        d["state"] in _FINISHED or (d["channel"] == "sms" and d["state"] == "sent" and not reports)
        or (notice["category"] == "commercial" and d["state"] == "unknown") for d in notice["deliveries"])
