"""Broadcasts as pure functions: states, counts that always add up, rate and time left, lanes."""

from hypothesis import given
from hypothesis import strategies as st

from noticesvc.domain import broadcast, delivery, notice
from noticesvc.domain.evidence import CHANNELS

NAMES = [*notice.STATES, *[f"{channel}/{state}" for channel in CHANNELS for state in (*broadcast.DELIVERY_STATES, "served")]]


def test_verbs_lead_where_the_table_says():
    """Each verb from each state; repeated where it leads to, it stays there, but approval and completion come once."""
    led = {(state, verb): broadcast.follows(state, verb) for state in broadcast.STATES for verb in broadcast.VERBS}
    assert {pair: to for pair, to in led.items() if to is not None} == {
        ("draft", "approve"): "running", ("draft", "cancel"): "cancelled", ("running", "pause"): "paused", ("running", "resume"): "running",
        ("running", "cancel"): "cancelled", ("running", "complete"): "completed", ("paused", "pause"): "paused",
        ("paused", "resume"): "running", ("paused", "cancel"): "cancelled", ("cancelled", "cancel"): "cancelled"}


def test_every_stored_state_of_a_delivery_is_counted():
    """`claimed` is only shown, so it is no count."""
    assert set(broadcast.DELIVERY_STATES) == set(delivery.STATES) - {"claimed"}


@given(st.sampled_from(broadcast.STATES), st.integers(0, 50), st.integers(0, 50),
       st.lists(st.sampled_from(notice.STATES), max_size=50))
def test_the_total_is_the_sum_of_the_six(state, rest, skipped, states):
    """Whatever the state, recipients without a notice, the skipped ones and the notices in their states are the audience."""
    expanded = len(states)
    sums = broadcast.add([{one: 1} for one in states] + [{"sms/pending": expanded}])
    total = expanded + skipped + rest
    found = broadcast.counts(state, ["sms"], total, expanded, skipped, sums)
    assert found["total"] == total == sum(found[one] for one in notice.STATES) == found["by_channel"]["sms"]["total"]
    assert found["expanded"] == expanded


@given(st.lists(st.dictionaries(st.sampled_from(NAMES), st.integers(-5, 5)), max_size=8), st.randoms())
def test_deltas_add_up_in_any_order(deltas, random):
    """Folding some first, or in another order, gives the same sums."""
    shuffled = list(deltas)
    random.shuffle(shuffled)
    half = len(deltas) // 2
    assert broadcast.add(deltas) == broadcast.add(shuffled) == broadcast.add([broadcast.add(deltas[:half]), *deltas[half:]])


def test_rate_and_time_left():
    """Notices finished a second over the last half minute, and what that means for the rest; nothing moves, nothing is promised."""
    samples = []
    for second in range(100):
        samples = broadcast.sampled(samples, second * 1_000_000, second * 50)
    assert 30 <= len(samples) <= 32
    assert broadcast.rate_per_s(samples) == 50.0
    assert broadcast.eta_s(500, 50.0) == 10
    assert broadcast.eta_s(0, 0.0) == 0
    assert broadcast.eta_s(1, 0.0) is None
    assert broadcast.rate_per_s([]) == broadcast.rate_per_s([[1, 1]]) == 0.0


def test_lanes_have_room_for_each_channel():
    """A priority names its lane and channel, goes after all that is no broadcast's, and fits its column."""
    found = {(lane, channel): broadcast.priority(lane, channel) for lane in (1, 2, broadcast.MOST_LANES) for channel in CHANNELS}
    assert len(set(found.values())) == len(found)
    for (lane, channel), priority in found.items():
        assert (broadcast.lane_of(priority), broadcast.channel_of(priority)) == (lane, channel)
        assert 3 < priority <= 32_767
        assert notice.is_bulk(priority)
    assert broadcast.lane_of(notice.priority("commercial", bulk=True)) == 0


def test_complete_means_that_nothing_is_to_be_sent():
    """An SMS that waits keeps a broadcast open though its notice is served; an in-site message that waits for an account does not."""
    def shown(**sums):
        return broadcast.counts("running", ["in_site", "sms"], 1, 1, 0, {name.replace("__", "/"): n for name, n in sums.items()})
    assert not broadcast.is_complete(shown(served=1, in_site__delivered=1, sms__pending=1))
    assert broadcast.is_complete(shown(served=1, in_site__pending=1, sms__sent=1))
    assert not broadcast.is_complete(shown(in_progress=1, in_site__pending=1, sms__failed=1))
