"""The second process that makes notices: what it makes is stored, proved and audited like any other, and nothing depends on its life."""

import asyncio
import os
import select
import signal
import subprocess
import sys
from collections import Counter

import msgspec
import pytest

from noticesvc import vault
from noticesvc.dispatch import second_process
from noticesvc.dispatch.second_process import SecondProcess
from noticesvc.operations import broadcast_expansion, broadcast_making
from noticesvc.operations.broadcast_portion import Job
from noticesvc.operations.broadcast_process import Keys
from noticesvc.storage import tables as t
from tests.support import proofs
from tests.support.broadcasts import running

NAMES = ("u-1001", "u-1002", "u-1003")
pytestmark = pytest.mark.postgres
PARENT = """
import os, subprocess, sys
from noticesvc.operations.broadcast_process import PROGRAM
child = subprocess.Popen([sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE)
print(child.pid, flush=True)
sys.stdin.read()
os._exit(0)
"""


@pytest.fixture
async def desk(postgres_url, monkeypatch):
    monkeypatch.setattr(broadcast_making, "_WORTH_SENDING", 1)
    async with proofs.desk(postgres_url) as made:
        for name in NAMES:
            await made.recipient(name)
        yield made


@pytest.fixture
async def second(desk):
    process = SecondProcess(desk.house.world.vault)
    yield process
    await process.end()


async def taken(desk, **notice):
    """The recipients of a broadcast that runs, nothing made yet."""
    await running(desk.house.database, desk.house.world, desk.access, [(name, {}) for name in NAMES], **notice)
    return await desk.house.database.write(broadcast_expansion.take, desk.house.world)


async def keep(desk, making):
    assert await desk.house.database.write(broadcast_expansion.keep, making) == "kept"
    found = await desk.house.database.read(lambda tx: tx.rows(t.notice, "broadcast_id", [making.broadcast_id]))
    assert sorted(Counter(row.subject_id for row in found).values()) == [1, 1, 1]
    return [row.id for row in found]


async def test_what_it_makes_is_proved_and_audited(desk, second):
    """Over two channels, with a reference and a case: stored as it came, sent, proved, and nothing found by the audit."""
    making = await taken(desk, channels=("in_site", "email"), reference="更新-7", metadata={"版本": "3"})
    assert making.elsewhere
    made = await second.make(making.job)
    making.take(made)
    notices = await keep(desk, making)
    await desk.deliver_in_site()
    await desk.dispatch()
    for notice_id in notices:
        await desk.answer(notice_id, "email", "arrived")
        assert "broadcast.approved" in proofs.types(await proofs.holds(desk, notice_id))
    await proofs.sound(desk)


async def test_answers_come_in_the_order_of_the_jobs_also_after_one_that_nobody_waits_for(desk, second):
    """Somebody who gave up waiting does not get the next one's answer in the way."""
    making = await taken(desk)
    first, third = making.job, msgspec.structs.replace(making.job, members=making.job.members[:1])
    given_up = asyncio.create_task(second.make(first))
    await asyncio.sleep(0)
    given_up.cancel()
    with pytest.raises(asyncio.CancelledError):
        await given_up
    one, all_ = await asyncio.gather(second.make(third), second.make(first))
    assert len(one.rows[0]) < len(all_.rows[0])
    making.take(all_)
    await keep(desk, making)


@pytest.mark.parametrize("when", ["before", "while"])
async def test_the_work_is_done_here_when_it_is_killed(desk, second, when):
    """The job is answered with null, whoever gave it makes the notices, and another process is not begun at once."""
    making = await taken(desk)
    assert await second.make(making.job) is not None
    process = second._process
    process.send_signal(signal.SIGSTOP if when == "while" else signal.SIGKILL)
    if when == "before":
        await process.wait()
        assert await second.make(making.job) is None
    else:
        waiting = asyncio.create_task(second.make(making.job))
        await asyncio.sleep(0)
        process.kill()
        assert await waiting is None
    assert await second.make(making.job) is None
    assert second._process is None
    while making.make(1):
        pass
    await keep(desk, making)
    await proofs.sound(desk)


@pytest.mark.parametrize("program", [
    "import sys; sys.stdout.write('nonsense, and more of it than eight bytes')",
    "import sys; sys.stdout.buffer.write(b'\\0\\0\\0\\x04abcd'); sys.stdout.flush(); sys.stdin.read()",
    "raise SystemExit(1)",
], ids=["nonsense", "no answer of ours", "ends"])
async def test_a_process_that_answers_with_anything_else_is_done_without(desk, second, monkeypatch, program):
    """Whatever it says."""
    monkeypatch.setattr(second_process, "PROGRAM", program)
    making = await taken(desk)
    assert await second.make(making.job) is None
    while making.make(2):
        pass
    await keep(desk, making)


async def test_one_that_never_answers_is_ended(desk, second, monkeypatch):
    """After a while, which is a minute elsewhere."""
    monkeypatch.setattr(second_process, "_PATIENCE_S", 0.2)
    monkeypatch.setattr(second_process, "PROGRAM", "import sys; sys.stdin.read()")
    assert await second.make((await taken(desk)).job) is None
    assert second._process is None


async def test_a_master_key_of_today_is_given_to_the_next_one(desk, second):
    """A process that does not know the key of a row answers nothing and is replaced by one that does."""
    making = await taken(desk)
    known = second._vault
    second._vault = vault.Vault({9: bytes(32)}, bytes(32), os.urandom)
    assert await second.make(making.job) is None
    second._vault = known
    assert (await second.make(making.job)).packed


def test_it_does_not_outlive_whoever_began_it():
    """kill -9 of the first process ends the second, whose input is over then; a signal to both leaves the end to the first."""
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    pid = int(parent.stdout.readline())
    watched = os.pidfd_open(pid)
    try:
        parent.kill()
        parent.wait()
        assert select.select([watched], [], [], 20)[0], "the second process lives on"
    finally:
        os.close(watched)
        parent.stdin.close()
        parent.stdout.close()


async def test_it_is_told_no_setting_and_no_secret_but_the_keys(desk, second, monkeypatch):
    """Its environment has nothing of ours, and its command line says nothing."""
    monkeypatch.setenv("NOTICESVC_PROVIDERS__SMS__SECRET", "hush")
    assert await second.make((await taken(desk)).job) is not None
    pid = second._process.pid
    with open(f"/proc/{pid}/environ", "rb") as environ, open(f"/proc/{pid}/cmdline", "rb") as line:
        assert b"hush" not in environ.read()
        assert line.read().count(b"\0") == 3


async def test_a_job_is_read_as_it_was_written(desk):
    """Every value of it, through the pipe's encoding."""
    job = (await taken(desk, category="judicial", case={"case_number": "（2026）京01民初1号", "court": "北京"})).job
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(job), type=Job) == job
    keys = Keys({1: bytes(32), 2: bytes(range(32))})
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(keys), type=Keys) == keys
