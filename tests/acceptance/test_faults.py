"""What the world does to a running service: the database goes away, the disk fills, providers go mad, clocks jump, commits break.

After each nothing is lost, nothing is sent twice without being shown, and the process stays.
"""

import asyncio
import contextlib
import os
import resource
import subprocess
import sys

import pytest

from tests.fakes import sms_gateway, smtp_server
from tests.support.process import called, delivered, message_ids, outcomes, running

pytestmark = [pytest.mark.kill, pytest.mark.slow]
SABOTAGE = "from bench.crash import sabotage; from noticesvc.operations import reconcile, seal, record, claim; sabotage."


async def all_delivered(run, ids):
    """Every notice once it is delivered."""
    return [await run.until(i, delivered) for i in ids]


@pytest.mark.postgres
async def test_postgresql_crashes_and_comes_back(durable_postgres, tmp_path):
    """While it is away POST answers 503 and the process stays; afterwards each notice is sent once, those in flight too."""
    async with running(tmp_path, durable_postgres.new_database(), worker={"concurrency": 4, "claim_batch": 10}, patient=True) as run:
        await run.service.start()
        ids = await run.post_many(await run.recipient(), 60)
        await run.taken(10)
        durable_postgres.stop(crash=True)
        await run.refused()
        await run.refused()
        durable_postgres.start()
        await run.ready()
        ids.append(await run.post("u-1"))
        await all_delivered(run, ids)
        assert len(run.mail.contents) == len(set(message_ids(run.mail))) == len(ids)
        await run.audited()


async def test_another_process_locks_the_sqlite_file(sqlite_url, tmp_path):
    """While another process holds the write lock POST answers 503 and reads go on; afterwards each notice is sent once."""
    async with running(tmp_path, sqlite_url, worker={"concurrency": 4}, patient=True) as run:
        await run.service.start()
        ids = await run.post_many(await run.recipient(), 60)
        await run.taken(10)
        code = ("import sqlite3, sys; c = sqlite3.connect(sys.argv[1], timeout=30, isolation_level=None); c.execute('BEGIN IMMEDIATE'); "
                "print('locked', flush=True); sys.stdin.read()")
        with subprocess.Popen([sys.executable, "-c", code, sqlite_url.partition("///")[2]], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE) as holder:
            assert await asyncio.to_thread(holder.stdout.readline) == b"locked\n"
            await run.refused()
            assert (await run.notice(ids[0]))["id"] == ids[0]
            holder.stdin.close()
        await run.ready()
        ids.append(await run.post("u-1"))
        await all_delivered(run, ids)
        assert len(run.mail.contents) == len(set(message_ids(run.mail))) == len(ids)
        await run.audited()


@contextlib.contextmanager
def small_disk(folder):
    """A file system of 24 MiB on `folder` where we may mount one; says whether we may."""
    folder.mkdir()
    mounted = os.geteuid() == 0 and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(folder)], check=False, capture_output=True).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], check=True)


async def test_the_disk_is_full(tmp_path):
    """No 202 without a disk to keep it on; when there is room again, everything goes on and each notice is sent once.

    Where no file system can be mounted, a limit on the size of files does the same to the process.
    """
    with small_disk(tmp_path / "disk") as mounted:
        async with running(tmp_path / "disk", None, patient=True) as run:
            process = await run.service.start()
            ids = await run.post_many(await run.recipient(), 5)
            await all_delivered(run, ids)
            filler = tmp_path / "disk" / "filler"
            if mounted:
                with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
                    while True:
                        file.write(bytes(4096))
            else:
                resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
            await run.refused()
            if mounted:
                filler.unlink()
            else:
                resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            await run.ready()
            ids += await run.post_many("u-1", 5)
            await all_delivered(run, ids)
            assert len(run.mail.contents) == len(set(message_ids(run.mail))) == len(ids)
            await run.audited()


MAIL_FAULTS = {
    "hangs at the greeting": ({"CONNECT": [smtp_server.HANG, b"220 fake ESMTP\r\n"]}, "failed_temporary"),
    "hangs before the content": ({"RCPT": [smtp_server.HANG, b"250 2.1.5 Ok\r\n"]}, "failed_temporary"),
    "closes in mid-command": ({"RCPT": [smtp_server.CLOSE, b"250 2.1.5 Ok\r\n"]}, "failed_temporary"),
    "hangs after the final dot": ({"CONTENT": [smtp_server.HANG, b"250 2.0.0 Ok\r\n"]}, "unknown"),
    "closes after the final dot": ({"CONTENT": [smtp_server.CLOSE, b"250 2.0.0 Ok\r\n"]}, "unknown"),
    "answers garbage": ({"CONTENT": [b"\xff\x00<html>\r\n", b"250 2.0.0 Ok\r\n"]}, "unknown"),
}
SMS_FAULTS = {
    "hangs": (sms_gateway.HANG, "unknown"),
    "closes": (sms_gateway.CLOSE, "unknown"),
    "answers 500": (sms_gateway.Answer(500, b"Sending failed."), "unknown"),
    "answers garbage": (b"\xff\x00 blah\r\n\r\n", "unknown"),
    "answers 503": (sms_gateway.Answer(503, b"Temporal failure, try again later."), "failed_temporary"),
}


async def test_a_provider_goes_mad(database_url, tmp_path):
    """Each fault ends as the outcome that is true of it, the next try arrives, and one slot is enough to come through all."""
    async with running(tmp_path, database_url, worker={"concurrency": 1}, mail={"connections": 1}) as run:
        await run.service.start()
        recipient = await run.recipient()
        for name, (script, outcome) in MAIL_FAULTS.items():
            run.mail.script.clear()
            run.mail.script.update({stage: list(moves) for stage, moves in script.items()})
            run.mail.drop_all()  # a new connection for each fault
            notice = await run.until(await run.post(recipient, key=name.replace(" ", "-")), delivered)
            assert called(notice) == [outcome, "arrived"], name
        for name, (move, outcome) in SMS_FAULTS.items():
            run.sms.moves[:] = [move, sms_gateway.TAKEN]
            sent = await run.until(await run.post(recipient, channels=("sms",), key=f"sms-{name.replace(' ', '-')}"),
                                   lambda n: outcomes(n, "sms")[-1:] == ["submitted"])
            assert called(sent, "sms") == [outcome, "submitted"], name
        await run.audited()


async def test_the_wall_clock_jumps(database_url, tmp_path):
    """An hour forth, two back, two forth, while mails are in flight: each is sent once, and new ones go out at any time."""
    clock = tmp_path / "offset"
    clock.write_text("0")
    async with running(tmp_path, database_url, wrapper=f"{SABOTAGE}shifted_clock({str(clock)!r})",
                       worker={"concurrency": 4, "claim_batch": 20}, patient=True) as run:
        await run.service.start()
        recipient = await run.recipient()
        ids = []
        for seconds in (3600, -3600, 3600):
            # Each jump finds some queued, some claimed and some in flight; what is in hand is not due any later.
            many = await run.post_many(recipient, 30)
            await run.taken(len(run.mail.contents) + 5)
            fresh = tmp_path / "fresh"
            fresh.write_text(str(seconds))
            fresh.replace(clock)
            ids += [*many, await run.post(recipient)]
            await run.until(ids[-1], delivered)
        for notice in await all_delivered(run, ids):
            assert outcomes(notice) == ["arrived"]
        assert len(run.mail.contents) == len(set(message_ids(run.mail))) == len(ids)
        await run.audited()


@pytest.mark.postgres
async def test_two_workers_share_the_work_and_one_is_stopped(postgres_url, tmp_path):
    """Two workers and an API, one worker stopped by SIGTERM in flight: it ends with 0 and each notice is sent once."""
    async with running(tmp_path, postgres_url, worker={"concurrency": 4, "claim_batch": 8}, patient=True) as run:
        await run.service.start(only="api")
        first, _ = await run.service.start(only="worker"), await run.service.start(only="worker")
        ids = await run.post_many(await run.recipient(), 80)
        await run.taken(10)
        assert await run.service.stop(first) == [0]
        for notice in await all_delivered(run, ids):
            assert called(notice) == ["arrived"]
        assert len(run.mail.contents) == len(set(message_ids(run.mail))) == len(ids)
        await run.audited()


@pytest.mark.postgres
async def test_a_worker_adopts_what_a_killed_one_left(postgres_url, tmp_path):
    """One of two workers is killed in flight and stays dead: the other reads its journal, and sends again what is unknown."""
    async with running(tmp_path, postgres_url, worker={"concurrency": 4, "claim_batch": 8}, mail={"connections": 4}) as run:
        await run.service.start(only="api")
        first, _ = await run.service.start(only="worker"), await run.service.start(only="worker")
        ids = await run.post_many(await run.recipient(), 80)
        await run.taken(10)
        await run.service.kill(first)
        notices = await all_delivered(run, ids)
        unknown = sum(outcomes(notice).count("unknown") for notice in notices)
        assert len(ids) <= len(run.mail.contents) <= len(ids) + min(unknown, 4)
        assert len(set(message_ids(run.mail))) == len(ids)
        await run.audited()


async def test_sigterm_finishes_what_is_in_flight(database_url, tmp_path):
    """SIGTERM while mails are on their way: status 0 in time, no attempt left open, and the next process sends the rest once."""
    async with running(tmp_path, database_url, worker={"concurrency": 4}, patient=True) as run:
        await run.service.start()
        ids = await run.post_many(await run.recipient(), 80)
        await run.taken(10)
        assert await run.service.stop() == [0]
        assert not list((run.service.folder / "journal").glob("*.journal")), "nothing is left for anybody to adopt"
        await run.service.start()
        for notice in await all_delivered(run, ids):
            assert outcomes(notice) == ["arrived"]
        assert len(run.mail.contents) == len(set(message_ids(run.mail))) == len(ids)
        await run.audited()


async def test_a_seal_that_failed_was_committed_all_the_same(database_url, tmp_path):
    """The worker cannot know: what it may have sealed is closed as not sent, and sent once, by the next attempt."""
    async with running(tmp_path, database_url, wrapper=f"{SABOTAGE}fail_after_commit(seal.seal)", patient=True) as run:
        await run.service.start()
        notice = await run.until(await run.post(await run.recipient(), key="k"), delivered)
        assert outcomes(notice) == ["not_sent", "arrived"]
        assert len(run.mail.contents) == 1
        await run.audited()


async def test_a_result_that_failed_was_committed_all_the_same(database_url, tmp_path):
    """Recording it again changes nothing: one answer, one evidence item."""
    async with running(tmp_path, database_url, wrapper=f"{SABOTAGE}fail_after_commit(record.record)", patient=True) as run:
        await run.service.start()
        notice = await run.until(await run.post(await run.recipient(), key="k"), delivered)
        assert outcomes(notice) == ["arrived"]
        assert [e["kind"] for e in notice["evidence"] if e["kind"] != "intended"] == ["arrived"]
        await run.audited()


async def test_what_is_in_hand_when_its_lease_lapses_is_nobodys_left_over(database_url, tmp_path):
    """Neither the answer nor the renewal gets through until the lease has lapsed: the worker claims its own again, and sends it once."""
    wrapper = f"{SABOTAGE}fail_before(record.record, 9); sabotage.fail_before(claim.renew, 100)"
    async with running(tmp_path, database_url, wrapper=wrapper, worker={"lease_s": 4.5}) as run:
        await run.service.start()
        notice = await run.until(await run.post(await run.recipient(), key="k"), delivered)
        assert outcomes(notice) == ["arrived"]
        assert len(run.mail.contents) == 1
        await run.audited()


async def test_claims_come_back_when_their_past_could_not_be_cleared_up(database_url, tmp_path):
    """The database goes away between a claim and the look at what its last holder left: the claim lapses and is taken again."""
    async with running(tmp_path, database_url) as run:
        process = await run.service.start()
        run.mail.script["CONTENT"] = [smtp_server.HANG]
        notice_id = await run.post(await run.recipient(), key="k")
        await run.mail.reached("CONTENT")
        await run.service.kill(process)
        for path in (run.service.folder / "journal").iterdir():
            path.unlink()
        del run.mail.script["CONTENT"]
        run.service.wrapper = f"{SABOTAGE}fail_before(reconcile.left_over)"
        await run.service.start()
        assert called(await run.until(notice_id, delivered)) == ["unknown", "arrived"]
