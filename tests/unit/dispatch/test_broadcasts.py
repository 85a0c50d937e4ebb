"""dispatch.broadcasts: portions written beside each other end in their order, and what cannot be kept is dropped whole."""

import asyncio
from dataclasses import dataclass, field

import pytest

from noticesvc.dispatch.broadcasts import Broadcasts
from noticesvc.errors import DatabaseUnavailable
from noticesvc.operations import broadcast_expansion
from noticesvc.operations.broadcast_expansion import NotKept
from tests.support.waiting import PATIENCE_S


class Portion:
    """One of the audience; made at once."""

    def __init__(self, number):
        self.number = number

    def make(self, number):
        return 0


@dataclass
class Database:
    """Keeps portions as the operations do: in their order. `slow` are begun, and end only when another has asked to be kept."""

    portions: int
    slow: tuple[int, ...] = ()
    refused: dict[int, Exception] = field(default_factory=dict)  # once each
    kept: list[int] = field(default_factory=list)
    asked: list[int] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0
    made_whole: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def on_commit(self, topic, callback):
        pass

    async def write(self, operation, *given):
        if operation is broadcast_expansion.take:
            number = len(self.kept) if given[1] is None else given[1].number + 1
            return Portion(number) if number < self.portions else None
        if operation is broadcast_expansion.expand:
            self.made_whole += 1
            self.kept.append(len(self.kept))
            return 1
        assert operation is broadcast_expansion.keep
        return await self._keep(given[0].number)

    async def _keep(self, number):
        self.asked.append(number)
        self.changed.set()
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            async with asyncio.timeout(PATIENCE_S):
                while number in self.slow and number + 1 not in self.asked:
                    self.changed.clear()
                    await self.changed.wait()
            await asyncio.sleep(0)
            if number in self.refused:
                raise self.refused.pop(number)
            if number > len(self.kept):
                raise NotKept("early")
            if number < len(self.kept):
                raise NotKept("overtaken")
            self.kept.append(number)
        finally:
            self.at_once -= 1


async def turned(database, turns=50):
    """So many turns of the loop that makes notices; those that failed are told."""
    broadcasts, failed = Broadcasts(database, None), 0
    for _ in range(turns):
        try:
            async with asyncio.timeout(PATIENCE_S):
                more = await broadcasts._expand()
        except DatabaseUnavailable:
            failed += 1
            continue
        if not more and len(database.kept) == database.portions:
            break
    await broadcasts.stop(1.0)
    return failed


@pytest.mark.parametrize("count", [0, 1, 2, 3, 9])
async def test_every_portion_is_kept_once_in_order(count):
    """However many there are, two at most being written."""
    database = Database(count)
    assert await turned(database) == 0
    assert database.kept == list(range(count))
    assert database.most_at_once <= 2
    assert database.asked == list(range(count))


async def test_a_portion_that_was_written_more_quickly_than_the_former_one_is_written_again():
    """The former one ends only when the next has come too early; nothing is made again for that."""
    database = Database(6, slow=(1, 3))
    assert await turned(database) == 0
    assert database.kept == list(range(6))
    assert database.most_at_once == 2
    assert database.made_whole == 0


async def test_what_follows_on_a_portion_with_somebody_who_changed_is_dropped():
    """That portion is made in the transaction that writes it; the others are taken again behind it."""
    database = Database(6, slow=(2,), refused={2: NotKept("changed")})
    assert await turned(database) == 0
    assert database.kept == list(range(6))
    assert database.made_whole == 1


@pytest.mark.parametrize("number", [0, 2, 5])
async def test_a_database_that_is_away_loses_nothing(number):
    """The turn fails, what was ahead is dropped, and the next turn goes on where it stood."""
    database = Database(6, slow=(1,), refused={number: DatabaseUnavailable("away")})
    assert await turned(database) == 1
    assert database.kept == list(range(6))


async def test_whoever_is_overtaken_leaves_the_broadcast_to_the_other():
    """The turn ends without more to do, and nothing of what was ahead is written."""
    database = Database(6, refused={1: NotKept("overtaken")})
    broadcasts = Broadcasts(database, None)
    assert await broadcasts._expand() is True
    assert await broadcasts._expand() is False
    await broadcasts.stop(1.0)
    assert database.kept == [0]
    assert database.at_once == 0
