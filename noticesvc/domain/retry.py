"""When to try again: a pure function of the number of failures and of a jitter that the caller draws.

Called by dispatch after a temporary failure, and for outgoing events. The durable schedule is the database's; this
only says how long.
"""

_MOST_DOUBLINGS = 64


def delay_s(failures: int, first_s: float, max_s: float, jitter: float) -> float:
    """Seconds to wait after the `failures`-th failure in a row (1 is the first).

    The formula is `min(first_s * 2**(failures - 1), max_s) * (1 - jitter / 2)` with `jitter` in [0, 1): no delay is
    longer than `max_s`, none is less than half of the undisturbed one, and so none is shorter than the one before it
    could be at most, until `max_s` is reached. Deliveries that failed together spread over half the interval. However
    many failures there were, nothing overflows. Raises ValueError for failures below 1, for jitter outside [0, 1) and
    unless 0 <= first_s <= max_s.
    """
    if failures < 1:
        raise ValueError("failures must be at least 1; ask only after a failure")
    if not 0 <= jitter < 1:
        raise ValueError("jitter must be at least 0 and below 1")
    if not 0 <= first_s <= max_s:
        raise ValueError("first_s must be at least 0 and at most max_s")
    doublings = min(failures - 1, _MOST_DOUBLINGS)
    undisturbed: float = min(first_s * 2.0**doublings, max_s)
    return undisturbed * (1 - jitter / 2)
