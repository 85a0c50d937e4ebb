"""The second process that makes notices: it answers each job or null, in either event loop, and nothing is left of it."""

import asyncio
import os
import select
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest
import uvloop

from noticesvc import vault
from noticesvc.dispatch import second_process
from noticesvc.dispatch.second_process import SecondProcess
from noticesvc.ledger import entry as ledger_entry
from noticesvc.ledger.entry import value_bytes
from noticesvc.operations.broadcast_portion import Job, Member
from noticesvc.operations.broadcast_process import Keys, Made
from noticesvc.proof import openings
from noticesvc.storage.bundle import split, unpack
from tests.support.second_process import SILENT, VAULT, pid_of, process

NAMES = ("u-1001", "u-1002", "u-1003")
PARENT = """
import sys, subprocess, os, msgspec
from noticesvc.operations import pipes
from noticesvc.operations.broadcast_process import FORM, PROGRAM, Keys
child = subprocess.Popen([sys.executable, "-c", PROGRAM, FORM], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
pipes.write(child.stdin, msgspec.msgpack.encode(Keys({1: bytes(32)})))
pipes.write(child.stdin, bytes.fromhex(sys.argv[1]))
print(child.pid, len(pipes.read(child.stdout)), flush=True)
sys.stdin.read()
os._exit(0)
"""


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request):
    """Runs a coroutine in an event loop of each kind; the service has the second."""
    with asyncio.Runner(loop_factory=request.param) as runner:
        yield runner.run


def job(names=NAMES, keys=VAULT, batch="01a0c450-6c00-7000-8001-288070468b10"):
    """A portion of these recipients, whose keys are wrapped by this vault."""
    members = []
    for at, name in enumerate(names):
        subject_id = f"01a0c450-6c00-7000-8002-{at:012d}"
        key, wrapped = keys.new_key(f"recipient:{subject_id}")
        opening = openings.pack({"recipient_id": openings.Opening(bytes(32), value_bytes(name))})
        members.append(Member(subject_id, wrapped, key.seal(opening, f"recipient:{subject_id}"), None))
    return Job(1_790_000_000_000_000, batch, batch, ["reference"], [value_bytes("更新-7")],
               {"v": 1, "type": "notice.accepted", "at": "2026-09-21T14:13:20.000000Z", "content_id": batch},
               [{"channel": "in_site", "carries": "full"}],
               {"category": "agreement", "state": "queued", "seq": 1, "entry_batch": batch, "content_id": batch},
               [{"channel": "in_site", "position": 0, "priority": 1, "carries": "full", "state": "pending"}], [batch], members)


def entries(made):
    return [ledger_entry.decode(one) for one in split(unpack(made.packed))]


def test_it_makes_an_entry_for_each_recipient_in_their_order(run):
    """Of the job that was given, with commitments that nobody else has, and rows for three tables."""
    async def body():
        async with process() as second:
            first = await second.make(job())
            again = await second.make(job())
            told = entries(first)
            assert [one["subject_id"] for one in told] == [member.subject_id for member in job().members]
            assert len({one[name] for made in (first, again) for one in entries(made)
                        for name in ("recipient_id_commit", "reference_commit", "notice_id")}) == 18
            assert len(first.rows) == 3
            assert all(first.rows)
    run(body())


@pytest.fixture
def sent(monkeypatch):
    """Released once for each job that was sent whole."""
    semaphore = asyncio.Semaphore(0)
    send = second_process._send

    async def watched(process, message):
        await send(process, message)
        if isinstance(message, Job):
            semaphore.release()
    monkeypatch.setattr(second_process, "_send", watched)
    return semaphore


def test_answers_go_to_their_jobs_also_after_one_that_nobody_waits_for(run, sent):
    """Somebody who gave up waiting is not in the way of the next."""
    async def body():
        async with process() as second:
            given_up = asyncio.create_task(second.make(job(NAMES * 400)))
            await sent.acquire()
            begun = pid_of(second)
            given_up.cancel()
            with pytest.raises(asyncio.CancelledError):
                await given_up
            one, three = await asyncio.gather(second.make(job(NAMES[:1])), second.make(job()))
            assert [len(entries(made)) for made in (one, three)] == [1, 3]
            assert pid_of(second) == begun
    run(body())


@pytest.mark.parametrize("when", ["idle", "at work", "with two before it"])
def test_a_process_that_is_killed_answers_with_null(run, sent, when):
    """Whoever gave the jobs does them; another is not begun at once, but after a while it is."""
    async def body():
        async with process() as second:
            assert await second.make(job()) is not None
            await sent.acquire()
            killed = second._life._process
            if when == "idle":
                killed.kill()
                await killed.wait()
                answers = [await second.make(job())]
            else:
                killed.send_signal(signal.SIGSTOP)
                waiting = [asyncio.create_task(second.make(job())) for _ in range(2 if "two" in when else 1)]
                for _ in waiting:
                    await sent.acquire()
                killed.kill()
                answers = await asyncio.gather(*waiting)
            assert not any(answers)
            assert await second.make(job()) is None
            second._not_before = 0.0
            assert await second.make(job()) is not None
    run(body())


@pytest.mark.parametrize("program", [
    "import sys; sys.stdout.write('nonsense, and more of it than eight bytes')",
    "import sys; sys.stdout.buffer.write(b'\\0\\0\\0\\x04abcd'); sys.stdout.flush(); sys.stdin.read()",
    "import sys; sys.stdout.buffer.write(b'\\0\\0\\0\\x04\\x93\\xa1x\\xc0'); sys.stdout.flush(); sys.stdin.read()",
    "raise SystemExit(1)",
], ids=["nonsense", "no message", "cut short", "ends"])
def test_a_process_that_answers_with_anything_else_is_done_without(run, monkeypatch, program):
    """Whatever it says."""
    monkeypatch.setattr(second_process, "PROGRAM", program)

    async def body():
        async with process() as second:
            assert await second.make(job()) is None
            assert pid_of(second) is None
    run(body())


def test_an_answer_to_another_job_is_not_taken(run, monkeypatch):
    """However well it is made."""
    other = msgspec.msgpack.encode(Made("01a0c450-6c00-7000-8001-000000000000", b"packed", [b"", b"", b""]))
    monkeypatch.setattr(second_process, "PROGRAM", f"import sys; sys.stdout.buffer.write({len(other).to_bytes(4, 'big') + other!r}); "
                                                   "sys.stdout.flush(); sys.stdin.read()")

    async def body():
        async with process() as second:
            assert await second.make(job()) is None
    run(body())


def test_a_process_of_another_version_is_not_talked_to(run, monkeypatch):
    """The package was replaced on the disk since this process began: the program that begins now is another."""
    monkeypatch.setattr(second_process, "FORM", "of yesterday")

    async def body():
        async with process() as second:
            assert await second.make(job()) is None
    run(body())


def test_one_that_never_answers_is_ended_with_all_who_wait(run, monkeypatch):
    """After a while, which is a minute elsewhere; nobody reads what the other one left."""
    monkeypatch.setattr(second_process, "_PATIENCE_S", 0.2)
    monkeypatch.setattr(second_process, "PROGRAM", SILENT)

    async def body():
        async with process() as second:
            assert await asyncio.gather(second.make(job()), second.make(job())) == [None, None]
            assert pid_of(second) is None
    run(body())


def test_a_master_key_of_today_is_given_to_the_next_one(run):
    """A process that does not know the key of a row is replaced by one that does, at once; jobs that wait behind are done here."""
    async def body():
        old = vault.Vault({1: bytes(range(32))}, bytes(32), os.urandom)
        new = vault.Vault({1: bytes(range(32)), 2: bytes(range(1, 33))}, bytes(32), os.urandom)
        async with process(old) as second:
            assert await second.make(job(keys=old)) is not None
            answers = await asyncio.gather(second.make(job(keys=new)), second.make(job(keys=new)))
            assert not any(answers)
            second._vault = new
            assert await second.make(job(keys=new)) is not None
    run(body())


@pytest.mark.parametrize("jobs", [1, 3])
def test_nothing_is_left_of_it_when_it_is_stopped_at_work(run, sent, jobs):
    """With jobs before it: stopped is gone, and nothing begins another."""
    async def body():
        second = SecondProcess(VAULT)
        waiting = [asyncio.create_task(second.make(job(NAMES * 400))) for _ in range(jobs)]
        await sent.acquire()
        assert set(children())
        await second.stop()
        assert not set(children())
        assert (await asyncio.gather(*waiting))[-1] is None
        assert await second.make(job()) is None
        assert not set(children())
    run(body())


@pytest.mark.parametrize("when", ["asked for", "beginning"])
def test_nothing_is_left_of_it_when_it_is_stopped_before_its_first_job(run, monkeypatch, when):
    """While a process is only about to be there."""
    beginning = asyncio.Event()
    begin = second_process._begun

    async def watched():
        beginning.set()
        return await begin()
    monkeypatch.setattr(second_process, "_begun", watched)

    async def body():
        second = SecondProcess(VAULT)
        waiting = asyncio.create_task(second.make(job()))
        await (beginning.wait() if when == "beginning" else asyncio.sleep(0))
        await second.stop()
        assert await waiting is None
        assert not set(children())
    run(body())


def children():
    """The programs of the second process that live."""
    for one in Path("/proc").iterdir():
        if one.name.isdigit():
            with suppress(OSError):
                if f"\0{second_process.PROGRAM}\0".encode() in (one / "cmdline").read_bytes() and f"PPid:\t{os.getpid()}\n" in (
                        one / "status").read_text():
                    yield one.name


def test_it_rests_when_nothing_was_to_do(run, monkeypatch):
    """And begins again with the next job."""
    async def body():
        async with process() as second:
            assert await second.make(job()) is not None
            await second.rest()
            assert pid_of(second) is not None
            monkeypatch.setattr(second_process, "_IDLE_S", -1.0)
            await second.rest()
            assert pid_of(second) is None
            assert await second.make(job()) is not None
    run(body())


def test_it_does_not_outlive_whoever_began_it():
    """kill -9 of the first process ends the second, whose input is over then."""
    given = msgspec.msgpack.encode(job()).hex()
    parent = subprocess.Popen([sys.executable, "-c", PARENT, given], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    pid, _ = map(int, parent.stdout.readline().split())  # it has answered
    watched = os.pidfd_open(pid)
    try:
        assert not select.select([watched], [], [], 0)[0]
        parent.kill()
        parent.wait()
        assert select.select([watched], [], [], 20)[0], "the second process lives on"
    finally:
        os.close(watched)
        parent.stdin.close()
        parent.stdout.close()


def test_a_signal_to_all_is_left_to_the_first(run):
    """Ctrl-C in a terminal reaches both: what is being made is made."""
    async def body():
        async with process() as second:
            assert await second.make(job()) is not None
            for number in (signal.SIGINT, signal.SIGTERM):
                os.kill(pid_of(second), number)
            assert await second.make(job()) is not None
    run(body())


def test_it_is_told_no_setting_and_no_secret_but_the_keys(run, monkeypatch, tmp_path):
    """Its environment has nothing of ours, its command line says nothing, and it runs nothing from where the service was started."""
    monkeypatch.setenv("NOTICESVC_PROVIDERS__SMS__SECRET", "hush")
    (tmp_path / "msgspec.py").write_text("raise SystemExit('somebody else’s program')\n")
    monkeypatch.chdir(tmp_path)

    async def body():
        async with process() as second:
            assert await second.make(job()) is not None
            about = Path(f"/proc/{pid_of(second)}")
            assert b"hush" not in (about / "environ").read_bytes()
            assert bytes(range(32)) not in (about / "cmdline").read_bytes()
    run(body())
    assert repr(Keys({1: bytes(32)})) == "Keys()"
