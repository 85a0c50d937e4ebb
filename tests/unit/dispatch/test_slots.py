"""How a worker's calls are shared out: what nobody may take from single notices and from other providers."""

import pytest

from noticesvc.dispatch.slots import Slots


def filled(slots, provider, *, bulk):
    """Begin calls of this kind until there is no room; how many."""
    count = 0
    while slots.room(provider, bulk=bulk):
        slots.take(provider, bulk=bulk)
        count += 1
    return count


@pytest.mark.parametrize(("calls", "bulk", "single"), [(1, 1, 0), (2, 1, 1), (4, 3, 1), (64, 48, 16), (256, 192, 64)])
def test_bulk_leaves_a_quarter_for_single_notices(calls, bulk, single):
    """With one provider bulk stops at three quarters, and single notices find the rest; where there is one call, bulk may have it."""
    slots = Slots(calls, ["mail"])
    assert (filled(slots, "mail", bulk=True), filled(slots, "mail", bulk=False)) == (bulk, single)


@pytest.mark.parametrize(("calls", "first", "second"), [(1, 1, 0), (2, 1, 1), (4, 3, 1), (64, 48, 16)])
def test_a_provider_that_hangs_leaves_each_other_what_it_is_sure_of(calls, first, second):
    """Of two, the one that takes all it can get leaves half an even share to the other."""
    slots = Slots(calls, ["mail", "sms"])
    assert (filled(slots, "sms", bulk=False), filled(slots, "mail", bulk=False)) == (first, second)


@pytest.mark.parametrize("calls", [6, 8, 64, 100])
@pytest.mark.parametrize("providers", [("a", "b"), ("a", "b", "c")])
def test_bulk_of_every_provider_still_leaves_each_a_call_for_single_notices(calls, providers):
    """When all providers are full of bulk, a single notice of any of them starts."""
    slots = Slots(calls, providers)
    for name in providers:
        assert filled(slots, name, bulk=True) > 0
    assert all(slots.room(name, bulk=False) > 0 for name in providers)


def test_a_call_that_ended_leaves_its_room():
    """Given back, it is free for any provider again."""
    slots = Slots(4, ["mail", "sms"])
    assert filled(slots, "sms", bulk=False) == 3
    slots.give("sms", bulk=False)
    slots.give("sms", bulk=False)
    assert filled(slots, "mail", bulk=False) == 3
    assert slots.held("sms") == 1
