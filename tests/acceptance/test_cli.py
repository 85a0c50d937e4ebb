"""The legal team's commands on a real installation beside its live service: send, show, list, find, contacts, explain."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.asking import caller
from tests.support.ports import free_port
from tests.support.shell import run as run_command
from tests.support.waiting import PATIENCE_S, seen

COMMAND = [sys.executable, "-c", "from noticesvc.cli.main import main; main()"]
UUID7 = r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
FINISHED = {"delivered", "failed"}


class Shell:
    """Runs commands on one installation."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        clean = {name: value for name, value in os.environ.items() if not name.startswith("NOTICESVC_")}
        self.env = clean | {"NOTICESVC_CONFIG": str(folder / "config.toml"), "NOTICESVC_SERVER__PORT": str(port)}

    def run(self, *args, stdin=None):
        return run_command(*args, env=self.env, stdin=stdin, timeout_s=PATIENCE_S)

    def json(self, *args):
        done = self.run(*args, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def put_contacts(self, recipient_id, sms, email):
        with caller(self.url, self.key) as http:
            answer = http.put(f"/v1/recipients/{recipient_id}/contacts", json={"source": "registration", "contacts": [
                {"channel": "sms", "address": sms, "confirmation": "confirmed"},
                {"channel": "email", "address": email, "confirmation": "confirmed"}]})
        assert answer.status_code == 200, answer.text

    def finished(self, notice_id):
        """The notice's story once every delivery of it is finished."""
        return seen(lambda: self.json("notice", "show", notice_id),
                    lambda story: all(one["state"] in FINISHED for one in story["deliveries"]))


@pytest.fixture(scope="module")
def shell(tmp_path_factory):
    """An installation with its service running, and two recipients."""
    made = Shell(tmp_path_factory.mktemp("cli") / "svc")
    done = made.run("init", "--dir", str(made.folder))
    assert done.returncode == 0, done.stderr
    made.key = done.stdout.splitlines()[-1]
    with (made.folder / "log").open("w") as log:
        process = subprocess.Popen([*COMMAND, "serve"], env=made.env, cwd="/", stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        assert process.stdout.readline() == f"ready all {made.url}\n", (made.folder / "log").read_text()
        made.put_contacts("u-1001", "13800138000", "li@example.cn")
        made.put_contacts("u-1001", "13800138000", "li@new.example.cn")
        made.put_contacts("u-1002", "13900139001", "wang@example.cn")
        yield made
    finally:
        process.terminate()
        assert process.wait(PATIENCE_S) == 0
        process.stdout.close()


@pytest.fixture(scope="module")
def sent(shell):
    """A notice to u-1001, its body from stdin, once it is finished."""
    done = shell.run("notice", "send", "--recipient", "u-1001", "--category", "judicial", "--subject", "开庭传票", "--body", "-",
                     "--sms", "【法院】您有一份文书：{link}", "--channel", "in_site", "--channel", "sms", "--channel", "email",
                     "--case", "北京互联网法院", "（2026）京0491民初1号", "first_instance", "传票", "--reference", "case-1",
                     "--idempotency-key", "k1", stdin="请于指定时间到庭。\n")
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(UUID7, done.stdout.strip())
    return shell.finished(done.stdout.strip())


def test_what_is_sent_at_the_shell_is_delivered_by_the_live_service(sent):
    """The service picks up what another process wrote; the SMS carries a link because its text holds one."""
    assert sent["state"] == "served"
    assert [(one["channel"], one["state"], one["carries"]) for one in sent["deliveries"]] == [
        ("in_site", "delivered", "full"), ("sms", "delivered", "link"), ("email", "delivered", "full")]
    assert sent["service"]["rule"] == "agreement-6.3"
    assert sent["content"]["body"] == "请于指定时间到庭。\n"


def test_an_idempotency_key_sends_once(shell, sent):
    """The same command with the same key prints the same id and says that nothing new was sent."""
    again = shell.run("notice", "send", "--recipient", "u-1001", "--category", "judicial", "--subject", "开庭传票", "--body", "-",
                      "--sms", "【法院】您有一份文书：{link}", "--channel", "in_site", "--channel", "sms", "--channel", "email",
                      "--case", "北京互联网法院", "（2026）京0491民初1号", "first_instance", "传票", "--reference", "case-1",
                      "--idempotency-key", "k1", stdin="请于指定时间到庭。\n")
    assert (again.returncode, again.stdout.strip()) == (0, sent["id"])
    assert "nothing new was sent" in again.stderr


def test_a_dry_run_sends_nothing(shell):
    """It shows contacts and texts, and the list stays as it was."""
    before = shell.json("notice", "list")
    done = shell.run("notice", "send", "--recipient", "u-1002", "--category", "platform", "--subject", "维护通知", "--body", "-",
                     "--dry-run", stdin="系统维护。")
    assert done.returncode == 0, done.stderr
    assert {one["channel"] for one in json.loads(done.stdout)["contacts"]} == {"in_site", "email"}
    assert shell.json("notice", "list") == before


@pytest.mark.parametrize(("option", "value"), [
    ("--recipient", "u-1001"), ("--reference", "case-1"), ("--case", "（2026）京0491民初1号"), ("--address", "138 0013 8000"),
    ("--address", "li@EXAMPLE.cn"), ("--address", "li@new.example.cn")])
def test_a_notice_is_found_by_whatever_is_known(shell, sent, option, value):
    """Recipient, reference, case, and any address the recipient ever had, however it is written."""
    assert [one["id"] for one in shell.json("notice", "find", option, value)] == [sent["id"]]


def test_an_address_tells_what_was_sent_there(shell, sent):
    """The old mailbox finds the notice, but nothing was sent there; the new one and the number were used."""
    found = {address: shell.json("notice", "find", "--address", address)[0]["sent_there"]
             for address in ("li@example.cn", "li@new.example.cn", "+8613800138000")}
    assert found == {"li@example.cn": [], "li@new.example.cn": ["email"], "+8613800138000": ["sms"]}


@pytest.mark.parametrize("options", [
    ("--recipient", "u-1002"), ("--reference", "other"), ("--address", "nobody@example.cn"), ("--address", "wang@example.cn"),
    ("--recipient", "u-1001", "--to", "2020-01-01"), ("--recipient", "u-1001", "--state", "cancelled")])
def test_what_does_not_fit_is_not_found(shell, sent, options):
    """Other recipients, references, addresses, times and states find nothing, which is said plainly."""
    done = shell.run("notice", "find", *options)
    assert (done.returncode, done.stdout) == (0, "No notice fits.\n")


def test_dates_are_days_in_shanghai(shell, sent):
    """A date means the whole Shanghai day on which the notice was accepted, from and to alike."""
    from datetime import datetime, timedelta
    accepted = datetime.fromisoformat(sent["accepted_at"]) + timedelta(hours=8)
    day, before, after = (f"{accepted + timedelta(days=n):%Y-%m-%d}" for n in (0, -1, 1))
    found = {(first, last): [one["id"] for one in shell.json("notice", "find", "--reference", "case-1", "--from", first, "--to", last)]
             for first, last in ((day, day), (before, before), (after, after))}
    assert found == {(day, day): [sent["id"]], (before, before): [], (after, after): []}


def test_the_list_goes_page_by_page(shell, sent):
    """--limit and --after walk through everything once, the newest first."""
    done = shell.run("notice", "send", "--recipient", "u-1002", "--category", "inquiry", "--subject", "问询", "--body", "-",
                     "--channel", "in_site", "--response-working-days", "3", stdin="请说明情况。")
    assert done.returncode == 0, done.stderr
    newest = done.stdout.strip()
    whole = [one["id"] for one in shell.json("notice", "list")]
    assert (whole[0], whole[-1]) == (newest, sent["id"])
    first = shell.run("notice", "list", "--limit", "1", "--json")
    assert [one["id"] for one in json.loads(first.stdout)] == [newest]
    assert f"--after {newest}" in first.stderr
    assert [one["id"] for one in shell.json("notice", "list", "--after", newest)] == whole[1:]


def test_the_story_for_people_tells_when_and_why(shell, sent):
    """It shows the service time in Shanghai and UTC under each rule, its evidence, and the steps of the decision."""
    done = shell.run("notice", "show", sent["id"])
    assert done.returncode == 0, done.stderr
    hour = (int(sent["service"]["served_at"][11:13]) + 8) % 24
    assert f" {hour:02d}{sent['service']['served_at'][13:23]}" in done.stdout  # the Shanghai clock
    assert f"{sent['service']['served_at'][11:23]}Z" in done.stdout
    for rule in ("agreement-6.2", "agreement-6.3-sent", "court-31 (analysis)", "court-95 (analysis)"):
        assert rule in done.stdout
    assert f"…{sent['service']['evidence_id'][-8:]}" in done.stdout
    assert "served on in_site at" in done.stdout
    assert "+86138****8000" in done.stdout
    assert "13800138000" not in done.stdout


def test_contacts_at_a_time(shell, sent):
    """Now the new mailbox, in effect before its change the old one, before the recipient existed none; the history has all."""
    history = shell.json("contacts", "show", "u-1001", "--history")
    assert [one["address"] for one in history] == ["+8613800138000", "li@example.cn", "li@new.example.cn"]
    old, new = history[1:]
    assert old["effective_to"] == new["effective_from"]
    at = {moment: [one["address"] for one in shell.json("contacts", "show", "u-1001", "--at", moment)]
          for moment in (old["effective_from"], new["effective_from"], "2020-01-01T00:00:00+08:00")}
    assert list(at.values()) == [["+8613800138000", "li@example.cn"], ["+8613800138000", "li@new.example.cn"], []]
    assert "li@new.example.cn" in shell.run("contacts", "show", "u-1001").stdout


@pytest.mark.parametrize(("args", "status"), [
    (("notice", "show", "0" * 36), 1), (("notice", "show", "01900000-0000-7000-8000-000000000000"), 1),
    (("contacts", "show", "nobody"), 1), (("contacts", "show", "u-1001", "--at", "yesterday"), 1),
    (("notice", "find", "--address", "\x01"), 1), (("notice", "find"), 2), (("notice", "list", "--from", "soon"), 2),
    (("notice", "list", "--after", "x"), 2),
    (("notice", "send", "--recipient", "nobody", "--category", "platform", "--subject", "x", "--body", "-"), 1),
    (("notice", "send", "--recipient", "u-1001", "--category", "platform", "--subject", "x", "--body", "-", "--sms", "短信"), 1),
    (("notice", "send", "--recipient", "u-1001", "--category", "platform", "--subject", "x", "--body", "-", "--as", "nobody"), 1),
    (("notice", "send", "--recipient", "u-1001", "--category", "platform", "--subject", "x"), 2),
])
def test_errors_are_sentences(shell, args, status):
    """What cannot be done ends with a status and a sentence, never a traceback, and prints nothing on stdout."""
    done = shell.run(*args, stdin="正文")
    assert (done.returncode, done.stdout) == (status, "")
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("noticesvc: " if status == 1 else "Usage: ")
    assert "fault of the program" not in done.stderr


def test_explain_answers_around_a_question_that_it_cannot_read(shell):
    """One line a question in order; the unreadable one says where and why, and the status is 1."""
    item = {"id": "e1", "delivery_id": "d", "attempt": 1, "channel": "sms", "kind": "arrived", "observed_at": "2026-10-09T03:00:00Z"}
    good = {"rule": "agreement-6.2", "notice": {"content_sha256": "a" * 64}, "evidence": [item]}
    done = shell.run("explain", "-", stdin=json.dumps([good, {**good, "rule": "x"}, good]))
    first, bad, last = (json.loads(line) for line in done.stdout.splitlines())
    assert (done.returncode, first["served"], last) == (1, True, first)
    assert [fault["pointer"] for fault in bad["errors"]] == ["/1/rule"]
    assert done.stderr.count("\n") == 1
