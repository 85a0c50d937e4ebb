"""(c) Pause and cancel while mail goes out: nothing new is dispatched 2 s after the answer, nothing is lost, what was sent stands.

The sink's log is the witness: it says when each mail came and for which notice.
"""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.broadcast import audience
from bench.broadcast.exactly_once import STAND_STILL_S, Figures, approve, draft, report, upload
from bench.broadcast.house import House, opened
from bench.broadcast.watch import Poll
from bench.crash import lines, sinks

NOTICE = {"category": "agreement", "channels": ["email"],
          "content": {"subject": "用户协议更新", "body": "新版用户协议将于十日后生效。"}}
SOON_S = 2.0


def measure(folder: Path, database: str | None, roles: Sequence[str | None], *, recipients: int, concurrency: int = 64,
            late_is_wrong: bool = True) -> tuple[Figures, list[str]]:
    """Pause and go on, then cancel another; figures, and what is wrong.

    On a machine so busy that the sink itself is late, `late_is_wrong` is left out: `pause_after` says how many came after the answer.
    """
    folder.mkdir(parents=True, exist_ok=True)
    return asyncio.run(_measure(folder, database, roles, recipients, concurrency, late_is_wrong))


async def _measure(folder: Path, database: str | None, roles: Sequence[str | None], recipients: int, concurrency: int,
                   late_is_wrong: bool) -> tuple[Figures, list[str]]:
    async with sinks.running(folder, slowest_s=0.02) as peers:
        settings = {
            "WORKER__CONCURRENCY": str(concurrency),
            "PROVIDERS__MAIL__KIND": "smtp", "PROVIDERS__MAIL__HOST": "127.0.0.1", "PROVIDERS__MAIL__PORT": str(peers.smtp_port),
            "PROVIDERS__MAIL__TLS": "none", "PROVIDERS__MAIL__HOST_IS": "recipient_mx",
            "PROVIDERS__MAIL__FROM_ADDRESS": "notices@example.com"}
        figures, wrong = await asyncio.to_thread(_held, folder, database, roles, settings, peers.mail_log, range(recipients))
    late = [f"mails came later than {SOON_S:.0f} s after the answer to {what}, the last {figures[f'{what}_last_s']:.1f} s"
            for what in ("pause", "cancel") if figures[f"{what}_last_s"] > SOON_S]
    return figures, wrong + (late if late_is_wrong else [])


def _held(folder: Path, database: str | None, roles: Sequence[str | None], settings: dict[str, str], log: Path,
          numbers: range) -> tuple[Figures, list[str]]:
    with opened(folder / "service", database, roles, **settings) as house:
        audience.imported(house, numbers)
        paused, wrong = _paused(house, numbers, log)
        cancelled, more = _cancelled(house, numbers, log)
    return paused | cancelled, wrong + more


def _paused(house: House, numbers: range, log: Path) -> tuple[Figures, list[str]]:
    """Pause in the middle, go on, and see that everybody got one mail."""
    broadcast_id, before = _running(house, "paused", numbers, log)
    with contextlib.closing(Poll(house.service, broadcast_id, len(numbers))) as poll:
        _some(log, before, len(numbers) // 4)
        answered = _move(house, broadcast_id, "pause")
        wrong, figures = list[str](), _quiet(log, answered, "pause")
        taken = _taken(log, before)
        if len(taken) >= len(numbers):
            wrong.append("everything had gone out before the pause; take more recipients")
        _move(house, broadcast_id, "resume")
        poll.until_ended(STAND_STILL_S)
    times = Counter(line["to"] for line in _taken(log, before))
    wrong += poll.wrong
    if lost := [number for number in numbers if not times[audience.with_mailbox(number)[0]["address"]]]:
        wrong.append(f"{len(lost)} recipients got no mail after a pause, such as {audience.recipient_id(lost[0])}")
    if twice := sum(count > 1 for count in times.values()):
        wrong.append(f"{twice} recipients got more than one mail, although nothing was killed")
    counts = house.must("GET", f"/v1/broadcasts/{broadcast_id}")["counts"]
    if counts["served"] != len(numbers):
        wrong.append(f"after the pause the counts are {counts}")
    return figures, wrong


def _cancelled(house: House, numbers: range, log: Path) -> tuple[Figures, list[str]]:
    """Cancel in the middle, and see that sent ones stand and no others were sent."""
    broadcast_id, before = _running(house, "cancelled", numbers, log)
    with contextlib.closing(Poll(house.service, broadcast_id, len(numbers))) as poll:
        _some(log, before, len(numbers) // 4)
        answered = _move(house, broadcast_id, "cancel")
        wrong, figures = list[str](), _quiet(log, answered, "cancel")
        _until_settled(house, broadcast_id)
    wrong += poll.wrong
    sent = {line["reference"].partition(".")[0] for line in _taken(log, before)}
    states = {row["notice_id"] or row["recipient_id"]: row["state"] for row in report(house, broadcast_id)}
    served = {name for name, state in states.items() if state == "served"}
    counts = house.must("GET", f"/v1/broadcasts/{broadcast_id}")["counts"]
    if served != sent:
        wrong.append(f"the sink took {len(sent)} mails, and the report has {len(served)} served; {len(served ^ sent)} differ")
    if (counts["served"], counts["cancelled"]) != (len(sent), len(numbers) - len(sent)):
        wrong.append(f"the sink took {len(sent)} mails of {len(numbers)}, and the counts are {counts}")
    if len(states) != len(numbers):
        wrong.append(f"the report has {len(states)} recipients of {len(numbers)}")
    if len(sent) >= len(numbers):
        wrong.append("everything had gone out before it was cancelled; take more recipients")
    return figures | {"sent_before_cancel": float(len(sent))}, wrong


def _running(house: House, name: str, numbers: range, log: Path) -> tuple[str, int]:
    """An approved broadcast, and how long the log was before it."""
    broadcast_id, before = draft(house, name, NOTICE), lines.size(log)
    upload(house, broadcast_id, numbers)
    approve(house, broadcast_id)
    return broadcast_id, before


def _move(house: House, broadcast_id: str, verb: str) -> float:
    """The moment, by the wall clock that the sink has too, at which the answer was there."""
    house.must("POST", f"/v1/broadcasts/{broadcast_id}/{verb}")
    return time.time()


def _taken(log: Path, after: int) -> list[dict[str, Any]]:
    """The mails that came after the log had this length."""
    return [line for line in lines.read_after(log, after) if line["event"] == "taken"]


def _some(log: Path, before: int, count: int) -> None:
    """Wait until the sink took so many."""
    ends = time.monotonic() + STAND_STILL_S
    while len(_taken(log, before)) < count:
        if time.monotonic() > ends:
            raise SystemExit("no mail goes out")
        time.sleep(0.05)


def _quiet(log: Path, answered: float, what: str) -> Figures:
    """Wait until the sink was given nothing for a while: how many came after the answer, and how late the last."""
    size, since = lines.size(log), time.monotonic()
    ends = since + STAND_STILL_S
    while time.monotonic() < min(since + SOON_S + 1.0, ends):
        if (now := lines.size(log)) != size:
            size, since = now, time.monotonic()
        time.sleep(0.05)
    after = [line["at"] - answered for line in lines.read(log) if line["event"] == "taken" and line["at"] > answered]
    return {f"{what}_last_s": max(after, default=0.0), f"{what}_after": float(len(after))}


def _until_settled(house: House, broadcast_id: str) -> None:
    """Wait until every recipient is served or cancelled."""
    ends = time.monotonic() + 120
    while True:
        body = house.must("GET", f"/v1/broadcasts/{broadcast_id}")
        if body["state"] == "cancelled" and not body["counts"]["queued"] + body["counts"]["in_progress"]:
            return
        if time.monotonic() > ends:
            raise SystemExit(f"a cancelled broadcast does not settle: {body}")
        time.sleep(0.1)
