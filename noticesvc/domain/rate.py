"""How many messages a rate allows now: the generic cell rate algorithm (ITU-T I.371), on any clock, in whole microseconds.

`due` is the theoretical arrival time of the next message. A tenth of a second's worth may go at once, so that a worker can
seal several intents together; over any longer time the rate is kept exactly.
"""

from math import ceil

BURST_S = 0.1


def grant(due: int, now: int, per_s: float, wanted: int) -> tuple[int, int, int]:
    """How many of `wanted` may go at `now`, the new `due`, and the microseconds until one more may."""
    interval = max(1, ceil(1_000_000 / per_s))
    allowance = int(max(0.0, BURST_S * 1_000_000 - interval))
    start = max(due, now)
    room = now + allowance - start
    granted = 0 if room < 0 else min(wanted, room // interval + 1)
    after = start + granted * interval
    return granted, after, max(0, after - allowance - now)
