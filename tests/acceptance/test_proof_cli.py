"""Proofs of what a live service really did with its sandbox: over HTTP, by `noticesvc proof`, checked by `noticesvc verify`."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import shell
from tests.support.asking import caller
from tests.support.ports import free_port
from tests.support.waiting import PATIENCE_S, seen

COMMAND = [sys.executable, "-c", "from noticesvc.cli.main import main; main()"]
BEHAVIOURS = {  # what the sandbox does by address, and where the delivery ends
    "u-fine": ("+8613800138001", "li@example.cn"), "u-gone": ("+8613800138002", "bounce1@example.cn"),
    "u-late": ("+8613800138003", "slow@example.cn"), "u-twice": ("+8613800138005", "dsn@example.cn"),
    "u-refused": ("+8613800138006", "refuse@example.cn"),
}
WANTED = {  # the states in_site, sms, email in which each ends, and how many items of evidence have come by then
    "u-fine": (["delivered", "delivered", "delivered"], 7), "u-gone": (["delivered", "failed", "failed"], 8),
    "u-late": (["delivered", "delivered", "delivered"], 11), "u-twice": (["delivered", "delivered", "delivered"], 10),
    "u-refused": (["delivered", "delivered", "failed"], 7),
}


class Service:
    """An installation in a folder, served by a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, port = folder, free_port()
        clean = {name: value for name, value in os.environ.items() if not name.startswith("NOTICESVC_")}
        self.env = clean | {"NOTICESVC_CONFIG": str(folder / "config.toml"), "NOTICESVC_SERVER__PORT": str(port)}
        done = self.run("init", "--dir", str(folder))
        assert done.returncode == 0, done.stderr
        self.http = caller(f"http://127.0.0.1:{port}", done.stdout.splitlines()[-1])
        with (folder / "log").open("w") as log:
            self.process = subprocess.Popen([*COMMAND, "serve"], env=self.env, cwd="/", stdout=subprocess.PIPE, stderr=log, text=True)
        assert self.process.stdout.readline().startswith("ready"), (folder / "log").read_text()

    def run(self, *args):
        return shell.run(*args, env=self.env, timeout_s=PATIENCE_S)

    def stop(self):
        self.process.terminate()
        assert self.process.wait(PATIENCE_S) == 0
        self.process.stdout.close()


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    made = Service(tmp_path_factory.mktemp("proof") / "svc")
    try:
        yield made
    finally:
        if made.process.poll() is None:
            made.stop()
        made.http.close()


@pytest.fixture(scope="module")
def notices(service):
    """One notice for each behaviour of the sandbox, finished: ids by recipient."""
    made = {}
    for recipient_id, (sms, email) in BEHAVIOURS.items():
        answer = service.http.put(f"/v1/recipients/{recipient_id}/contacts", json={"source": "registration", "contacts": [
            {"channel": "sms", "address": sms, "confirmation": "confirmed"},
            {"channel": "email", "address": email, "confirmation": "confirmed"}]})
        assert answer.status_code == 200, answer.text
        answer = service.http.post("/v1/notices", json={
            "recipient_id": recipient_id, "category": "platform", "content": {
                "subject": "通知", "body": "正文", "sms": "【平台】长短信。" + "很长的短信。" * 30, "sms_carries": "full"}})
        assert answer.status_code == 202, answer.text
        made[recipient_id] = answer.json()["id"]
    def reached():
        """Where each stands; the world outside decides when, and there is nothing to wait on."""
        shown = {recipient_id: service.http.get(f"/v1/notices/{notice_id}").json() for recipient_id, notice_id in made.items()}
        return {recipient_id: ([one["state"] for one in notice["deliveries"]], len(notice["evidence"]))
                for recipient_id, notice in shown.items()}
    seen(reached, lambda found: found == WANTED)
    return made


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("recipient_id", BEHAVIOURS)
def test_a_served_proof_of_each_behaviour_verifies_under_the_served_key(service, notices, recipient_id, tmp_path):
    """What GET …/proof serves is what GET …/notices says, and verifies under the key that the service publishes."""
    notice_id = notices[recipient_id]
    served = service.http.get(f"/v1/notices/{notice_id}/proof", params={"reason": "诉讼举证"})
    assert served.status_code == 200, served.text
    file = tmp_path / "proof.json"
    file.write_bytes(served.content)
    key = service.http.get("/v1/ledger/key").text.split("\n")[0]
    done = service.run("verify", str(file), "--log-key", key)
    assert done.returncode == 0, done.stdout
    proved, told = served.json()["notice"], service.http.get(f"/v1/notices/{notice_id}").json()
    for attempt in (one for delivery in told["deliveries"] for one in delivery["attempts"]):
        del attempt["code"], attempt["passed_over"]  # only in the reading; the bundle's entries say both
    assert {name: proved[name] for name in ("deliveries", "evidence", "state", "id", "deadlines")} == {
        name: told[name] for name in ("deliveries", "evidence", "state", "id", "deadlines")}
    assert proved["service"] | {"alternatives": None} == told["service"] | {"alternatives": None}


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_proofs_are_fetched_at_the_shell_beside_the_live_service(service, notices, tmp_path):
    """`proof get` and `proof contacts` write files that verify; nothing is overwritten; the ledger audits clean afterwards."""
    notice, contacts = tmp_path / "notice.json", tmp_path / "contacts.json"
    done = service.run("proof", "get", notices["u-fine"], "--reason", "内部核查", "-o", str(notice))
    assert done.returncode == 0, done.stderr
    assert service.run("proof", "contacts", "u-fine", "--reason", "内部核查", "-o", str(contacts)).returncode == 0
    for file in (notice, contacts):
        assert service.run("verify", str(file)).returncode == 0
    assert service.run("proof", "get", notices["u-fine"], "--reason", "再查", "-o", str(notice)).returncode == 2
    assert service.run("proof", "get", notices["u-fine"], "--reason", "", "-o", str(tmp_path / "x")).returncode == 2
    unknown = service.run("proof", "get", "x", "--reason", "查", "-o", str(tmp_path / "x"))
    assert (unknown.returncode, (tmp_path / "x").exists()) == (1, False)
    audit = service.run("ledger", "audit")
    assert audit.returncode == 0, audit.stdout
    assert json.loads(notice.read_text())["notice"]["state"] == "served"


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_without_a_running_service_the_shell_says_so(service, notices, tmp_path):
    """No checkpoint appears: one sentence that names the remedy, and no file."""
    service.stop()
    done = service.run("proof", "get", notices["u-fine"], "--reason", "内部核查", "-o", str(tmp_path / "x"))
    assert done.returncode == 1
    assert "noticesvc serve" in done.stderr
    assert not (tmp_path / "x").exists()
