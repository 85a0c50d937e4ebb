"""What a worker has in hand: rates of broadcasts let only so many go, hold nobody else up, and lose none."""

from types import SimpleNamespace

from noticesvc.dispatch.hands import Hands
from noticesvc.dispatch.pacing import Pacing
from noticesvc.domain import broadcast
from noticesvc.operations.claim import Claim

SETTINGS = SimpleNamespace(channel="sms", priority=1, breaker_after=20, breaker_open_s=30.0, rate_per_s=0.0, timeout_s=20.0)


class Granting:
    """Gives each name so many, then none for an hour."""

    def __init__(self, **room):
        self.room, self.asked = room, []

    async def reserve(self, wanted):
        self.asked.append(dict(wanted))
        found = {}
        for name, (_, number) in wanted.items():
            granted = min(number, self.room.get(name, 0))
            self.room[name] = self.room.get(name, 0) - granted
            found[name] = (granted, 3_600_000_000)
        return found


def claim(number, lane, limit):
    return Claim(f"notice-{lane}-{number}", "sms", f"d-{lane}-{number}", "s", "pending", 0, number, None, None,
                 priority=broadcast.priority(lane, "sms"), limit=limit)


def hands(rates):
    return Hands(Pacing.of({"gateway": SimpleNamespace()}, {"gateway": SETTINGS}, 64), rates, 250)


async def test_a_rate_lets_so_many_go_and_holds_up_nobody_else():
    """Of two broadcasts the slow one sends what its rate gives; the other sends all, and nothing leaves the hands unsent."""
    rates = Granting(slow=3)
    mine = hands(rates)
    mine.add([claim(i, 1, ("slow", 2.0)) for i in range(10)] + [claim(i, 2, None) for i in range(5)])
    starts, chosen, wait = await mine.choose(100)
    lanes = [broadcast.lane_of(one.priority) for one, _ in starts]
    assert (lanes.count(1), lanes.count(2)) == (3, 5)
    assert len(chosen) == 8
    assert len(list(mine)) == 7
    assert wait > 0
    assert rates.asked == [{"slow": (2.0, 10)}]


async def test_who_waits_for_a_rate_is_not_asked_about_again_and_holds_no_slot():
    """Until the time is up nobody asks; what comes meanwhile for others goes, although a hundred wait before it."""
    rates = Granting(slow=0)
    mine = hands(rates)
    mine.add([claim(i, 1, ("slow", 2.0)) for i in range(100)])
    assert (await mine.choose(20))[0] == []
    mine.add([claim(0, 2, None)])
    starts, _, _ = await mine.choose(20)
    assert [broadcast.lane_of(one.priority) for one, _ in starts] == [2]
    assert len(rates.asked) == 1
