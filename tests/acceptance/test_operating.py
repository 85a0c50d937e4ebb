"""What operators do at the shell: `doctor` before a start and beside a service, `status`, and the metrics of a real process."""

import json

import pytest

from tests.support.process import delivered, running
from tests.support.waiting import until


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
