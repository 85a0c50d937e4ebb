"""(a) Everybody gets exactly one notice, in-site, whatever is killed: imported, uploaded as CSV, approved, expanded, delivered.

`quiet` is the same without kills: how quick expansion is, what memory it takes, and how long single urgent notices wait beside it.
The judge asks four that must agree: the counts, the list of notices, report.csv, and the database. Called by __main__ and the tests.
"""

import contextlib
import csv
import json
import random
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from bench import meters
from bench.broadcast import audience
from bench.broadcast.house import House, Kept
from bench.broadcast.watch import Poll

Figures = dict[str, float]
NOTICE = {"category": "agreement", "channels": ["in_site"],
          "content": {"subject": "用户协议更新", "body": "新版用户协议将于十日后生效。\n\n" + "本次更新涉及送达与通知条款。" * 40}}
URGENT = {"category": "handling", "channels": ["in_site"], "ground": "五.2①",
          "content": {"subject": "处理通知", "body": "请在三个工作日内处理。"}}
STAND_STILL_S = 1800.0
URGENT_EVERY_S = 0.25


def draft(house: House, name: str, notice: dict[str, Any], audience_type: str = "upload") -> str:
    """A new draft; its id."""
    return str(house.must("POST", "/v1/broadcasts", json={"name": name, "notice": notice, "audience": {"type": audience_type}})["id"])


def approve(house: House, broadcast_id: str) -> float:
    """Approve with the second key, however often nobody answers; the moment of the answer."""
    answer = house.ask("POST", f"/v1/broadcasts/{broadcast_id}/approve", key=house.approver)
    if answer.status_code != 200 and house.must("GET", f"/v1/broadcasts/{broadcast_id}")["state"] == "draft":
        raise SystemExit(f"the approval was answered with {answer.status_code}: {answer.text[:500]}")
    return time.monotonic()


def upload(house: House, broadcast_id: str, numbers: range) -> dict[str, Any]:
    """The whole CSV in one request, again from its beginning while it is cut short; the answer."""
    path, sent = f"/v1/broadcasts/{broadcast_id}/recipients", {"Content-Type": "text/csv"}
    while True:
        with contextlib.suppress(httpx.TransportError):
            answer = house.service.client.post(path, headers=sent, content=audience.csv(numbers), timeout=600)
            if answer.status_code == 200:
                return dict(answer.json())
            if answer.status_code != 503:
                raise SystemExit(f"the upload was answered with {answer.status_code}: {answer.text[:500]}")
        time.sleep(0.2)


def quiet(house: House, numbers: range, *, urgent: bool) -> tuple[Figures, list[str]]:
    """Once without kills: figures, and what is wrong."""
    began = time.monotonic()
    broadcast_id = draft(house, "quiet", NOTICE)
    answer = upload(house, broadcast_id, numbers)
    uploaded = time.monotonic()
    with contextlib.closing(Poll(house.service, broadcast_id, len(numbers))) as poll:
        approved = approve(house, broadcast_id)
        with _beside(house, numbers, poll) if urgent else contextlib.nullcontext([]) as waits:
            poll.until_ended(STAND_STILL_S)
        done = time.monotonic()
    wrong = [*poll.wrong, *([] if answer["accepted"] == len(numbers) else [f"the upload took {answer['accepted']} of {len(numbers)}"])]
    expanded = poll.expanded_at() or done
    figures = {"upload": len(numbers) / (uploaded - began), "expansion": len(numbers) / (expanded - approved),
               "expansion_s": expanded - approved, "whole": len(numbers) / (done - approved), "polls": float(poll.polls)}
    figures |= {f"{role}_mib": high for role, high in house.memory.high.items()}
    waited = sorted(waits)
    if waited:
        figures |= {"urgent": float(len(waited)), "urgent_p50": waited[len(waited) // 2], "urgent_p99": waited[len(waited) * 99 // 100]}
    return figures, wrong + judged(house, broadcast_id, numbers)


@contextlib.contextmanager
def _beside(house: House, numbers: range, poll: Poll) -> Iterator[list[float]]:
    """Single urgent notices, one after the other, until the block ends: milliseconds from acceptance to dispatch."""
    over, ids, waits = threading.Event(), list[str](), list[float]()

    def post() -> None:
        base = house.service.client
        with httpx.Client(base_url=base.base_url, headers=base.headers, timeout=60, trust_env=False) as http:
            while not over.wait(URGENT_EVERY_S) and poll.state in ("", "draft", "running"):
                body = URGENT | {"recipient_id": audience.recipient_id(numbers.start + len(ids) % 10)}
                answer = http.post("/v1/notices", json=body)
                if answer.status_code == 202:
                    ids.append(answer.json()["id"])
    thread = threading.Thread(target=post, daemon=True)
    thread.start()
    try:
        yield waits
    finally:
        over.set()
        thread.join()
    waits += [_waited(house, one) for one in ids]


def _waited(house: House, notice_id: str) -> float:
    ends = time.monotonic() + 60
    while not (found := house.must("GET", f"/v1/notices/{notice_id}"))["deliveries"][0]["attempts"]:
        if time.monotonic() > ends:
            raise SystemExit("an urgent notice was not dispatched")
        time.sleep(0.1)
    return meters.millis(found["deliveries"][0]["attempts"][0]["started_at"]) - meters.millis(found["accepted_at"])


def killed(house: House, numbers: range, kept: Kept, *, seed: int, kills: int) -> tuple[Figures, list[str]]:
    """Once with kills at moments that the seed chooses: the first during the upload, the others on the way to the end."""
    chance = random.Random(f"{seed} broadcast")
    moments = sorted(chance.random() for _ in range(kills - 1))
    broadcast_id = kept.once("broadcast", lambda: draft(house, "killed", NOTICE))
    if not kept.get("uploaded"):
        kept.put("uploaded", _upload_and_kill(house, broadcast_id, numbers, kept, chance))
    with contextlib.closing(Poll(house.service, broadcast_id, len(numbers))) as poll:
        approve(house, broadcast_id)
        for moment in moments[max(0, kept.get("kills", 0) - 1):]:
            poll.until(moment, STAND_STILL_S)
            house.kill(_some(house, chance))
            kept.put("kills", kept.get("kills", 0) + 1)
            kept.put("on the way", kept.get("on the way", 0) + (poll.state == "running"))
            house.start()
        poll.until_ended(STAND_STILL_S)
    answer = kept.get("uploaded")
    wrong = list(poll.wrong)
    if answer["accepted"] + answer["duplicates"] != len(numbers) or answer["rejected"]:
        wrong.append(f"the last upload was answered with {answer}")
    figures = {"kills": float(kept.get("kills", 0)), "on_the_way": float(kept.get("on the way", 0)), "polls": float(poll.polls)}
    return figures | {f"{role}_mib": high for role, high in house.memory.high.items()}, wrong + judged(house, broadcast_id, numbers)


def _upload_and_kill(house: House, broadcast_id: str, numbers: range, kept: Kept, chance: random.Random) -> dict[str, Any]:
    """Upload, and kill everything once in the middle of it."""
    found: list[dict[str, Any]] = []
    thread = threading.Thread(target=lambda: found.append(upload(house, broadcast_id, numbers)), daemon=True)
    thread.start()
    if not kept.get("kills"):
        thread.join(timeout=chance.random() * max(0.2, len(numbers) / 50_000))
        house.kill(house.roles)
        kept.put("kills", 1)
        house.start()
    thread.join()
    return found[0]


def _some(house: House, chance: random.Random) -> Sequence[str | None]:
    """Which processes die this time: all of them, or one."""
    return chance.choice([house.roles, *([role] for role in house.roles)])


def judged(house: House, broadcast_id: str, numbers: range) -> list[str]:
    """What is wrong with the end of a broadcast that everybody was served by."""
    count, wrong = len(numbers), list[str]()
    body = house.must("GET", f"/v1/broadcasts/{broadcast_id}")
    if (body["state"], body["counts"]["served"], body["counts"]["expanded"]) != ("completed", count, count):
        wrong.append(f"the broadcast says {json.dumps(body)}")
    counted = house.must("GET", f"/v1/notices/counts?broadcast_id={quote(broadcast_id)}")["counts"]
    if (counted["total"], counted["served"]) != (count, count):
        wrong.append(f"the notices are counted as {counted}")
    for rows, name in ((listed, "list of notices"), (report, "report")):
        wrong += [f"{one} in the {name}" for one in _each_once(rows(house, broadcast_id), numbers)]
    return wrong


def _each_once(rows: Iterable[dict[str, str]], numbers: range) -> list[str]:
    """What is wrong with rows that should have everybody once, served in-site."""
    count = len(numbers)
    seen, ids, odd = bytearray(count), set[int](), 0
    for row in rows:
        number = int(row["recipient_id"][1:]) - numbers.start
        seen[number] = min(seen[number] + 1, 2)
        ids.add(int(row["notice_id"].replace("-", ""), 16))
        odd += (row["state"], row["channel"]) != ("served", "in_site")
    return [f"{found} {what}" for what, found in (
        ("recipients without a row", seen.count(0)), ("recipients with several rows", seen.count(2)),
        ("notices too few or too many", abs(count - len(ids))), ("rows that are not served in-site", odd)) if found]


def listed(house: House, broadcast_id: str) -> Iterator[dict[str, str]]:
    """The notices of a broadcast as the API lists them, page after page."""
    cursor = ""
    while cursor is not None:
        page = house.must("GET", f"/v1/notices?limit=200&broadcast_id={broadcast_id}{f'&cursor={quote(cursor)}' if cursor else ''}")
        for one in page["items"]:
            yield {"recipient_id": one["recipient_id"], "notice_id": one["id"], "state": one["state"], "channel": one["service"]["channel"]}
        cursor = page["next_cursor"]


def report(house: House, broadcast_id: str) -> Iterator[dict[str, str]]:
    """The rows of report.csv, as they come."""
    with house.service.client.stream("GET", f"/v1/broadcasts/{broadcast_id}/report.csv", timeout=None) as answer:
        if answer.status_code != 200:
            raise SystemExit(f"the report was answered with {answer.status_code}")
        yield from csv.DictReader(answer.iter_lines())


def stored_once(database: str, broadcast_id: str, count: int, *, delivered: bool = True) -> list[str]:
    """What the tables say: one notice and, once delivered, one message for each recipient, and nobody twice. PostgreSQL."""
    wrong = []
    with meters.watching(database) as watch:
        mine = f"from notice where broadcast_id = '{broadcast_id}'"
        for what, wanted, statement in (
                ("notices", count, f"select count(*) {mine}"), ("recipients", count, f"select count(distinct subject_id) {mine}"),
                ("messages", count * delivered, f"select count(*) from inbox_message where notice_id in (select id {mine})"),
                ("deliveries", count, f"select count(*) from delivery where notice_id in (select id {mine})")):
            if (found := watch.value(statement)) != wanted:
                wrong.append(f"the database has {found} {what} instead of {wanted}")
    return wrong


def proved(house: House, broadcast_id: str, numbers: range, folder: Path, *, seed: int, proofs: int) -> list[str]:
    """The ledger agrees with everything, and the proofs of some notices, taken at random, verify."""
    wrong, chance = [], random.Random(f"{seed} proofs")
    chosen = {audience.recipient_id(number) for number in chance.sample(numbers, min(proofs, len(numbers)))}
    key = house.service.client.get("/v1/ledger/key").text.splitlines()[0]
    for row in listed(house, broadcast_id):
        if row["recipient_id"] in chosen:
            answer = house.ask("GET", f"/v1/notices/{row['notice_id']}/proof?reason=bench")
            file = folder / "proof.json"
            file.write_bytes(answer.content)
            try:
                house.service.cli("verify", str(file), "--log-key", key)
            except SystemExit as error:
                wrong.append(f"a proof does not verify: {error}")
    try:
        house.command("ledger", "audit")
    except SystemExit as error:
        wrong.append(f"the audit found something: {error}")
    return wrong
