"""Notices that a second process made are stored, proved and audited like any other, and a worker does without it."""

import asyncio
from collections import Counter

import msgspec
import pytest
import sqlalchemy as sa

from noticesvc.dispatch import second_process
from noticesvc.dispatch.broadcasts import Broadcasts
from noticesvc.dispatch.second_process import SecondProcess
from noticesvc.operations import broadcast_expansion, broadcast_making
from noticesvc.operations.broadcast_portion import Job
from noticesvc.operations.broadcast_process import PROGRAM
from noticesvc.storage import tables as t
from tests.support import proofs
from tests.support.broadcasts import expanded, running
from tests.support.second_process import SILENT, process

NAMES = ("u-1001", "u-1002", "u-1003")


@pytest.fixture
async def desk(postgres_url, monkeypatch):
    monkeypatch.setattr(broadcast_making, "_WORTH_SENDING", 1)
    async with proofs.desk(postgres_url) as made:
        for name in NAMES:
            await made.recipient(name)
        yield made


async def taken(desk, **notice):
    """The recipients of a broadcast that runs, nothing made yet."""
    await running(desk.house.database, desk.house.world, desk.access, [(name, {}) for name in NAMES], **notice)
    return await desk.house.database.write(broadcast_expansion.take, desk.house.world)


async def notices(desk):
    """The notices; each recipient has one."""
    found = await desk.house.database.read(lambda tx: tx.execute(sa.select(t.notice.c.id, t.notice.c.subject_id)).all())
    assert sorted(Counter(row.subject_id for row in found).values()) == [1, 1, 1]
    return [row.id for row in found]


@pytest.mark.postgres
async def test_what_it_makes_is_proved_and_audited(desk):
    """Over two channels, with a reference and a case: stored as it came, sent, proved, and nothing found by the audit."""
    making = await taken(desk, channels=("in_site", "email"), category="judicial", reference="更新-7", metadata={"版本": "3"},
                         case={"case_number": "（2026）京01民初1号", "court": "北京"})
    assert making.elsewhere
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(making.job), type=Job) == making.job
    async with process(desk.house.world.vault) as second:
        made = await second.make(making.job)
    assert made is not None
    making.adopt(made)
    assert await desk.house.database.write(broadcast_expansion.keep, making) == "kept"
    await desk.deliver_in_site()
    await desk.dispatch()
    for notice_id in await notices(desk):
        await desk.answer(notice_id, "email", "arrived")
        assert "broadcast.approved" in proofs.types(await proofs.holds(desk, notice_id))
    await proofs.sound(desk)


@pytest.fixture
async def worker(desk):
    made = Broadcasts(desk.house.database, desk.house.world)
    made._second = SecondProcess(desk.house.world.vault)  # also where there is one core
    yield made
    await made.stop(1.0)


async def made_all(desk):
    """Watch until everything is made."""
    committed = asyncio.Event()
    desk.house.database.on_commit("dispatch", committed.set)
    async with asyncio.timeout(30):
        while len(await desk.house.database.read(lambda tx: tx.execute(sa.select(t.notice.c.id)).all())) < len(NAMES):
            await committed.wait()
            committed.clear()


@pytest.mark.postgres
@pytest.mark.parametrize("program", [PROGRAM, "raise SystemExit(1)"], ids=["answers", "ends"])
async def test_a_worker_makes_every_notice_with_it_and_without(desk, worker, monkeypatch, program):
    """The loops of a worker: everybody has one notice."""
    monkeypatch.setattr(second_process, "PROGRAM", program)
    answers = []
    make = worker._second.make

    async def watched(job):
        answers.append(await make(job))
        return answers[-1]
    worker._second.make = watched
    await worker.start()
    await running(desk.house.database, desk.house.world, desk.access, [(name, {}) for name in NAMES])
    await made_all(desk)
    await notices(desk)
    assert [made is not None for made in answers] == [program == PROGRAM]
    await proofs.sound(desk)


@pytest.mark.postgres
async def test_a_worker_that_is_stopped_while_it_waits_has_made_nothing(desk, worker, monkeypatch):
    """Whoever starts next makes all."""
    monkeypatch.setattr(second_process, "PROGRAM", SILENT)
    asked = asyncio.Event()
    make = worker._second.make

    async def watched(job):
        asked.set()
        return await make(job)
    worker._second.make = watched
    await running(desk.house.database, desk.house.world, desk.access, [(name, {}) for name in NAMES])
    await worker.start()
    async with asyncio.timeout(30):
        await asked.wait()
    await worker.stop(1.0)
    assert not await desk.house.database.read(lambda tx: tx.execute(sa.select(t.notice.c.id)).all())
    await expanded(desk.house.database, desk.house.world)
    await notices(desk)
    await proofs.sound(desk)
