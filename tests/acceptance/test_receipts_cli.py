"""`noticesvc receipts parse`: what the parsers find in raw bytes, one JSON line a file, never a traceback."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(sys.executable).with_name("noticesvc")
BOUNCE = b"""\
Date: Sun, 22 Nov 2026 10:48:38 +0000
Content-Type: multipart/report; report-type=delivery-status; boundary="B"

--B
Content-Type: message/delivery-status

Reporting-MTA: dns; relay.test
X-Postfix-Queue-ID: 4DKxyz0001

Final-Recipient: rfc822; zhang@gone.test
Action: failed
Status: 5.1.1
Diagnostic-Code: smtp; 550 5.1.1 No such user

--B--
"""


def parse(kind, *files, **environment):
    done = subprocess.run([PROGRAM, "receipts", "parse", "--provider", kind, *map(os.fspath, files)],
                          capture_output=True, text=True, check=False, env={"PATH": os.defpath, "LC_ALL": "C.UTF-8"} | environment)
    assert "Traceback" not in done.stderr
    return done, [json.loads(line) for line in done.stdout.splitlines()]


def test_a_bounce_is_one_line(tmp_path):
    """The members that are promised, read without an installation."""
    file = tmp_path / "bounce.eml"
    file.write_bytes(BOUNCE)
    done, lines = parse("smtp", file)
    assert done.returncode == 0
    assert lines == [{"file": str(file), "receipts": [{
        "kind": "failed_permanent", "provider_reference": "4DKxyz0001", "recipient": "zhang@gone.test",
        "claimed_time_raw": "Sun, 22 Nov 2026 10:48:38 +0000", "code": "5.1.1", "text": "550 5.1.1 No such user"}]}]


@pytest.mark.parametrize("kind", ["smtp", "mx", "kannel", "sandbox", "http", "aliyun", "tencent", "twilio"])
def test_any_bytes_are_answered(tmp_path, kind):
    """Empty, random, cut, huge and deeply nested files are each one line, and the exit status is 0."""
    luck = random.Random(20261122)
    garbage = [b"", b"\0" * 100, b"[" * 100_000, b"{" * 1000, b"\xff\xfe", BOUNCE[:120], BOUNCE.replace(b"\n", b"\r"),
               b'Content-Type: multipart/mixed; boundary="x"\r\n\r\n--x\r\n' * 2000, *(luck.randbytes(500) for _ in range(10))]
    for number, raw in enumerate(garbage):
        (tmp_path / f"{number:02}").write_bytes(raw)
    files = sorted(tmp_path.iterdir())
    done, lines = parse(kind, *files)
    assert done.returncode == 0, done.stderr
    assert [line["file"] for line in lines] == list(map(str, files))


def test_a_form_and_a_query_of_a_callback_are_read(tmp_path):
    """For providers with callbacks a file is a body, or a query string where the provider reports by GET."""
    file = tmp_path / "query"
    file.write_bytes(b"status=1&time=1764000000\n")
    _, lines = parse("kannel", file)
    assert [(one["kind"], one["claimed_time_raw"]) for one in lines[0]["receipts"]] == [("arrived", "1764000000")]


def test_a_kind_that_its_defaults_do_not_make_is_an_error(tmp_path):
    """One sentence that names the setting, exit status 1, and no list that looks as if nothing had been found."""
    (tmp_path / "picky.py").write_text("""\
from pydantic import BaseModel
from noticesvc.provider import ConfigurationError

class Picky:
    kind, channels = "picky", frozenset({"sms"})
    class Settings(BaseModel):
        code: str
    @classmethod
    def configure(cls, name, channel, timeout_s, settings):
        raise ConfigurationError(f"providers.{name}.code: write seven digits.")

class Broken(Picky):
    kind = "broken"
    @classmethod
    def configure(cls, name, channel, timeout_s, settings):
        raise ZeroDivisionError
""")
    about = tmp_path / "picky-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: picky\nVersion: 1\n")
    (about / "entry_points.txt").write_text("[noticesvc.providers]\npicky = picky:Picky\nbroken = picky:Broken\nother = picky:Picky\n")
    for kind, said in (("picky", "providers.parse.code: write seven digits."), ("broken", "ZeroDivisionError"),
                       ("other", "has another kind")):
        done, lines = parse(kind, about / "METADATA", PYTHONPATH=str(tmp_path))
        assert (done.returncode, lines) == (1, [])
        assert said in done.stderr


def test_an_unknown_kind_names_those_there_are(tmp_path):
    """One sentence, exit status 1."""
    file = tmp_path / "x"
    file.write_bytes(b"")
    done, lines = parse("pigeon", file)
    assert (done.returncode, lines) == (1, [])
    assert "smtp" in done.stderr


def test_bytes_are_read_as_a_configured_provider_does(tmp_path):
    """With --config the operator's own code table counts; a name that is not there is told with those that are."""
    report, settings = tmp_path / "report.json", tmp_path / "config.toml"
    report.write_text('{"m": {"ref": "r", "id": "v-1", "state": "GONE"}}')
    settings.write_text("""[providers.gate]
kind = "http"
channel = "sms"
endpoint = "https://sms.example.com/"
callback = { reference = "m.ref", provider_reference = "m.id", code = "m.state", codes = { GONE = "expired" } }
""")
    done, lines = parse("gate", report, "--config", settings)
    assert done.returncode == 0, done.stderr
    assert [(r["kind"], r["provider_reference"], r["code"]) for r in lines[0]["receipts"]] == [("expired", "v-1", "GONE")]
    done, lines = parse("http", report, "--config", settings)
    assert (done.returncode, lines) == (1, [])
    assert "gate" in done.stderr
