"""What one run does, all of it decided by its seed: recipients and how their addresses behave, notices, and when to kill.

Used by bench.crash.run. A plan is kept in the run's folder, so that a run that was interrupted goes on where it stopped.
"""

import json
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

FILE = "plan.json"
_MAIL = ["ok"] * 14 + ["later", "full", "drop", "hang", "junk", "never"]
_SMS = ["10"] * 13 + ["90", "91", "92", "93", "94", "95", "96"]
CHANNELS = ("in_site", "sms", "email")


@dataclass(frozen=True)
class Plan:
    """A run. `kills`: how often the service dies at least; `drain_s`: how long finishing may take after the last of
    them; `slowest_s`: how long a sink may think about an answer; `faults`: what else happens, by the names in bench.crash.faults;
    `workers`: so many beside an API, 0 for one process that is both.
    """

    seed: int
    notices: int
    kills: int
    database_url: str | None = None
    smtp_port: int = 0
    sms_port: int = 0
    concurrency: int = 16
    connections: int = 8
    recipients: int = 40
    drain_s: float = 90.0
    proofs: int = 5
    slowest_s: float = 0.03
    faults: tuple[str, ...] = ()
    workers: int = 0

    def save(self, folder: Path) -> None:
        """Keep it in the run's folder."""
        (folder / FILE).write_text(json.dumps(asdict(self)))

    @classmethod
    def load(cls, folder: Path) -> "Plan":
        """The plan of a run."""
        kept = json.loads((folder / FILE).read_text())
        return cls(**kept | {"faults": tuple(kept.get("faults", ()))})

    def contacts(self) -> dict[str, list[dict[str, str]]]:
        """Contacts by recipient; the ways in which sinks misbehave are shared out in another order for each channel."""
        chance = random.Random(f"{self.seed} contacts")
        mail, sms = _shuffled(chance, _MAIL, self.recipients), _shuffled(chance, _SMS, self.recipients)
        return {f"r-{i}": [{"channel": "sms", "address": f"+861380{i:05d}{sms[i]}", "confirmation": "confirmed"},
                           {"channel": "email", "address": f"r{i}.{mail[i]}@sink.example", "confirmation": "confirmed"}]
                for i in range(self.recipients)}

    def groups(self) -> list[list[dict[str, Any]]]:
        """The requests in order: a group of one is posted singly, a larger one as a batch."""
        chance = random.Random(f"{self.seed} notices")
        bodies = [self._body(chance, i) for i in range(self.notices)]
        groups = []
        while bodies:
            size = chance.choice([1, 1, 1, 1, 5, 20])
            groups.append(bodies[:size])
            bodies = bodies[size:]
        return groups

    def _body(self, chance: random.Random, number: int) -> dict[str, Any]:
        category = "commercial" if chance.random() < 0.1 else "platform"
        return {"idempotency_key": f"k-{self.seed}-{number}", "recipient_id": f"r-{chance.randrange(self.recipients)}",
                "category": category, "channels": list(CHANNELS), "reference": f"n-{number}",
                "content": {"subject": f"Notice {number}", "body": f"Body of notice **{number}**.", "sms": f"Notice {number}",
                            "sms_carries": "full"}}

    def ends(self) -> list["End"]:
        """How each leg of the run ends: by a kill, half of them while calls are in flight; then by each of the faults."""
        chance = random.Random(f"{self.seed} kills")
        kinds = ["in flight", "in flight", "any time", "start-up", "in flight", "twice"]
        named = [kinds[i % len(kinds)] for i in range(self.kills)] + list(self.faults)
        return [End(kind, chance.randrange(2, 30), chance.random()) for kind in named]


@dataclass(frozen=True)
class End:
    """One leg's end: after so many `lines` in the sinks' logs, or by `luck` in [0, 1) of the time that the kind allows."""

    kind: str
    lines: int
    luck: float


def _shuffled(chance: random.Random, given: Sequence[str], count: int) -> list[str]:
    found = [given[i % len(given)] for i in range(count)]
    chance.shuffle(found)
    return found
