"""Makes cases for `noticesvc explain` by the seed, and holds the command's answers against the second reading's.

    .venv/bin/python -m tests.vectors.generated_cases --count 20000 --seed 7

Case number n of a seed is always the same case, however many are made. Times stand on a coarse grid, ids are few and hashes
fewer, so that ties, duplicates and the exact edges of a tolerance are common and not a matter of luck.
"""

import argparse
import datetime as dt
import json
import random
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tests.vectors.second_reading import RULES, UTC, read_time, second_reading

Case = dict[str, Any]

OURS, OTHER = "a" * 64, "b" * 64
BASES = ["2026-10-09T02:00:00Z", "2026-10-09T15:57:00Z", "2026-12-31T15:59:30Z", "2027-02-28T16:00:00Z"]
UNITS = [1, 60, 150, 3600, 86400]  # one grid for a case, in seconds; 150 s puts claims on the tolerance itself
POSITIVE = ["intended", "submitted", "relayed", "arrived", "accessed", "acknowledged"]
NEGATIVE = ["rejected", "failed_permanent", "expired", "returned"]
SILENT = ["failed_temporary", "no_receipt", "unknown", "displayed", "link_fetched", "unmapped"]
COMPARED = ["rule", "served", "served_at", "served_on", "channel", "evidence_id", "basis", "provisional", "conflict", "analysis",
            "deadline_from_on", "independent", "without_winner"]
ABSENT: dict[str, object] = {"authenticated": True, "carries": "full", "contact_in_effect": True} | dict.fromkeys(
    ("call_started_at", "claimed_at", "content_sha256", "part", "parts", "provider", "raw_sha256", "refers_to", "proved_at", "fault"))


def some(rng: random.Random, weights: dict[Any, float]) -> Any:
    """One of the keys, by weight."""
    return rng.choices(list(weights), list(weights.values()))[0]


def text_of(rng: random.Random, at: dt.datetime) -> str:
    """The instant in one of RFC 3339's ways of writing it."""
    hours = rng.choice([0, 0, 8, 8, -5])
    text = at.astimezone(dt.timezone(dt.timedelta(hours=hours))).isoformat()
    return text.replace("+00:00", rng.choice(["Z", "Z", "+00:00"]))


class Maker:
    """Makes one case."""

    def __init__(self, seed: int, number: int) -> None:
        self.rng = rng = random.Random(f"{seed}/{number}")
        self.base = read_time(rng.choice(BASES)) or dt.datetime.max.replace(tzinfo=UTC)
        self.unit = rng.choice(UNITS)
        self.fractions = rng.random() < 0.1
        self.ids = [f"e{n}" for n in rng.sample(range(1, 100), 60)]  # e10 < e9 as text
        self.items: list[dict[str, Any]] = []
        # How wild the case is: most are plain in most respects, so that the results are not all "not served".
        self.noise = rng.choice([0.0, 0.03, 0.03, 0.1])
        self.strikes = rng.choice([0.0, 0.3, 1.0])
        self.dead = self.strikes == 1.0 and rng.random() < 0.4  # contacts at fault: little arrives

    def noisy(self, plain: object, others: list[object]) -> object:
        return self.rng.choice(others) if self.rng.random() < self.noise else plain

    def tick(self, most: int = 10) -> dt.datetime:
        fraction = self.rng.choice([0, 250_000, 999_999]) if self.fractions else 0
        return self.base + dt.timedelta(seconds=self.unit * self.rng.randint(0, most), microseconds=fraction)

    def claim(self, started: dt.datetime | None, observed: dt.datetime) -> str | None:
        """What a provider may claim: nothing, something sound, something on the edge of the tolerance, or nonsense."""
        rng, minutes = self.rng, dt.timedelta(minutes=5)
        edge = rng.choice([observed + minutes, (started or observed) - minutes])
        return some(rng, {
            None: 8,
            text_of(rng, observed - dt.timedelta(seconds=rng.choice([0, 1, self.unit]))): 3,
            text_of(rng, self.tick()): 2,
            text_of(rng, edge + dt.timedelta(seconds=rng.choice([-1, 0, 0, 1]))): 3,
            rng.choice(["2026-10-09 10:00:07", "2026-10-09T10:00:07", "2610091000", "yesterday", "", "2026-13-41T00:00:00Z"]): 1,
        })

    def add(self, common: dict[str, Any], kind: str, **more: object) -> dict[str, Any]:
        rng, started = self.rng, common["started"]
        observed = max(self.tick(), started) if started and rng.random() < 0.9 else self.tick()
        item = {
            "id": self.ids.pop(), "kind": kind, "observed_at": text_of(rng, observed),
            "source": rng.choice(["dsn", "smtp", "mdn"]) if common["channel"] == "email" else rng.choice(["gateway", "inbox", "person"]),
            "claimed_at": self.claim(started, observed), "call_started_at": started and text_of(rng, started),
            "authenticated": rng.random() > (0.3 if kind in NEGATIVE else 0.03),
            "provider": rng.choice([None, "p", "q"]), "raw_sha256": rng.choice([None, None, "c" * 64, "d" * 64]),
            "content_sha256": self.noisy(OURS if rng.random() < 0.9 else None, [OTHER]),
            "confirmation": self.noisy(common["confirmation"], ["confirmed", "identified", "unknown"]),
            "contact_in_effect": self.noisy(common["contact_in_effect"], [False]),
            "carries": self.noisy(common["carries"], ["full", "link", "pointer"]),
            "part": None, "parts": None, "refers_to": None, "proved_at": None,
            "fault": rng.choice(["recipient", "recipient", None]) if kind == "returned" else None,
            **{name: common[name] for name in ("delivery_id", "attempt", "channel")}, **more,
        }
        self.items.append(item)
        return item

    def attempt(self, delivery: str, channel: str, number: int) -> None:
        rng = self.rng
        parts = some(rng, {None: 5, 1: 1, 2: 3, 3: 1}) if channel == "sms" else self.noisy(None, [1, 2])
        common = {
            "delivery_id": delivery, "attempt": number, "channel": channel,
            "started": None if channel in {"in_site", "announcement", "postal"} or rng.random() < 0.1 else self.tick(3),
            "confirmation": some(rng, {"confirmed": 5, "identified": 4, "unknown": 1}),
            "contact_in_effect": rng.random() > 0.04, "carries": some(rng, {"full": 12, "link": 3, "pointer": 1}),
        }
        for part in range(1, parts + 1) if parts else [None]:
            for kind in POSITIVE[:4]:
                if rng.random() < (0.4 if kind != "arrived" else 0.1 if self.dead else 0.85):
                    self.add(common, kind, part=part, parts=parts)
        for _ in range(some(rng, {0: 12 if self.dead else 6, 1: 2, 2: 1})):
            of_part = rng.randint(1, parts) if parts and rng.random() < 0.5 else None
            self.add(common, rng.choice(POSITIVE + SILENT), part=of_part,
                     parts=parts if rng.random() < 0.85 else rng.choice([None, (parts or 1) + 1]))
        if rng.random() < (0.03 if self.dead else 0.2):
            self.add(common, rng.choice(["accessed", "accessed", "acknowledged"]), parts=parts)
        for _ in range(some(rng, {0: 1 if self.dead else 4, 1: 3, 2: 1})):
            if rng.random() < self.strikes:
                likely = "returned" if channel == "postal" else "failed_permanent"
                self.add(common, some(rng, {likely: 12 if self.dead else 3} | dict.fromkeys([k for k in NEGATIVE if k != likely], 1)),
                         parts=parts, part=rng.randint(1, parts) if parts and rng.random() < 0.3 else None)

    def rebut(self, target: str) -> None:
        """A rebuttal, recorded with any delivery; possibly one that counts for nothing itself."""
        rng, home = self.rng, dict(self.rng.choice(self.items))
        home |= {
            "id": self.ids.pop(), "kind": "rebutted", "refers_to": target, "source": "person", "claimed_at": None, "fault": None,
            "observed_at": text_of(rng, self.tick(20)), "proved_at": text_of(rng, self.tick(14)) if rng.random() < 0.5 else None,
            "authenticated": rng.random() < 0.9, "raw_sha256": rng.choice([None, "c" * 64]), "part": None,
        }
        self.items.append(home)

    def duplicate(self) -> None:
        """The same receipt once more, exactly, or off by one member of the key, or differing outside it."""
        rng, twin = self.rng, dict(self.rng.choice(self.items))
        twin["id"] = self.ids.pop()
        twin["observed_at"] = rng.choice([twin["observed_at"], text_of(rng, self.tick(12))])
        if rng.random() < 0.3:
            name, values = rng.choice([
                ("provider", [None, "p"]), ("raw_sha256", [None, "c" * 64]), ("authenticated", [True, False]), ("part", [None, 1, 2]),
                ("refers_to", [None, "e1"]), ("attempt", [1, 2])])
            twin[name] = rng.choice(values)
        if rng.random() < 0.3:
            name, values = rng.choice([
                ("parts", [None, 2]), ("contact_in_effect", [False]), ("carries", ["link", "pointer"]), ("content_sha256", [None, OTHER]),
                ("fault", ["recipient"]), ("claimed_at", [None, text_of(rng, self.tick())]), ("source", ["dsn", "smtp"])])
            twin[name] = rng.choice(values)
        self.items.append(twin)

    def case(self) -> Case:
        rng = self.rng
        rule = rng.choice([*RULES, "agreement-6.2", "agreement-6.3"])
        channels = ["in_site", "sms", "email", "postal", "announcement"]
        weights = [1, 1, 1, 1, 6] if rule == "court-95" else [2, 6, 6, 3, 1] if self.strikes < 1 else [1, 6, 6, 5, 0]
        if rule == "court-31":
            weights = [3, 6, 6, 1, 1]
        for n in range(some(rng, {1: 3, 2: 4, 3: 2, 4: 1})):
            channel = rng.choices(channels, weights)[0]
            for number in some(rng, {(1,): 6, (1, 2): 2, (2, 10): 1}):
                self.attempt(f"d{n}", channel, number)
        for _ in range(some(rng, {0: 6, 1: 2, 3: 1}) if self.items else 0):
            self.duplicate()
        for _ in range(some(rng, {0: 5, 1: 3, 2: 1, 4: 1}) if self.items else 0):
            rebuttals = [i["id"] for i in self.items if i["kind"] == "rebutted"]
            strikes = [i["id"] for i in self.items if i["kind"] in NEGATIVE]
            again = [i["refers_to"] for i in self.items if i["kind"] == "rebutted"] * 3
            self.rebut(rng.choice([*[i["id"] for i in self.items] * 2, *again, *rebuttals, *strikes, "e0", self.ids[-1]]))
        if self.items and rng.random() < 0.1:
            self.duplicate()
        rng.shuffle(self.items)
        return {"rule": rule, "as_of": self.as_of(), "notice": {"content_sha256": OURS}, "evidence": [self.thinned(i) for i in self.items]}

    def as_of(self) -> str | None:
        """No reading time, or one about the end of a horizon."""
        if self.rng.random() < 0.4 or not self.items:
            return None
        item = self.rng.choice([i for i in self.items if i["kind"] == "arrived"] or self.items)
        near = read_time(item["observed_at"])
        days = [30] if item["channel"] == "announcement" else [5] if item["channel"] == "email" else [0, 4, 5, 30]
        shift = dt.timedelta(days=self.rng.choice([*days * 4, 0, 1, 4, 31]), seconds=self.rng.choice([-1, 0, 0, 1]))
        return near and text_of(self.rng, near + shift)

    def thinned(self, item: dict[str, Any]) -> dict[str, Any]:
        """The item with some defaults left out, and some given as null."""
        chance = self.rng.choice([0.0, 0.2, 1.0])
        out = {}
        for name, value in item.items():
            if name in ABSENT and value == ABSENT[name] and self.rng.random() < chance:
                if self.rng.random() < 0.5:
                    out[name] = None
            else:
                out[name] = value
        return out


def make_cases(seed: int, start: int, count: int) -> list[Case]:
    """Cases number start, start + 1, … of a seed."""
    return [Maker(seed, number).case() for number in range(start, start + count)]


def comparable(result: dict[str, Any]) -> dict[str, Any]:
    """What is held against each other: the members of step 10, times as instants, ids of what was set aside or struck as sets."""
    def plain(value: object) -> object:
        if isinstance(value, dict):
            return {name: plain(inner) for name, inner in value.items()}
        return read_time(value) or value

    out = {name: plain(result[name]) for name in COMPARED}
    for name in ("set_aside", "struck"):
        out[name] = sorted({entry if isinstance(entry, str) else entry["evidence_id"] for entry in result[name]})
    return out


def explained(cases: list[Case]) -> list[dict[str, Any]]:
    """What the installed command prints for a list."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "cases.json")
        path.write_text(json.dumps(cases))
        command = [str(Path(sys.executable).with_name("noticesvc")), "explain", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"noticesvc explain failed with {done.returncode}: {done.stderr}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def disagreements(cases: list[Case], answers: Iterable[dict[str, Any]]) -> Iterator[tuple[int, dict[str, tuple[object, object]]]]:
    """For each case on which the two differ, its place and the members with (second reading, command)."""
    for place, (case, answer) in enumerate(zip(cases, answers, strict=True)):
        mine = comparable(second_reading(case | {"evidence": case["evidence"][::-1]}))  # and the order must not matter
        theirs = comparable(answer)
        differing = {name: (mine[name], theirs[name]) for name in mine if mine[name] != theirs[name]}
        if differing:
            yield place, differing


def features(case: Case) -> set[str]:
    """What the case is about, for the shares."""
    result, items = second_reading(case), case["evidence"]
    rebutted = {i.get("refers_to") for i in items if i["kind"] == "rebutted"}
    found = {
        "served": result["served"], "conflict": result["conflict"], "provisional": result["provisional"],
        "struck": bool(result["struck"]), "set aside": bool(result["set_aside"]),
        "several parts": any((i.get("parts") or 1) > 1 for i in items),
        "rebutted": any(i["id"] in rebutted for i in items),
        "unauthenticated": any(i.get("authenticated") is False for i in items),
        "moved winner": result["served"] and any(
            i.get("refers_to") == result["evidence_id"] and i["kind"] == "rebutted" and i.get("proved_at") for i in items),
        "duplicates": len({json.dumps({k: v for k, v in i.items() if k not in {"id", "observed_at"}}) for i in items}) < len(items),
        "later deadline date": result["deadline_from_on"] != result["served_on"],
        "independent is another": result["independent"] is not None and result["independent"]["evidence_id"] != result["evidence_id"],
        "served without winner": result["without_winner"] is not None,
        f"basis {result['basis']}": True, f"rule {case['rule']}": True,
        f"won by {result['channel']}": result["served"],
    }
    return {name for name, true in found.items() if true}


def main() -> int:
    parser = argparse.ArgumentParser(description="Holds noticesvc explain against the second reading on generated cases.")
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--start", type=int, default=0, help="number of the first case")
    parser.add_argument("--show", type=int, default=3, help="how many disagreements to print whole")
    options = parser.parse_args()
    print(f"seed {options.seed}, cases {options.start} to {options.start + options.count - 1}")
    shares: Counter[str] = Counter()
    members: Counter[str] = Counter()
    wrong = 0
    for start in range(options.start, options.start + options.count, 1000):
        cases = make_cases(options.seed, start, min(1000, options.start + options.count - start))
        for case in cases:
            shares.update(features(case))
        for place, differing in disagreements(cases, explained(cases)):
            wrong += 1
            members.update([", ".join(differing)])
            if wrong <= options.show:
                print(json.dumps({"number": start + place, "differing": differing, "case": cases[place]}, default=str))
    for name, cases_with in sorted(shares.items(), key=lambda entry: -entry[1]):
        print(f"{cases_with / options.count:7.1%}  {name}")
    print(f"{wrong} of {options.count} cases differ", dict(members) if wrong else "")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
