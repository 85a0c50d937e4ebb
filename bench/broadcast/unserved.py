"""(b) The report names exactly those whom nothing reached: mail to a sink and SMS to a gateway, some of which bounce or fail for now.

Of the recipients 2 % have dead addresses alone (half of them die at once, half by a later report), 1 % are busy at first, 1 % have
a dead mailbox beside a number that works, and 0.5 % have no contact. The unserved rows of report.csv are compared with what
`expected_unserved` finds in the sinks' logs and the uploads, in a process of its own.
"""

import asyncio
import contextlib
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from bench.broadcast import audience
from bench.broadcast.exactly_once import STAND_STILL_S, Figures, approve, draft, report
from bench.broadcast.house import House, opened
from bench.broadcast.watch import Poll
from bench.crash import sinks

NOTICE = {"category": "agreement", "channels": ["sms", "email"],
          "content": {"subject": "用户协议更新", "body": "新版用户协议将于十日后生效。", "sms": "【平台】用户协议已更新，请登录查看。",
                      "sms_carries": "full"}}
_FATES = (("dead", 20), ("busy", 10), ("half", 10), ("nobody", 5))  # of a thousand
_LATE_S = 120.0  # for reports that come after the broadcast is completed


def contacts(seed: int, number: int) -> tuple[str, list[dict[str, str]]]:
    """What becomes of somebody, and the contacts that make it so."""
    chance = random.Random(f"{seed} {number}")
    drawn, fate = chance.randrange(1000), "fine"
    for name, share in _FATES:
        if 0 <= drawn < share:
            fate = name
        drawn -= share
    mailbox = {"dead": chance.choice(["gone", "bounce"]), "half": chance.choice(["gone", "bounce"]), "busy": "later"}.get(fate, "ok")
    digits = {"dead": chance.choice(["91", "97"]), "busy": "90"}.get(fate, "10")
    has = {"nobody": (), "half": ("email", "sms")}.get(fate) if fate in ("nobody", "half") else chance.choice(
        [("email", "sms"), ("email", "sms"), ("email",), ("sms",)])
    mine = {"email": f"u{number}.{mailbox}@sink.example", "sms": f"+861380{number:05d}{digits}"}
    return fate, [{"channel": channel, "address": mine[channel], "confirmation": "confirmed"} for channel in has or ()]


def measure(folder: Path, database: str | None, roles: Sequence[str | None], *, recipients: int, seed: int) -> tuple[Figures, list[str]]:
    """The whole comparison; figures, and what differs."""
    folder.mkdir(parents=True, exist_ok=True)
    return asyncio.run(_measure(folder, database, roles, recipients, seed))


async def _measure(folder: Path, database: str | None, roles: Sequence[str | None], recipients: int,
                   seed: int) -> tuple[Figures, list[str]]:
    bounces = folder / "bounces"
    async with sinks.running(folder, slowest_s=0.01, bounces=bounces) as peers:
        settings = {
            "WORKER__RETRY_FIRST_S": "0.2", "WORKER__RETRY_MAX_S": "2",
            "PROVIDERS__MAIL__KIND": "smtp", "PROVIDERS__MAIL__HOST": "127.0.0.1", "PROVIDERS__MAIL__PORT": str(peers.smtp_port),
            "PROVIDERS__MAIL__TLS": "none", "PROVIDERS__MAIL__HOST_IS": "recipient_mx", "PROVIDERS__MAIL__BREAKER_AFTER": "100000",
            "PROVIDERS__MAIL__FROM_ADDRESS": "notices@example.com", "PROVIDERS__MAIL__DSN_MAILDIR": str(bounces),
            "PROVIDERS__SMS__KIND": "kannel", "PROVIDERS__SMS__CHANNEL": "sms", "PROVIDERS__SMS__FROM_ADDRESS": "1069",
            "PROVIDERS__SMS__URL": f"http://127.0.0.1:{peers.sms_port}/cgi-bin/sendsms", "PROVIDERS__SMS__BREAKER_AFTER": "100000"}
        return await asyncio.to_thread(_compared, folder, database, roles, settings, peers, range(recipients), seed)


def _compared(folder: Path, database: str | None, roles: Sequence[str | None], settings: dict[str, str], peers: sinks.Sinks,
              numbers: range, seed: int) -> tuple[Figures, list[str]]:
    imported, uploaded = folder / "recipients.ndjson", folder / "upload.csv"
    fates: Counter[str] = Counter()
    with imported.open("w", encoding="utf-8") as file:
        for number in numbers:
            fate, mine = contacts(seed, number)
            fates[fate] += 1
            file.write(audience.import_line(number, mine))
    uploaded.write_bytes(b"".join(audience.csv(numbers)))
    with opened(folder / "service", database, roles, **settings) as house:
        audience.imported(house, numbers, lambda number: contacts(seed, number)[1])
        broadcast_id = draft(house, "unserved", NOTICE)
        answer = house.must("POST", f"/v1/broadcasts/{broadcast_id}/recipients", headers={"Content-Type": "text/csv"},
                            content=uploaded.read_bytes(), timeout=600)
        wrong = [] if (answer["accepted"], answer["rejected"]) == (len(numbers), []) else [f"the upload was answered with {answer}"]
        with contextlib.closing(Poll(house.service, broadcast_id, len(numbers))) as poll:
            began = approve(house, broadcast_id)
            poll.until_ended(STAND_STILL_S)
            took = time.monotonic() - began
            names = [imported, uploaded, peers.mail_log, peers.sms_log]
            wanted, found = _settled(house, broadcast_id, names)
            # The counters follow what came after the end, too.
            counts = house.must("GET", f"/v1/broadcasts/{broadcast_id}")["counts"]
        wrong += poll.wrong
    if wanted != set(found):
        wrong.append(f"unserved by the sinks' word alone: {sorted(wanted - set(found))[:5]}; by the report's alone: "
                     f"{sorted(set(found) - wanted)[:5]}; {len(wanted)} and {len(found)} in all")
    if counts["unserved"] != len(wanted):
        wrong.append(f"counts.unserved is {counts['unserved']}, the sinks say {len(wanted)}")
    if silent := [one for one, reason in found.items() if not reason]:
        wrong.append(f"unserved without a reason: {silent[:5]}")
    figures = {"recipients": float(len(numbers)), "unserved": float(len(found)), "rate": len(numbers) / took}
    return figures | {fate: float(number) for fate, number in fates.items()}, wrong


def _settled(house: House, broadcast_id: str, files: list[Path]) -> tuple[set[str], dict[str, str]]:
    """Whom the sinks and whom the report call unserved (with the reason), once they agree or nothing more is to come."""
    until = time.monotonic() + _LATE_S
    while True:
        command = [sys.executable, "-m", "bench.broadcast.expected_unserved", *map(str, files)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        wanted = set(done.stdout.split())
        found = {row["recipient_id"]: row["reason"] for row in report(house, broadcast_id) if row["state"] == "unserved"}
        if wanted == set(found) or time.monotonic() > until:
            return wanted, found
        time.sleep(0.5)

