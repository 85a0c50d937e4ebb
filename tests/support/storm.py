"""A storm of receipts against a running service: random, repeated, reordered, contradictory and garbage, and what people state between.

Called by tests/acceptance/test_receipt_storm.py and bench/receipts.py. One sequence is one notice by SMS with all that is thrown at
it. Afterwards nothing may have been answered with 500, the audit must find nothing, and what the service says of each notice must be
what `noticesvc explain`, and a second reading of its specification, say of the evidence in that notice's proof.
"""

import asyncio
import json
import random
import re
from base64 import b64decode
from collections import Counter
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import aiohttp
from sqlalchemy import func, select

from noticesvc import config
from noticesvc.bootstrap.installation import open_database
from noticesvc.ledger.entry import decode
from noticesvc.storage import tables as t
from tests.fakes.sms_gateway import CLOSE, TAKEN, Answer, Request
from tests.support.process import Running, state
from tests.support.storm_vendors import TEMPLATE, Shot, Vendors
from tests.support.waiting import until
from tests.vectors.generated_cases import comparable, disagreements, features

KINDS = ("submitted", "relayed", "arrived", "acknowledged", "rejected", "failed_temporary", "failed_permanent", "expired", "rebutted")
TEXTS = ("id:1 stat:DELIVRD err:000", "id:2 stat:DELIVRD err:000", "id:3 stat:DELIVRD err:000", "id:1 stat:UNDELIV err:001",
         "id:1 stat:UNDELIV err:099", "id:1 stat:EXPIRED", "id:1 stat:ENROUTE", "id:1 stat:REJECTD", "stat:WEIRD",
         "NACK/1035/Destination", "", "余额不足", "\ud83d\ude00 stat:", "'; drop table receipt; --")
STATUSES = (1, 1, 1, 2, 4, 8, 16, 34, 0, 77)
AT_ONCE = 8
_MEMBERS = ("id", "delivery_id", "attempt", "channel", "kind", "source", "authenticated", "carries", "call_started_at", "claimed_at",
            "observed_at", "confirmation", "contact_in_effect", "part", "parts", "provider", "refers_to", "proved_at", "fault")
_OWN = ("served", "served_at", "served_on", "channel", "evidence_id", "basis", "conflict", "independent", "without_winner")


@dataclass
class Storm:
    """A storm over `sequences` notices from one seed. `wrong` is what must not be; `seen` counts what happened."""

    run: Running
    seed: int
    sequences: int
    vendors: Vendors
    wrong: list[str] = field(default_factory=list)
    seen: Counter[str] = field(default_factory=Counter)
    shares: Counter[str] = field(default_factory=Counter)
    _requests: dict[str, list[Request]] = field(default_factory=dict)
    _read: int = 0

    async def blow(self) -> None:
        """Throw everything, wait until it was read, and compare."""
        rng = random.Random(self.seed)
        # Some calls break off, so that receipts must say what became of them; what is refused goes to the vendors behind it.
        self.run.sms.moves = [rng.choices((TAKEN, CLOSE, Answer(503, b"Temporal failure, try again later.")), (25, 5, 70))[0]
                              for _ in range(self.sequences * 3)] + [TAKEN]
        await self.vendors.look_up(self.run)
        status, answer = await self.run.caller.request("PUT", "/v1/templates/storm", TEMPLATE)
        assert status == 201, answer
        recipients = [await self.run.recipient(f"r-{n}") for n in range(max(1, self.sequences // 10))]
        numbers = iter(range(self.sequences))
        notices: list[str] = []

        async def work() -> None:
            for number in numbers:
                one = random.Random(f"{self.seed}:{number}")
                notices.append(await self._sequence(one, one.choice(recipients), number))
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as session:
            self._session = session
            await asyncio.gather(*(work() for _ in range(AT_ONCE)))
            await self._quiet()
            for start in range(0, len(notices), 200):
                await self._compare(notices[start:start + 200])
        _, counts = await self.run.caller.get("/v1/notices/counts")
        known = counts["counts"]
        self.seen["cure notices"] = known["total"] - self.sequences
        if known["total"] < self.sequences or known["total"] != sum(known[state] for state in known if state != "total"):
            self.wrong.append(f"of {self.sequences} notices {known} are left")
        status, output = await self.run.service.command("ledger", "audit", "--config", str(self.run.service.config_file))
        if status:
            self.wrong.append(f"the audit: {output[-2000:]}")

    # --- one sequence -------------------------------------------------------------------------------------------------------

    async def _sequence(self, rng: random.Random, recipient: str, number: int) -> str:
        text = "您有一份新的通知，请登录平台查看。" * rng.choice((1, 1, 6))
        body = {"recipient_id": recipient, "category": rng.choice(("platform", "agreement", "commercial")),
                "channels": ["sms"] if rng.random() < 0.8 else ["in_site", "sms"],
                "content": {"subject": "S", "body": "B", "sms": text, "sms_carries": rng.choice(("full", "full", "pointer"))}}
        if rng.random() < 0.7:  # which vendors of approved texts send, too
            del body["content"]
            body["template"] = {"name": "storm", "params": {"name": "李雷" * rng.choice((1, 1, 40))}}
        status, answer = await self.run.caller.request("POST", "/v1/notices", body, {"Idempotency-Key": f"{self.seed}-{number}"})
        assert status == 202, answer
        notice_id = str(answer["id"])
        await until(lambda: self._of(notice_id), bool, 120)
        thrown: list[Shot] = []
        for _ in range(rng.randint(2, 9)):
            shot = self._shot(rng, notice_id) if not thrown or rng.random() < 0.75 else rng.choice(thrown)
            if shot is not None:
                thrown.append(shot)
                await self._throw(rng, shot)
            else:
                await self._state(rng, notice_id)
        return notice_id

    async def _of(self, notice_id: str) -> bool:
        """Whether somebody took a notice, perhaps without saying so, or nobody will: a number that is dead takes no commercial one."""
        requests = self.run.sms.requests
        for request in requests[self._read:]:
            found = parse_qs(urlsplit(request.headers.get("x-kannel-dlr-url", "")).query).get("reference")
            if found:
                self._requests.setdefault(found[0].partition(".")[0], []).append(request)
        self._read = len(requests)
        if self.vendors.of(notice_id):
            return True
        await asyncio.sleep(0.05)
        return state(await self.run.notice(notice_id), "sms") not in ("pending", "claimed")

    def _shot(self, rng: random.Random, notice_id: str) -> Shot | None:
        """A random report about the notice, perhaps spoilt; null: something else is to happen."""
        dice, taken = rng.random(), self.vendors.of(notice_id)
        if dice < 0.2 or (notice_id not in self._requests and not taken):
            return None
        if taken and (notice_id not in self._requests or rng.random() < 0.8):
            one = rng.choice(taken)
            self.seen[f"by {one.vendor}"] += 1
            return self.vendors.shot(rng, one)
        self.seen["by kannel"] += 1
        request = rng.choice(self._requests[notice_id])
        url = request.report_url(rng.choice(STATUSES), rng.choice(TEXTS).encode("utf-8", "replace").decode("utf-8"),
                                 rng.choice((None, 0, 1_700_000_000, 2**31, 2**63)), rng.choice(("", "f-1")))
        if dice < 0.3:
            url = re.sub(r"token=[^&]*", rng.choice(("token=x", "", "token=%ff%00")), url)
        elif dice < 0.36:
            url = re.sub(r"reference=[^&]*", "reference=" + quote(rng.choice(("nothing", "../../x", "01a0.sms.1", "\x00", "a" * 300))), url)
        elif dice < 0.42:
            url += "&" + "&".join(f"{quote(rng.randbytes(3))}={quote(rng.randbytes(9))}" for _ in range(rng.randint(1, 30)))
        return Shot(url)

    async def _throw(self, rng: random.Random, shot: Shot) -> None:
        garbage = rng.random() < 0.08
        data = rng.randbytes(rng.choice((0, 1, 40, 5000))) if garbage else shot.data
        async with self._session.request("GET" if data is None else "POST", shot.url, data=data, headers=shot.headers) as answer:
            await answer.read()
            self._judge("callback", answer.status, {200, 202, 400, 401, 404, 422})

    async def _state(self, rng: random.Random, notice_id: str) -> None:
        """A person states something, a rebuttal often of what is there."""
        notice = await self.run.notice(notice_id)
        one = rng.choice(notice["deliveries"])
        kind = rng.choice(KINDS) if one["channel"] != "in_site" or rng.random() < 0.1 else "rebutted"
        body: dict[str, Any] = {"delivery_id": one["id"], "kind": kind, "statement": "storm",
                                "occurred_at": rng.choice((notice["accepted_at"], "2020-01-01T00:00:00+08:00", "2030-01-01T00:00:00Z"))}
        if kind == "rebutted" and rng.random() < 0.8:
            body["refers_to"] = rng.choice(notice["evidence"])["id"] if notice["evidence"] and rng.random() < 0.9 else "nothing"
            body["proved_at"] = rng.choice((None, None, "2027-01-01T00:00:00Z"))
        status, answer = await self.run.caller.request("POST", f"/v1/notices/{notice_id}/evidence", body)
        self._judge("statement", status, {201, 422})
        if status == 201 and answer["kind"] != kind:
            self.wrong.append(f"a statement of {kind} became {answer}")

    def _judge(self, what: str, status: int, allowed: set[int]) -> None:
        self.seen[f"{what} {status}"] += 1
        if status not in allowed:
            self.wrong.append(f"a {what} was answered with {status}")

    # --- afterwards ---------------------------------------------------------------------------------------------------------

    async def _quiet(self) -> None:
        """Wait until every stored body was read and every attempt was answered."""
        database = open_database(config.load(self.run.service.config_file, {}))
        try:
            def busy(tx: Any) -> int:
                unread = tx.execute(select(func.count()).select_from(t.receipt).where(t.receipt.c.state == "new")).scalar_one()
                held = tx.execute(select(func.count()).select_from(t.delivery).where(
                    t.delivery.c.state.in_(("pending", "unknown")), t.delivery.c.due_at <= tx.now)).scalar_one()
                asked = tx.execute(select(func.count()).select_from(t.inquiry).where(t.inquiry.c.due_at <= tx.now)).scalar_one()
                return int(unread) + int(held) + int(asked)

            async def look() -> int:
                return await database.read(busy)
            await until(look, lambda left: left == 0, 300)
        finally:
            await database.close()

    async def _compare(self, notices: list[str]) -> None:
        cases, shown = [], []
        for notice_id in notices:
            for left in (2, 1, 0):  # a vendor that is asked in between may say something new
                status, bundle = await self.run.caller.get(f"/v1/notices/{notice_id}/proof?reason=storm")
                assert status == 200, bundle
                notice = await self.run.notice(notice_id)
                if {name: notice["service"][name] for name in _OWN} == {name: bundle["notice"]["service"][name] for name in _OWN}:
                    break
                if not left:
                    self.wrong.append(f"notice {notice_id} is shown otherwise than in its proof")
            for outcome in bundle["outcomes"]:
                cases.append({"rule": outcome["rule"], "as_of": bundle["issued_at"],
                              "notice": {"content_sha256": bundle["notice"]["content_sha256"]}, "evidence": evidence(bundle)})
                shown.append((notice_id, outcome, bundle["notice"]["service"]))
        answers = await self._explained(cases)
        for (notice_id, outcome, service), answer in zip(shown, answers, strict=True):
            if comparable(answer) != comparable(outcome) or (
                    outcome["rule"] == service["rule"] and any(comparable(answer)[n] != comparable(outcome | service)[n] for n in _OWN)):
                self.wrong.append(f"notice {notice_id} under {outcome['rule']}: the service says {outcome}, explain {answer}")
        for place, members in disagreements(cases, answers):
            self.wrong.append(f"notice {shown[place][0]}: a second reading differs in {members}")
        for case, (_, outcome, service) in zip(cases, shown, strict=True):
            if outcome["rule"] == service["rule"]:
                self.shares.update(features(case))

    async def _explained(self, cases: list[dict[str, Any]]) -> list[dict[str, Any]]:
        path = self.run.service.folder / "cases.json"
        path.write_text(json.dumps(cases))
        status, output = await self.run.service.command("explain", str(path))
        assert status == 0, output[-2000:]
        return [json.loads(line) for line in output.splitlines()]


def evidence(bundle: dict[str, Any]) -> list[dict[str, Any]]:
    """The items of a proof bundle as `noticesvc explain` takes them, hashes from the openings."""
    opened = {(one["entry"], one["field"]): b64decode(one["value"]).decode() for one in bundle["openings"]
              if one["field"] in ("raw_sha256", "content_sha256")}
    found = []
    for position, one in enumerate(bundle["entries"]):
        entry = decode(b64decode(one["entry"]))
        if "notice_id" not in entry or "same_raw_as" not in entry:
            continue
        item = {name: entry[name] for name in _MEMBERS if name in entry}
        hashes = {"raw_sha256": opened.get((position, "raw_sha256")), "content_sha256": opened.get((position, "content_sha256"))}
        if entry.get("intended_id") is not None:
            found.append(item | {"id": entry["intended_id"], "kind": "intended", "source": "noticesvc", "call_started_at": None,
                                 "content_sha256": hashes["content_sha256"]})
        if entry["evidence_id"] is not None:
            found.append(item | hashes | {"id": entry["evidence_id"]})
    return found
