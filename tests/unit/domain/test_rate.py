"""How many messages a rate allows."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from noticesvc.domain import rate

asks = st.lists(st.tuples(st.integers(0, 400_000), st.integers(1, 50)), min_size=1, max_size=60)


@given(per_s=st.floats(0.2, 3000), asks=asks)
def test_no_stretch_of_time_ever_holds_more_than_its_share(per_s, asks):
    """Between any two moments at most rate × time start, besides a tenth of a second's worth (or one) at once."""
    due, now, given_out = 0, 1_000_000, []
    for after, wanted in asks:
        now += after
        granted, due, _ = rate.grant(due, now, per_s, wanted)
        given_out.append((now, granted))
    burst = max(1.0, per_s * rate.BURST_S)
    for first in range(len(given_out)):
        total = 0
        for last in range(first, len(given_out)):
            total += given_out[last][1]
            assert total <= per_s * (given_out[last][0] - given_out[first][0]) / 1e6 + burst + 1e-6


@given(per_s=st.floats(0.2, 3000))
def test_whoever_waits_as_told_gets_the_whole_rate(per_s):
    """Asking again exactly when told gives one more each time, and the rate over time to a microsecond a message."""
    due, now, times = 0, 1_000_000, []
    while len(times) < 200:
        granted, due, wait = rate.grant(due, now, per_s, 1)
        times += [now] * granted
        now += wait
    assert times[-1] - times[0] <= 200 * (1e6 / per_s + 1)
    assert all(a <= b for a, b in pairwise(times))


def test_by_hand():
    """Ten a second: one at once, the next 100 ms later; a hundred a second: ten at once, then one every 10 ms."""
    assert rate.grant(0, 5_000_000, 10, 5) == (1, 5_100_000, 100_000)
    assert rate.grant(5_100_000, 5_099_999, 10, 5) == (0, 5_100_000, 1)
    assert rate.grant(0, 5_000_000, 100, 50) == (10, 5_100_000, 10_000)
    assert rate.grant(5_100_000, 5_010_000, 100, 50) == (1, 5_110_000, 10_000)
