"""A second reading of "Evidence and service time", written from its text alone, as an oracle for the first.

It shares nothing with the service: no module, no data, no names of its own making. Where it is asked with an object as
`noticesvc explain` takes it, it answers with the members that the specification names in step 10, and with the ids that
were set aside or struck. The numbers in comments are the steps of "The algorithm". It is slow and plain on purpose: each
step is one pass over lists, in the order in which the text has it.
"""

import datetime as dt
import re
from itertools import groupby
from typing import Any, NamedTuple

Case = dict[str, Any]
Item = dict[str, Any]

UTC = dt.timezone.utc  # noqa: UP017 - the plain old name: this module wants nothing of anyone
SHANGHAI = dt.timezone(dt.timedelta(hours=8))  # no daylight saving since 1991
TOLERANCE = dt.timedelta(minutes=5)
BOUNCE_HORIZON = dt.timedelta(days=5)
ANNOUNCEMENT_PERIOD = dt.timedelta(hours=30 * 24)

LEVEL = {"intended": 0, "submitted": 1, "relayed": 2, "arrived": 3, "accessed": 4, "acknowledged": 5}
STRIKING = {"rejected", "failed_permanent", "expired", "returned"}
TIE_ORDER = ["in_site", "sms", "email", "postal", "announcement"]
DEPENDENT = {"in_site", "announcement"}  # the two channels in our own hands, left out of `independent`
DEFAULTS = {"authenticated": True, "carries": "full", "contact_in_effect": True}
NEVER = 9  # above every level

# "Service rules": the level at which service starts on each channel.
ARRIVED, SUBMITTED = LEVEL["arrived"], LEVEL["submitted"]
RULES: dict[str, dict[str, int]] = {
    "agreement-6.2":      {"in_site": ARRIVED, "announcement": ARRIVED, "sms": ARRIVED, "email": ARRIVED},
    "agreement-6.2-sent": {"in_site": ARRIVED, "announcement": ARRIVED, "sms": SUBMITTED, "email": SUBMITTED},
    "agreement-6.3":      {"in_site": ARRIVED, "sms": ARRIVED, "email": ARRIVED, "postal": ARRIVED},
    "agreement-6.3-sent": {"in_site": ARRIVED, "sms": SUBMITTED, "email": SUBMITTED, "postal": SUBMITTED},
    "court-31":           {"in_site": ARRIVED, "sms": ARRIVED, "email": ARRIVED},
    "court-95":           {"announcement": ARRIVED},
}


class Candidate(NamedTuple):
    """One way in which an attempt serves: when, at which level, by which event."""

    at: dt.datetime
    level: int
    event: Item


def read_time(text: object) -> dt.datetime | None:
    """An RFC 3339 time as an instant; None if it is none or has no offset ("counts as absent")."""
    pattern = r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(\.\d+)?([Zz]|[+-]\d\d:\d\d)"
    found = re.fullmatch(pattern, text, re.ASCII) if isinstance(text, str) else None
    if found is None:
        return None
    day, clock, fraction, offset = found.groups()
    fraction = (fraction or ".0")[1:7].ljust(6, "0")
    offset = "+00:00" if offset in "Zz" else offset
    try:
        return dt.datetime.fromisoformat(f"{day}T{clock}.{fraction}{offset}").astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def known_time(text: object) -> dt.datetime:
    """A time that must be there."""
    at = read_time(text)
    if at is None:
        raise ValueError(f"not an RFC 3339 time: {text!r}")
    return at


def written(at: dt.datetime) -> str:
    """A time as the published cases write it: UTC with Z."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def instant_of(item: Item) -> dt.datetime:
    """"Times": the claim if it lies within the tolerance, never before call start nor after observed; otherwise observed."""
    observed = known_time(item["observed_at"])
    claimed = read_time(item.get("claimed_at"))
    started = read_time(item.get("call_started_at"))
    if claimed is None or claimed > observed + TOLERANCE:
        return observed
    if started is not None:
        if claimed < started - TOLERANCE:
            return observed
        claimed = max(claimed, started)
    return min(claimed, observed)


def attempt_of(item: Item) -> tuple[str, int]:
    """Which attempt an item belongs to."""
    return item["delivery_id"], item["attempt"]


def without_duplicates(items: list[Item]) -> tuple[list[Item], dict[str, str]]:
    """Step 1: what stays, and for each dropped id the id that stayed in its place."""
    kept, stands_for = [], {}
    seen: dict[tuple[object, ...], str] = {}
    for item in sorted(items, key=lambda i: (known_time(i["observed_at"]), i["id"])):  # first observed, then smaller id
        key = tuple(item.get(name) for name in (
            "provider", "raw_sha256", "delivery_id", "attempt", "kind", "part", "refers_to", "authenticated"))
        if item.get("raw_sha256") is not None and key in seen:
            stands_for[item["id"]] = seen[key]
            continue
        seen.setdefault(key, item["id"])
        kept.append(item)
    return kept, stands_for


def set_aside(items: list[Item], content: object) -> dict[str, set[str]]:
    """Step 2: for each id that never counts, why."""
    not_in_effect = {attempt_of(i) for i in items if not i["contact_in_effect"]}
    pointers = {attempt_of(i) for i in items if i["carries"] == "pointer"}
    aside = {}
    for item in items:
        other = item.get("content_sha256") not in {None, content}
        reasons = {
            "contact": attempt_of(item) in not_in_effect,
            "pointer": attempt_of(item) in pointers,
            "content": other,
            "unauthenticated": not item["authenticated"],
        }
        if any(reasons.values()):
            aside[item["id"]] = {name for name, true in reasons.items() if true}
    return aside


def apply_rebuttals(items: list[Item], counted: list[Item], stands_for: dict[str, str]) -> tuple[set[str], dict[str, dt.datetime]]:
    """Step 3: the ids struck by a rebuttal, and the instants to which others are moved."""
    kinds = {item["id"]: item["kind"] for item in items}
    struck: set[str] = set()
    moved: dict[str, dt.datetime] = {}
    for rebuttal in counted:  # one that was set aside does nothing
        if rebuttal["kind"] != "rebutted":
            continue
        target = stands_for.get(rebuttal.get("refers_to"), rebuttal.get("refers_to"))  # of a dropped duplicate: the one that stayed
        if kinds.get(target, "rebutted") == "rebutted":  # no known event, or a rebuttal
            continue
        if rebuttal.get("proved_at") is None:
            struck.add(target)
        else:
            proved = known_time(rebuttal["proved_at"])
            moved[target] = max(moved.get(target, proved), proved)
    return struck, {target: at for target, at in moved.items() if target not in struck}


class Attempt:
    """One attempt of one delivery: what counts in it, after steps 1 to 3."""

    def __init__(self, items: list[Item], doubtful: list[Item], rebutted: set[str], instants: dict[str, dt.datetime]) -> None:
        self.items = items  # not set aside, rebutted ones included
        self.delivery, self.number = attempt_of(items[0])
        self.channel = items[0]["channel"]
        self.instants = instants
        self.standing = [i for i in items if i["id"] not in rebutted]
        self.doubtful_strikes = [i for i in doubtful if i["kind"] in STRIKING and i["id"] not in rebutted]
        self.strikes = [i for i in self.standing if i["kind"] in STRIKING]
        self.person_acted = any(LEVEL.get(i["kind"], 0) >= 4 for i in self.standing)
        self.parts = max((i["parts"] for i in items if i.get("parts") is not None), default=1)  # step 5
        # Step 4: a strike takes the levels 1-3 that are not later than itself, unless level 4 or 5 protects the attempt.
        self.struck = {i["id"] for i in self.standing if 1 <= LEVEL.get(i["kind"], 0) <= 3 and not self.person_acted
                       and any(instants[i["id"]] <= instants[s["id"]] for s in self.strikes)}
        self.unstruck = [i for i in self.standing if i["id"] not in self.struck]

    def reached(self, events: list[Item], need: dict[str, int]) -> list[Candidate]:
        """Step 5: every way in which these events bring the whole attempt to a level that suffices for each event used."""
        found = []
        for event in events:
            level = LEVEL.get(event["kind"], 0)
            speaks_for_all = event.get("part") is None or level >= 4
            if level >= 1 and speaks_for_all and level >= need[event["id"]]:
                found.append(Candidate(self.instants[event["id"]], level, event))
        last: list[Candidate] = []  # of each part, the event with which it reaches the level needed
        for part in range(1, self.parts + 1):
            usable = [Candidate(self.instants[e["id"]], LEVEL[e["kind"]], e) for e in events
                      if e.get("part") == part and need[e["id"]] <= LEVEL.get(e["kind"], 0) <= 3]
            if usable:
                last.append(min(usable, key=lambda c: (c.at, -c.level, c.event["id"])))
        if len(last) == self.parts:
            end = max(c.at for c in last)
            found.append(min((c for c in last if c.at == end), key=lambda c: (-c.level, c.event["id"])))
        return found

    def candidates(self, rule: str) -> list[Candidate]:
        """Step 6, first half: the instants of this attempt at the rule's level or a higher one."""
        found = self.reached(self.unstruck, {i["id"]: level_needed(rule, i) for i in self.unstruck})
        if rule == "agreement-6.3":  # post returned by the recipient's fault: when it came back
            found += [Candidate(self.instants[i["id"]], -1, i) for i in self.unstruck
                      if i["kind"] == "returned" and i["channel"] == "postal" and i.get("fault") == "recipient"]
        if rule == "court-95":
            found = [c._replace(at=c.at + ANNOUNCEMENT_PERIOD) for c in found]
        return found

    def in_conflict(self) -> bool:
        """Step 8, before any strike is applied and whatever the rule."""
        arrived = [i for i in self.standing if i["kind"] == "arrived"]
        whole = bool(self.reached(arrived, {i["id"]: ARRIVED for i in arrived}))
        return bool(self.strikes or self.doubtful_strikes) and (whole or self.person_acted)

    def contact_at_fault(self) -> bool:
        """Step 9, for one attempt."""
        dead = any(i["kind"] == "failed_permanent" or (i["kind"] == "returned" and i.get("fault") == "recipient")
                   for i in self.strikes)
        return dead and not self.person_acted


def level_needed(rule: str, item: Item) -> int:
    """"Service rules": the level from which an event counts on its channel, with its confirmation and what it carries."""
    level = RULES[rule].get(item["channel"], NEVER)
    if rule == "court-31" and level != NEVER:
        if item.get("confirmation") == "identified":
            return LEVEL["accessed"]
        if item.get("confirmation") != "confirmed":
            return NEVER
        if item["carries"] == "link":
            return LEVEL["accessed"]
    return level


def earliest(attempts: list[Attempt], rule: str, as_of: dt.datetime | None) -> tuple[Candidate, Attempt] | None:
    """Step 6, second half: the minimum over all attempts, with its ties."""
    found = [(candidate, attempt) for attempt in attempts for candidate in attempt.candidates(rule)]
    if rule == "court-95" and as_of is not None:
        found = [(c, a) for c, a in found if as_of >= c.at]
    return min(found, default=None, key=lambda ca: (
        ca[0].at, TIE_ORDER.index(ca[0].event["channel"]), -ca[0].level, ca[0].event["id"]))


def is_provisional(winner: Candidate, attempt: Attempt, as_of: dt.datetime | None) -> bool:
    """Step 7."""
    if as_of is None or winner.event["channel"] != "email" or not 1 <= winner.level <= 3:
        return False
    by_dsn = any(i["kind"] == "arrived" and i.get("source") == "dsn" for i in attempt.unstruck)
    return not by_dsn and not attempt.person_acted and as_of < winner.at + BOUNCE_HORIZON


def recipient_at_fault(attempts: list[Attempt]) -> bool:
    """Step 9: at least one counted delivery outside our own channels, and the last counted attempt of each shows a dead contact."""
    outside = sorted((a for a in attempts if a.channel not in DEPENDENT), key=lambda a: (a.delivery, a.number))
    last = [list(group)[-1] for _, group in groupby(outside, key=lambda a: a.delivery)]
    return bool(last) and all(a.contact_at_fault() for a in last)


def second_reading(case: Case) -> dict[str, Any]:
    """The result of steps 1 to 10 for one object as `noticesvc explain` takes it."""
    rule = case["rule"]
    as_of = read_time(case.get("as_of"))
    given = [item | {name: value for name, value in DEFAULTS.items() if item.get(name) is None} for item in case["evidence"]]
    items, stands_for = without_duplicates(given)
    aside = set_aside(items, case["notice"].get("content_sha256"))
    counted = [i for i in items if i["id"] not in aside]
    doubtful = [i for i in items if aside.get(i["id"]) == {"unauthenticated"}]
    rebutted, moved = apply_rebuttals(items, counted, stands_for)
    instants = {i["id"]: moved.get(i["id"], instant_of(i)) for i in items}
    attempts = [Attempt([i for i in counted if attempt_of(i) == key], [i for i in doubtful if attempt_of(i) == key], rebutted, instants)
                for key in sorted({attempt_of(i) for i in counted})]

    result: dict[str, Any] = dict.fromkeys(
        ("served_at", "served_on", "channel", "evidence_id", "basis", "deadline_from_on", "independent", "without_winner"))
    result |= {
        "rule": rule,
        "served": False,
        "provisional": False,
        "conflict": any(a.in_conflict() for a in attempts),
        "analysis": rule.startswith("court-"),
        "set_aside": sorted([*aside, *stands_for]),
        "struck": sorted(rebutted.union(*(a.struck for a in attempts))),  # step 3 strikes any event, one set aside included
    }
    first = earliest(attempts, rule, as_of)
    if first is None:
        if rule.startswith("agreement-") and recipient_at_fault(attempts):
            result["basis"] = "consequence_on_recipient"
        return result

    winner, attempt = first
    event = winner.event
    served_on = winner.at.astimezone(SHANGHAI).date()
    observed_on = known_time(event["observed_at"]).astimezone(SHANGHAI).date()
    if event["kind"] == "returned":
        basis = "consequence_on_recipient"
    elif rule == "court-31" and event.get("confirmation") == "identified" and event["kind"] == "accessed":
        basis = "presumed"
    else:
        basis = "delivered"
    result |= {
        "served": True,
        "served_at": written(winner.at),
        "served_on": served_on.isoformat(),
        "channel": event["channel"],
        "evidence_id": event["id"],
        "basis": basis,
        "provisional": is_provisional(winner, attempt, as_of),
        "deadline_from_on": (served_on if event["id"] in moved else max(served_on, observed_on)).isoformat(),
    }
    independent = earliest([a for a in attempts if a.channel not in DEPENDENT], rule, as_of)
    if independent is not None:
        left = independent[0]
        result["independent"] = {"served_at": written(left.at), "channel": left.event["channel"], "evidence_id": left.event["id"]}
    otherwise = earliest([a for a in attempts if a.delivery != attempt.delivery], rule, as_of)
    if otherwise is not None:
        left = otherwise[0]
        result["without_winner"] = {"served_at": written(left.at), "channel": left.event["channel"]}
    return result
