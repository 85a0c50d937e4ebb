"""Logs hold constant text and fields, never an address, number, key or content: not in fields, exceptions or library records."""

import io
import json
import logging
import subprocess
import sys

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from noticesvc import logs
from noticesvc.errors import ConfigurationError

ID = "01890a5d-ac96-774b-bcce-b302099a8057"
# What a log may never show, each as it might slip in.
SECRETS = [
    "li@example.cn", "李雷@例子.中国", "o'neill+tag@sub.example.com", "+8613800138000", "13800138000", "138 0013 8000",
    "+1 (202) 555-0143", "138-0013-8000", "nsk_fTS6hYU0TvmknAGGxxJmtByNGGQZILc9G4Cxj_ajYNE",
    "nsi_01890a5d-ac96-774b-bcce-b302099a8057.1790000000000000.AAAAAAAAAAAAAAAAAAAAAAAA",
    "PRIVATE+KEY+notices.example.com+0a1b2c3d+AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyAh", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
]


@pytest.fixture
def written():
    """Configures logging into a buffer and gives its lines; what was configured before is put back."""
    before = structlog.get_config(), logging.getLogger().handlers[:], logging.getLogger().level
    stream = io.StringIO()
    logs.configure("debug", stream)
    structlog.configure(cache_logger_on_first_use=False)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    structlog.configure(**before[0])
    logging.getLogger().handlers[:] = before[1]
    logging.getLogger().setLevel(before[2])
    logging.captureWarnings(capture=False)


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("around", ["{}", "2026-11-22T10:41:47Z {}", "before {} after", "<{}>", "to={},", "({})", "发给 {} 的通知", '"{}"'])
def test_no_secret_leaves_scrub(secret, around):
    """Whatever stands around it, an address, number or key is masked, and the text around it stays."""
    scrubbed = logs.scrub(around.format(secret))
    assert secret not in scrubbed
    assert logs.MASK in scrubbed
    assert secret[1:-1] not in scrubbed


@given(st.from_regex(r"\A\+[1-9][0-9]{6,14}\Z"), st.text(alphabet=" .,;:!?()<>\"'，。", max_size=5))
def test_every_e164_number_is_masked(number, around):
    """Any number of ITU-T E.164 length (seven digits and more here) is masked between any punctuation."""
    assert number[1:] not in logs.scrub(f"{around}{number}{around}")


@given(st.emails())
def test_every_mail_address_loses_its_local_part(address):
    """Any RFC 5322 address that hypothesis can think of is no longer there."""
    assert address not in logs.scrub(f"could not reach {address} today")


@pytest.mark.parametrize("text", ["tel13800138000", "x8613800138000y", "Zli@example.cn", f"{ID}li@example.cn",
                                  "2026-11-22T10:41:47Zli@b.cn"])
def test_a_neighbour_without_a_space_hides_nothing(text):
    """A number or address that grew onto another word is masked all the same."""
    assert not [word for word in ("13800138000", "li@") if word in logs.scrub(text)]


@given(st.text(max_size=300), st.text(max_size=40))
def test_scrub_takes_any_text(text, name):
    """No text makes the redacting step fail, and it is bounded."""
    assert len(logs.scrub(text)) <= 2000
    json.dumps(logs.redact(None, "info", {name: text, "event": text}))


def test_what_operators_need_stays():
    """Ids of ours, times, versions, ports and small counts are readable."""
    for kept in (ID, "2026-11-22T10:41:47.123456Z", "version 0001", "127.0.0.1:8080", "took 250 ms", "lease of 60 s", "size 123456"):
        assert logs.scrub(kept) == kept


def test_a_password_in_a_url_is_masked_and_its_host_stays():
    """The user information of a URL (RFC 3986, 3.2.1) goes, even with an @ in the password; scheme and host stay."""
    scrubbed = logs.scrub("cannot connect to postgresql+asyncpg://svc:hunter2@x@db.internal/notices now")
    assert "hunter2" not in scrubbed
    assert "svc" not in scrubbed
    assert "postgresql+asyncpg://" in scrubbed
    assert "db.internal/notices now" in scrubbed


@pytest.mark.parametrize("name", ["to", "address", "content", "text", "body", "recipient_id", "reference", "secret", "password", "Subject"])
def test_closed_fields_are_masked_by_name(name):
    """A field of these names is masked whatever it holds, also inside another field."""
    for value in ("plain", 7, ["a", "b"], {"x": "y"}, b"bytes"):
        assert logs.redact(None, "info", {name: value})[name] == logs.MASK
        assert logs.redact(None, "info", {"detail": {"deeper": [{name: value}]}})["detail"]["deeper"][0][name] == logs.MASK


def test_a_mobile_number_as_an_integer_is_masked_and_microseconds_are_not():
    """13800138000 is a phone number even as an integer; a time in microseconds is not."""
    shown = logs.redact(None, "info", {"n": 13800138000, "m": 8613800138000, "at_micros": 1_790_000_000_000_000, "count": 500})
    assert shown == {"n": logs.MASK, "m": logs.MASK, "at_micros": 1_790_000_000_000_000, "count": 500}


def test_an_event_is_one_json_line_in_utc(written):
    """Time in UTC, level, event, fields; one object a line."""
    structlog.get_logger().info("claimed", number=3)
    (line,) = written()
    assert (line["event"], line["level"], line["number"]) == ("claimed", "info", 3)
    assert line["at"].endswith("Z")


def test_exceptions_show_types_and_places_but_no_foreign_words(written):
    """A foreign exception's message may repeat content, so only its type and frames are written; so for its cause."""
    try:
        try:
            raise KeyError("李雷 的通知内容")
        except KeyError as inner:
            raise ValueError("content: 机密 for li@example.cn") from inner
    except ValueError:
        structlog.get_logger().error("turn failed", exc_info=True)
    (line,) = written()
    assert [link["type"] for link in line["exception"]] == ["ValueError", "KeyError"]
    assert "test_logs.py" in line["exception"][0]["frames"][-1]
    assert not [word for word in ("李雷", "机密", "li@example.cn") if word in json.dumps(line, ensure_ascii=False)]


def test_our_own_errors_keep_their_sentence(written):
    """Sentences of this project name the remedy and hold no value, so they stay, scrubbed all the same."""
    structlog.get_logger().error("refused", exc_info=ConfigurationError("worker.lease_s is too short for li@example.cn"))
    (line,) = written()
    assert line["exception"][0]["says"] == f"worker.lease_s is too short for {logs.MASK}"


def test_library_records_keep_their_constant_text_alone(written):
    """What a library puts into its message's arguments, or below its first line, is not written."""
    library = logging.getLogger("aiosmtplib")
    library.warning("RCPT refused for %s: %r", "li@example.cn", b"secret words")
    library.error("Task exception was never retrieved\nfuture: <Task exception=KeyError('机密')>")
    library.warning("%s", "机密 li@example.cn")
    try:
        raise RuntimeError("机密")
    except RuntimeError:
        logging.getLogger("uvicorn.error").exception("Exception in ASGI application\n")
    lines = written()
    assert [line["event"] for line in lines] == [
        "RCPT refused for %s: %r", "Task exception was never retrieved", "a library's message without constant text",
        "Exception in ASGI application"]
    assert lines[3]["exception"][0]["type"] == "RuntimeError"
    text = json.dumps(lines, ensure_ascii=False)
    assert not [word for word in ("li@example.cn", "secret words", "机密") if word in text]


def test_libraries_are_quiet_below_warning_and_access_is_not_logged(written):
    """uvicorn's start-up chatter and its access log, which holds paths with ids of recipients, are not written."""
    logging.getLogger("uvicorn.error").info("Uvicorn running on http://127.0.0.1:8080")
    logging.getLogger("uvicorn.access").warning('"GET /v1/recipients/u-1001/contacts"')
    assert written() == []


def test_logs_go_to_stderr_by_default(capsys):
    """stdout belongs to what a command prints, such as the line `ready`."""
    before = structlog.get_config(), logging.getLogger().handlers[:], logging.getLogger().level
    try:
        logs.configure("info")
        structlog.get_logger().info("somewhere")
        assert [part.count("somewhere") for part in capsys.readouterr()] == [0, 1]
    finally:
        structlog.configure(**before[0])
        logging.getLogger().handlers[:] = before[1]
        logging.getLogger().setLevel(before[2])
        logging.captureWarnings(capture=False)


def test_a_log_that_cannot_be_written_raises_nothing(tmp_path):
    """On a full disk a line is lost; whoever logged goes on, and what comes when there is room again is a whole line."""
    code = ("import resource, signal, sys; from noticesvc import logs; import structlog; logs.configure(); log = structlog.get_logger()\n"
            "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); log.error('before')\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY)); [log.error('lost') for _ in range(200)]\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY)); log.error('caught up')\n"
            "log.error('after'); print('went on')")
    with (tmp_path / "log").open("wb") as file:
        done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=file, check=True, text=True)
    assert done.stdout == "went on\n"
    assert json.loads((tmp_path / "log").read_text().splitlines()[-1])["event"] == "after"
