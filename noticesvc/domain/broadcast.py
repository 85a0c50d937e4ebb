"""Broadcasts: their states, their counts, how fast they go, and their lanes among the priorities of deliveries.

What others may rely on:

- `VERBS` is the whole state machine: draft -approve-> running <-pause/resume-> paused; running -complete-> completed;
  draft, running or paused -cancel-> cancelled. A verb repeated in the state that it leads to changes nothing.
- `counts` puts the numbers on a broadcast's row and the sums of the deltas together; `total` is always the sum of the six states
  of notices, and for each channel of its deliveries. Both must come from one snapshot.
- A delta is a mapping of names to whole numbers: `<state>` for notices, `<channel>/<state>` for deliveries, and `<channel>/served`
  for notices whose service is through that channel. Deltas are added up (`add`).
- A delivery of a broadcast has a `priority` of at least LANES, in which the broadcast's lane and the channel stand: the deliveries
  of one broadcast on one channel are neighbours in the index of due work, so that a broadcast that is paused costs nobody a look.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal

from noticesvc.domain import notice
from noticesvc.domain.evidence import CHANNELS

State = Literal["draft", "running", "paused", "completed", "cancelled"]
Verb = Literal["approve", "pause", "resume", "cancel", "complete"]
STATES: Final = ("draft", "running", "paused", "completed", "cancelled")
VERBS: Final[Mapping[Verb, tuple[tuple[State, ...], State]]] = {
    "approve": (("draft",), "running"),
    "pause": (("running",), "paused"),
    "resume": (("paused",), "running"),
    "cancel": (("draft", "running", "paused"), "cancelled"),
    "complete": (("running",), "completed"),
}
SKIPPED: Final = ("anonymised", "agreement_void")
"""Why a recipient of the audience gets no notice: they were anonymised, or their agreement became void, since the upload."""

LANES: Final = 8  # priorities from here on are lanes of broadcasts, eight to each
MOST_LANES: Final = 32_767 // LANES - 1
DELIVERY_STATES: Final = ("pending", "sent", "delivered", "failed", "undeliverable", "unknown", "cancelled", "expired")
_RATE_OVER_US: Final = 30_000_000


def follows(state: str, verb: Verb) -> State | None:
    """The state that a verb leads to; null if the state forbids it. Repeated where it leads to, it is allowed."""
    sources, target = VERBS[verb]
    return target if state in sources or (state == target and verb in ("pause", "resume", "cancel")) else None


def priority(lane: int, channel: str) -> int:
    """The priority of a broadcast's deliveries on a channel."""
    return LANES * lane + CHANNELS.index(channel)


def lane_of(of_priority: int) -> int:
    """The lane that a priority belongs to; 0 for what is no broadcast's."""
    return of_priority // LANES


def channel_of(of_priority: int) -> str:
    """The channel of a priority that is a broadcast's."""
    return CHANNELS[of_priority % LANES]


def add(deltas: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """The sum of deltas, without zeros."""
    found: dict[str, int] = {}
    for delta in deltas:
        for name, number in delta.items():
            found[name] = found.get(name, 0) + number
    return {name: number for name, number in found.items() if number}


def counts(state: str, channels: Sequence[str], total: int, expanded: int, skipped: int, sums: Mapping[str, int]) -> dict[str, Any]:
    """The counts as shown.

    1. Notices that were made count in their state.
    2. Recipients whose notice is still to be made count as queued, after a cancel as cancelled.
    3. Recipients for whom none can be made any more count as cancelled.
    The deliveries of each channel count in the same way, `pending` where a notice counts as queued.
    """
    rest = total - expanded - skipped
    waiting, cancelled = (0, rest + skipped) if state == "cancelled" else (rest, skipped)
    found = {one: sums.get(one, 0) for one in notice.STATES}
    found["queued"] += waiting
    found["cancelled"] += cancelled
    by_channel = {}
    for channel in channels:
        mine = {one: sums.get(f"{channel}/{one}", 0) for one in DELIVERY_STATES}
        mine["pending"] += waiting
        mine["cancelled"] += cancelled
        by_channel[channel] = {"total": sum(mine.values()), **mine, "served": sums.get(f"{channel}/served", 0)}
    return {"total": sum(found.values()), **found, "expanded": expanded, "by_channel": by_channel}


def finished(shown: Mapping[str, int]) -> int:
    """How many notices of these counts are finished."""
    return shown["total"] - shown["queued"] - shown["in_progress"]


def is_complete(shown: Mapping[str, Any]) -> bool:
    """Whether there is nothing left to do: every notice is finished, and no delivery waits that a provider is to be given.

    An in-site delivery that waits for its account, or a letter that waits for people, does not keep a broadcast open.
    """
    called = (one for channel, one in shown["by_channel"].items() if channel in ("sms", "email"))
    return shown["queued"] + shown["in_progress"] == 0 and not any(one["pending"] or one["unknown"] for one in called)


def sampled(samples: Sequence[Sequence[int]], now: int, done: int) -> list[list[int]]:
    """The samples (microseconds, finished notices) with one more, those of the last half minute and the one before them."""
    kept = [[at, number] for at, number in samples if at < now]
    while len(kept) > 1 and kept[1][0] <= now - _RATE_OVER_US:
        kept.pop(0)
    return [*kept, [now, done]]


def rate_per_s(samples: Sequence[Sequence[int]]) -> float:
    """Finished notices a second over the samples; 0 with fewer than two of them."""
    if len(samples) < 2:
        return 0.0
    (began, first), (ended, last) = samples[0], samples[-1]
    return round(max(0, last - first) * 1_000_000 / (ended - began), 1) if ended > began else 0.0


def eta_s(left: int, per_s: float) -> int | None:
    """Seconds until so many notices are finished at a rate; null while nothing moves."""
    if left == 0:
        return 0
    return None if per_s <= 0 else max(1, round(left / per_s))
