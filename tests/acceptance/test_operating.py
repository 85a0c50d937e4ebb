"""What operators do at the shell: `doctor` before a start and beside a service, `status`, and the metrics of a real process."""

import asyncio
import json
import os
import pty
import select
import signal
import sys
import time

import pytest

from bench.crash.service import ROOT
from tests.support.process import delivered, running
from tests.support.waiting import PATIENCE_S, until


@pytest.fixture
async def live(tmp_path):
    """A live service on SQLite with a scripted mail server and gateway."""
    async with running(tmp_path, None, patient=True) as made:
        await made.service.start()
        yield made


async def at_the_shell(live, *args):
    """Run a command on the installation: its status and what it printed."""
    return await live.service.command(*args, "--config", str(live.service.config_file))


async def findings(live):
    status, output = await at_the_shell(live, "doctor", "--json")
    return status, {one["subject"]: one for one in json.loads(output)}


async def test_doctor_finds_a_live_installation_fit(live):
    """Everything that can be asked answers; that its public address is of this machine alone is a warning and no failure."""
    status, found = await findings(live)
    assert status == 0, found
    fit = {"configuration", "ledger key", "vault key", "disk", "database", "migrations", "provider mail", "provider sms"}
    assert {name for name, one in found.items() if one["state"] == "ok"} >= fit
    assert found["public_url"]["state"] == "warning"
    assert str(live.mail.port) in found["provider mail"]["says"]
    status, output = await at_the_shell(live, "doctor")
    assert status == 0
    assert "provider mail" in output


async def test_doctor_names_a_provider_that_is_gone_and_a_key_that_others_may_read(live):
    """Each finding says what to do, and the status is 1."""
    await live.mail.stop()
    (live.service.folder / "vault.key").chmod(0o644)
    status, found = await findings(live)
    assert (status, found["provider mail"]["state"], found["vault key"]["state"]) == (1, "failed", "failed")
    assert "chmod 600" in found["vault key"]["says"]


async def test_doctor_says_what_is_wrong_with_a_configuration(live):
    """A configuration that cannot be used is the only finding: nothing else can be asked."""
    live.service.config_file.write_text(live.service.config_file.read_text() + "\n[server2]\nport = 1\n")
    status, found = await findings(live)
    assert (status, list(found)) == (1, ["configuration"])
    assert "server2" in found["configuration"]["says"]


async def test_status_and_metrics_tell_what_waits_and_what_was_done(live):
    """After a delivery nothing waits and nobody was dropped; the attempt is counted for its provider."""
    name = await live.recipient()
    done = await live.post(name)
    await live.until(done, delivered)

    async def status_now():
        status, output = await at_the_shell(live, "status", "--json")
        assert status == 0, output
        return json.loads(output)

    told = await until(status_now, lambda found: found["checkpoint_size"] > 0)  # the sequencer takes in what was done
    assert (told["queues"], told["unknown"], told["unowned"]) == ({}, 0, [])
    status, output = await at_the_shell(live, "status")
    assert (status, "every unfinished notice has an owner" in output) == (0, True)

    async def measured():
        return (await live.caller.get("/metrics"))[1]

    wanted = {"noticesvc_ledger_checkpoint_age_seconds", "noticesvc_deliveries_unowned 0.0",
              'noticesvc_attempts_total{channel="email",outcome="arrived",provider="mail"} 1.0',
              'noticesvc_call_seconds_count{provider="mail"} 1.0'}
    await until(measured, lambda text: all(line in text for line in wanted))


def seen_on(terminal, word, times):
    """What a program wrote to its terminal until a word was there so often, or there was no more, or patience was at an end."""
    found, ends = b"", time.monotonic() + PATIENCE_S
    while found.count(word) < times and select.select([terminal], [], [], max(0.0, ends - time.monotonic()))[0]:
        try:
            found += os.read(terminal, 65536)
        except OSError:  # so a terminal says that its last program has ended
            break
    return found


async def test_status_watch_is_told_anew_until_it_is_interrupted(live):
    """On a terminal the table is drawn again and again; Ctrl-C is its regular end."""
    ours, theirs = pty.openpty()
    # A program that was started in the background inherits that Ctrl-C is ignored; at a terminal it is not.
    heeds = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", f"{heeds}; from noticesvc.cli.main import main; main()", "status", "--watch",
        "--config", str(live.service.config_file), cwd=ROOT, env=os.environ | {"TERM": "xterm"}, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    try:
        drawn = await asyncio.to_thread(seen_on, ours, b"every unfinished notice has an owner", 3)
        assert drawn.count(b"every unfinished notice has an owner") >= 3, drawn
        process.send_signal(signal.SIGINT)
        async with asyncio.timeout(PATIENCE_S):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        os.close(ours)


@pytest.mark.postgres
async def test_doctor_asks_postgresql_for_its_clock_and_its_promises_and_the_dns_for_names(postgres_url, tmp_path):
    """A server that does not flush its commits, and a name that nobody knows, are failures; the clock and the calendar are told."""
    async with running(tmp_path, postgres_url) as made:
        text = made.service.config_file.read_text()
        made.service.config_file.write_text(text.replace("[providers.mail]\n", '[providers.mail]\nhost = "mail.invalid"\n'))
        status, found = await findings(made)
        assert status == 1
        assert (found["clock"]["state"], found["migrations"]["state"]) == ("ok", "ok")
        assert (found["durability"]["state"], "fsync" in found["durability"]["says"]) == ("failed", True)  # as the tests run it
        assert (found["provider mail"]["state"], "mail.invalid is not known" in found["provider mail"]["says"]) == ("failed", True)
        assert "Working days are known until the end of" in found["calendar"]["says"]
