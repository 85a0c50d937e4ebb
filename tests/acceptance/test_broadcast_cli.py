"""`noticesvc broadcast` from the shell against a live service, with a key for each of the two people."""

import csv
import json
import os

import pytest

from bench.service import Service
from tests.support.shell import run as run_command

PATIENCE_S = 90
PEOPLE = {"u-1": ("+8613800138000", "li@example.cn"), "u-2": ("+8613900139003", "chen@example.cn"),
          "u-3": ("+8613900139005", "wu@example.cn")}


class Shell:
    """Somebody with a key, who knows the service's address alone."""

    def __init__(self, service, folder, key):
        clean = {name: value for name, value in os.environ.items() if not name.startswith("NOTICESVC_")}
        self.env = clean | {"NOTICESVC_URL": f"http://127.0.0.1:{service.port}", "NOTICESVC_KEY": key}
        self.folder = folder

    def run(self, *args, stdin=None):
        return run_command("broadcast", *args, env=self.env, stdin=stdin, timeout_s=PATIENCE_S)

    def ok(self, *args):
        done = self.run(*args)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def json(self, *args):
        return json.loads(self.ok(*args, "--json"))

    def create(self, *more):
        body = self.folder / "body.md"
        body.write_text("新版**用户协议**自 2027 年 1 月 1 日起生效。", "utf-8")
        return self.ok("create", "--name", "用户协议更新", "--audience", "upload", "--category", "agreement", "--subject", "用户协议更新",
                       "--body", str(body), "--sms", "【平台】用户协议更新：{link}", *more).strip()


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    made = Service(tmp_path_factory.mktemp("broadcast") / "s", None)
    with made.run():
        for recipient_id, (sms, email) in PEOPLE.items():
            answer = made.client.put(f"/v1/recipients/{recipient_id}/contacts", json={"source": "registration", "contacts": [
                {"channel": "sms", "address": sms, "confirmation": "confirmed"},
                {"channel": "email", "address": email, "confirmation": "confirmed"}]})
            assert answer.status_code == 200, answer.text
        yield made
    made.close()


@pytest.fixture(scope="module")
def creator(service, tmp_path_factory):
    return Shell(service, tmp_path_factory.mktemp("creator"), service.key)


@pytest.fixture(scope="module")
def approver(service, tmp_path_factory):
    made = service.cli("keys", "create", "--config", str(service.folder / "config.toml"), "--name", "second",
                       "--scope", "broadcasts:approve")
    return Shell(service, tmp_path_factory.mktemp("approver"), made.stdout.strip().splitlines()[-1])


def test_a_draft_is_made_listed_and_cancelled(creator):
    """`create` prints the id alone; the list has it with its state; a cancel is asked about and then final."""
    broadcast_id = creator.create("--rate", "sms=50", "--channel", "in_site", "--channel", "sms")
    listed = creator.json("list")
    mine = next(one for one in listed if one["id"] == broadcast_id)
    assert (mine["state"], mine["rates"], mine["channels"]) == ("draft", {"sms": 50}, ["in_site", "sms"])
    assert broadcast_id in creator.ok("list")
    assert creator.run("cancel", broadcast_id, stdin="n\n").returncode == 1
    assert creator.ok("cancel", broadcast_id, "--yes").splitlines()[0] == "cancelled"
    assert creator.json("watch", broadcast_id)["state"] == "cancelled"


@pytest.mark.parametrize(("words", "sentence"), [
    (("create", "--name", "x", "--audience", "all", "--category", "agreement", "--subject", "S"), "Give --subject and --body"),
    (("create", "--name", "x", "--audience", "all", "--category", "agreement", "--template", "none"), "/notice/template/name"),
    (("create", "--name", "x", "--audience", "all", "--category", "agreement", "--template", "t", "--rate", "sms"), "CHANNEL=N"),
    (("watch", "01a20301-16b4-79e7-8001-65264b9c8864"), "There is no such broadcast"),
    (("watch", "x"), ""),
    (("list", "--url", "http://127.0.0.1:1"), "Nothing answers at http://127.0.0.1:1"),
    (("list", "--url", "nowhere"), "http://HOST:PORT"),
    (("list", "--key-file", "/dev/null"), "--key-file FILE or NOTICESVC_KEY"),
])
def test_what_goes_wrong_is_one_sentence_with_the_next_step(creator, words, sentence):
    """Wrong use ends with 2, a refusal with 1; never a traceback."""
    done = creator.run(*words)
    assert done.returncode in {1, 2}
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_a_key_without_the_scope_is_told_where_another_comes_from(approver):
    """The service names the scope, the command says how such a key is made."""
    done = approver.run("create", "--name", "x", "--audience", "all", "--category", "agreement", "--template", "t")
    assert done.returncode == 1
    assert "broadcasts:write" in done.stderr
    assert "noticesvc keys create" in done.stderr


def test_from_the_draft_to_the_report(creator, approver):
    """Upload with a rejected line, preview, refusal of the creator's approval, the second person's, watching, and the report."""
    broadcast_id = creator.create()
    upload = creator.folder / "recipients.csv"
    upload.write_text("recipient_id\r\nu-1\r\nu-2\r\nnobody\r\nu-2\r\nu-3\r\n", "utf-8")
    done = creator.run("upload", broadcast_id, str(upload))
    assert done.returncode == 1
    assert "accepted 3, duplicates 1, rejected 1" in done.stdout
    assert "【平台】用户协议更新" in creator.ok("preview", broadcast_id, "--recipient", "u-1")
    creator.ok("warnings", broadcast_id)
    own = creator.run("approve", broadcast_id)
    assert own.returncode == 1
    assert "--key-file FILE or NOTICESVC_KEY" in own.stderr
    assert approver.ok("approve", broadcast_id).startswith("running")
    last = json.loads(creator.ok("watch", broadcast_id, "--json").splitlines()[-1])
    assert (last["state"], last["counts"]["served"]) == ("completed", 3)
    rows = list(csv.DictReader(creator.ok("report", broadcast_id).lstrip("\ufeff").splitlines()))
    assert {row["recipient_id"]: row["state"] for row in rows} == dict.fromkeys(PEOPLE, "served")
    sheet = creator.folder / "report.csv"
    creator.ok("report", broadcast_id, "--lang", "en", "--excel", "--out", str(sheet))
    assert sheet.read_bytes().startswith(b"\xef\xbb\xbfrecipient_id,")
    assert creator.run("report", broadcast_id, "--pdf", "--excel", "--out", str(creator.folder / "none.pdf")).returncode == 2
    pdf = creator.folder / "report.pdf"
    creator.ok("report", broadcast_id, "--pdf", "--out", str(pdf))
    assert pdf.read_bytes().startswith(b"%PDF")
    assert creator.run("report", broadcast_id, "--pdf", "--out", str(pdf)).returncode == 2
