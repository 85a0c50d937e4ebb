"""Notices made ahead, on every engine: a portion is kept once, in its turn, and only if nothing happened to it since it was taken."""

import asyncio
from collections import Counter

import asyncpg
import pytest
from sqlalchemy import delete

from noticesvc.dispatch.broadcasts import Broadcasts
from noticesvc.operations import broadcast_expansion, contents, keys
from noticesvc.storage import tables as t
from tests.support.broadcasts import approved, expanded
from tests.support.installation import installed

NAMES = ("u-1", "u-2", "u-3", "u-4")
BOTH = {"channels": ["in_site", "sms"]}


@pytest.fixture
async def here(database_url):
    async with installed(database_url) as made:
        yield made


@pytest.fixture
async def broadcast(here):
    """A running broadcast to four; its path."""
    secret = await here.database.write(keys.create, "second", ("broadcasts:approve",))
    return "/v1/broadcasts/" + await approved(here, {"Authorization": f"Bearer {secret}"}, *NAMES, notice=BOTH)


async def made(here, after=None, limit=2):
    """The next portion, made one by one."""
    making = await here.database.write(broadcast_expansion.take, here.world, after, limit)
    while making is not None and making.make(1):
        here.clock.move(0.001)
    return making


def keep(here, making):
    return here.database.write(broadcast_expansion.keep, making)


async def counted(here):
    """How many notices each recipient has, and how many deliveries there are."""
    return sorted(Counter(row.subject_id for row in await here.rows(t.notice)).values()), len(await here.rows(t.delivery))


async def test_a_portion_may_be_made_before_the_former_is_kept(here, broadcast):
    """Kept in turn they give everybody one notice, each with its entry; a third is not there to be taken."""
    first = await made(here)
    second = await made(here, first)
    assert await made(here, second) is None
    assert await counted(here) == ([], 0)
    assert await keep(here, first) == "kept"
    assert await keep(here, second) == "kept"
    assert await counted(here) == ([1, 1, 1, 1], 8)
    accepted = [entry for entry in await here.entries() if entry["type"] == "notice.accepted"]
    assert {row.id for row in await here.rows(t.notice)} == {entry["notice_id"] for entry in accepted}
    assert len(accepted) == 4
    assert (await here.http.get(broadcast)).json()["counts"]["expanded"] == 4
    assert await here.database.write(broadcast_expansion.expand, here.world) == 0


async def test_a_portion_is_kept_once_and_in_its_turn(here, broadcast):
    """Not before the one it follows, not again, and not when another process was quicker."""
    first = await made(here)
    second = await made(here, first)
    assert await keep(here, second) == "overtaken"
    assert await here.database.write(broadcast_expansion.expand, here.world, 2) == 2
    assert await keep(here, first) == "overtaken"
    assert await keep(here, second) == "kept"
    assert await keep(here, second) == "overtaken"
    assert await counted(here) == ([1, 1, 1, 1], 8)


@pytest.mark.postgres
async def test_a_portion_waits_for_whoever_only_looks_at_its_broadcast(postgres_url):
    """Counts are added up every second: nothing that is made ahead is dropped for that."""
    looking = await asyncpg.connect(postgres_url.replace("+asyncpg", ""))
    async with installed(postgres_url) as here:
        secret = await here.database.write(keys.create, "second", ("broadcasts:approve",))
        await approved(here, {"Authorization": f"Bearer {secret}"}, *NAMES, notice=BOTH)
        making = await made(here, limit=4)
        async with looking.transaction():
            await looking.execute("select from broadcast for update")
            keeping = asyncio.create_task(keep(here, making))
            while not keeping.done() and not await looking.fetchval(
                    "select count(*) from pg_stat_activity where pg_backend_pid() = any(pg_blocking_pids(pid))"):
                pass
        assert await keeping == "kept"
        assert await counted(here) == ([1, 1, 1, 1], 8)
    await looking.close()


@pytest.mark.parametrize("verb", ["pause", "cancel"])
async def test_nothing_is_kept_that_was_taken_before_a_pause_or_a_cancel(here, broadcast, verb):
    """What waits to be written when the answer is given never comes to be."""
    first = await made(here)
    assert (await here.http.post(f"{broadcast}/{verb}")).status_code == 200
    assert await keep(here, first) == "overtaken"
    assert await counted(here) == ([], 0)


async def test_nothing_is_kept_for_somebody_who_has_changed(here, broadcast):
    """Whoever asks to be anonymised after they were taken gets no notice; the others get theirs."""
    everybody = await made(here, limit=4)
    gone = await here.http.post("/v1/recipients/u-3/anonymise", json={"reason": "user request"})
    assert gone.status_code == 200, gone.text
    assert await keep(here, everybody) == "changed"
    await expanded(here.database, here.world)
    assert await counted(here) == ([1, 1, 1], 6)
    counts = (await here.http.get(broadcast)).json()["counts"]
    assert (counts["expanded"], counts["cancelled"], counts["total"]) == (3, 1, 4)


async def test_an_audience_that_is_gone_ends_its_broadcast(here, broadcast):
    """As after a restore that lacks its rows: nobody can be told, the counts say so, and later broadcasts are not held up."""
    await here.database.write(lambda tx: tx.execute(delete(t.broadcast_recipient)))
    assert await keep(here, await made(here)) == "kept"
    counts = (await here.http.get(broadcast)).json()["counts"]
    assert (counts["total"], counts["expanded"], counts["cancelled"]) == (4, 0, 4)
    assert await made(here) is None


@pytest.fixture
async def worker(here):
    made = Broadcasts(here.database, here.world)
    yield made
    await made.stop(1.0)


async def test_a_worker_that_was_overtaken_leaves_a_broadcast_to_whoever_goes_on_with_it(here, broadcast, worker, monkeypatch):
    """It makes another one meanwhile, makes nothing in vain, and goes on where the other worker has ended."""
    taken, kept = [], broadcast_expansion.keep
    take = broadcast_expansion.take

    def counted_take(tx, *args, **kwargs):
        making = take(tx, *args, **kwargs)
        taken.extend([making.broadcast_id] if making is not None else [])
        return making

    def overtaken(tx, making):  # the other worker is quicker with the same
        assert broadcast_expansion.expand(tx, here.world, 1) == 1
        return kept(tx, making)
    monkeypatch.setattr(broadcast_expansion, "take", counted_take)
    monkeypatch.setattr(broadcast_expansion, "keep", overtaken)
    assert await worker._expand() is False
    monkeypatch.setattr(broadcast_expansion, "keep", kept)
    assert [len(await here.rows(t.notice)), len(set(taken))] == [1, 1]

    del taken[:]
    assert await here.database.write(broadcast_expansion.expand, here.world, 1) == 1
    assert await worker._expand() is False
    assert taken == []  # the other one has moved on since
    secret = await here.database.write(keys.create, "third", ("broadcasts:approve",))
    later = await approved(here, {"Authorization": f"Bearer {secret}"}, *NAMES)
    assert await here.database.write(broadcast_expansion.expand, here.world, 1) == 1
    assert await worker._expand() is True
    assert set(taken) == {later}
    assert sorted(Counter(row.broadcast_id for row in await here.rows(t.notice)).values()) == [3, 4]

    while await worker._expand():  # the first one has not moved since it was looked at
        pass
    assert sorted(Counter((row.broadcast_id, row.subject_id) for row in await here.rows(t.notice)).values()) == [1] * 8


@pytest.mark.parametrize(("most", "sizes"), [(1 << 20, [4]), (200_000, [2, 2]), (1, [1, 1, 1, 1])])  # each has some 90,000 bytes
@pytest.mark.parametrize(("body", "shared"), [("{{ name }}" + "长" * 30_000, {}), ("{{ name }}" + 7 * "{{ more }}", {"more": "。" * 2000})],
                         ids=["long template", "long parameter"])
async def test_a_portion_takes_fewer_recipients_where_each_has_a_long_content(here, monkeypatch, most, sizes, body, shared):
    """Their texts are held all at once, so that it is their bytes that count; everybody gets one all the same."""
    secret = await here.database.write(keys.create, "second", ("broadcasts:approve",))
    await here.database.write(contents.put_template, here.world, "long", "更新", body, None, None)
    await approved(here, {"Authorization": f"Bearer {secret}"}, *NAMES, params={name: {"name": name} for name in NAMES},
                   notice={"content": None, "template": {"name": "long", "params": shared}, "channels": ["in_site"]})
    monkeypatch.setattr(broadcast_expansion, "_CONTENT_BYTES", most)
    portions = [await made(here, limit=4)]
    while (following := await made(here, portions[-1], 4)) is not None:
        portions.append(following)
    assert [len(one.subject_ids) for one in portions] == sizes
    assert [await keep(here, one) for one in portions] == ["kept"] * len(sizes)
    assert await counted(here) == ([1, 1, 1, 1], 4)
