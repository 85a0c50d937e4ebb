"""The result of service time: what step 10 reports, and when a result has changed.

Made by `service_time`; read by operations (which record a new determination when `changed` says so), by proof bundles
and by the command line. Plain data.
"""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from noticesvc.domain import instant
from noticesvc.domain.attempts import Struck
from noticesvc.domain.sifting import SetAside


@dataclass(frozen=True, slots=True)
class Serving:
    """One event as the time of service, with everything that a deadline running from it must know.

    `deadline_from_on` is the Shanghai date that is not counted. `final_at` is when a merely accepted email stops being
    provisional, null where nothing can still come back; `provisional` is whether `as_of` was before it. `conflict` is
    step 8 for this event's own attempt alone.
    """

    served_at: datetime
    channel: str
    evidence_id: str
    delivery_id: str
    attempt: int
    deadline_from_on: date
    provisional: bool
    final_at: datetime | None
    conflict: bool

    def to_json(self) -> dict[str, Any]:
        """The three members that step 10 gives of it."""
        return {"served_at": instant.text(self.served_at), "channel": self.channel, "evidence_id": self.evidence_id}


@dataclass(frozen=True, slots=True)
class Remaining:
    """What remains when the winning delivery falls: service time and channel."""

    served_at: datetime
    channel: str

    def to_json(self) -> dict[str, Any]:
        """Both members, the time as RFC 3339 in UTC."""
        return {"served_at": instant.text(self.served_at), "channel": self.channel}


@dataclass(frozen=True, slots=True)
class Determined:
    """The members of a result whose difference makes a new determination.

    `independent` is null or (service time, channel, evidence id). The default is the state before the first: not
    served, everything null, no conflict.
    """

    served: bool = False
    served_at: datetime | None = None
    channel: str | None = None
    evidence_id: str | None = None
    basis: str | None = None
    conflict: bool = False
    independent: tuple[datetime, str, str] | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """The legal result of all evidence of one notice under one rule, members as in step 10.

    `winner` is the event that served, with what a deadline needs; `independent` the one that remains without in-site
    and announcement. `trace` is empty unless it was asked for.
    """

    rule: str
    policy_version: str
    served: bool
    served_at: datetime | None
    served_on: date | None
    channel: str | None
    evidence_id: str | None
    basis: str | None
    provisional: bool
    conflict: bool
    analysis: bool
    deadline_from_on: date | None
    independent: Serving | None
    without_winner: Remaining | None
    set_aside: tuple[SetAside, ...]
    struck: tuple[Struck, ...]
    winner: Serving | None
    trace: tuple[dict[str, Any], ...] = ()

    def determined(self) -> Determined:
        """The members whose difference makes a new determination."""
        own = self.independent
        return Determined(
            self.served, self.served_at, self.channel, self.evidence_id, self.basis, self.conflict,
            None if own is None else (own.served_at, own.channel, own.evidence_id),
        )  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        """Every member that step 10 reports, times as RFC 3339 in UTC, dates as YYYY-MM-DD in Shanghai."""
        return {
            "rule": self.rule,
            "policy_version": self.policy_version,
            "served": self.served,
            "served_at": None if self.served_at is None else instant.text(self.served_at),
            "served_on": None if self.served_on is None else self.served_on.isoformat(),
            "channel": self.channel,
            "evidence_id": self.evidence_id,
            "basis": self.basis,
            "provisional": self.provisional,
            "conflict": self.conflict,
            "analysis": self.analysis,
            "deadline_from_on": None if self.deadline_from_on is None else self.deadline_from_on.isoformat(),
            "independent": None if self.independent is None else self.independent.to_json(),
            "without_winner": None if self.without_winner is None else self.without_winner.to_json(),
            "set_aside": [
                {"evidence_id": entry.evidence_id, "reason": entry.reason, "duplicate_of": entry.duplicate_of}
                for entry in self.set_aside
            ],
            "struck": [
                {"evidence_id": entry.evidence_id, "reason": entry.reason, "by": entry.by} for entry in self.struck
            ],
            "trace": [dict(step) for step in self.trace],
        }


_NOTHING_YET = Determined()


def changed(old: Result | Determined | None, new: Result | Determined) -> bool:
    """Whether `new` must be recorded as a determination of its own; `old` is null before the first.

    Only `served`, `served_at`, `channel`, `evidence_id`, `basis`, `conflict` and `independent` decide; the end of
    provisional, `without_winner` and the trace are no change.
    """
    before = _NOTHING_YET if old is None else old.determined() if isinstance(old, Result) else old
    return before != (new.determined() if isinstance(new, Result) else new)
