"""The documents are true where a program can tell: links lead somewhere, and the worked provider works."""

import hashlib
import hmac
import http.server
import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noticesvc.provider import (
    Callback,
    ConfigurationError,
    Message,
    OutcomeUnknown,
    PermanentFailure,
    Provider,
    ProviderUnavailable,
    Rejected,
)

ROOT = Path(__file__).resolve().parents[2]
GUIDE = ROOT / "docs" / "adding-a-provider.md"
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_link_inside_the_house_leads_somewhere(document):
    """A relative link in a document names a file or folder that exists."""
    targets = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text("utf-8"))
    assert [target for target in targets if not (document.parent / target).exists()] == []


def test_every_decision_is_in_the_index():
    """docs/decisions/README.md lists each decision there is, once, in their order."""
    folder = ROOT / "docs" / "decisions"
    index = (folder / "README.md").read_text("utf-8")
    numbered = sorted(folder.glob("[0-9]*.md"))
    assert numbered
    assert re.findall(r"^\| \[\d+\]\((.+?)\)", index, re.MULTILINE) == [path.name for path in numbered]


@pytest.fixture(scope="module")
def example():
    """The class that the guide shows, made from the guide's own text."""
    block = re.search(r"```python\n(.*?)```", GUIDE.read_text("utf-8"), re.DOTALL)
    assert block
    names: dict = {"__name__": "guide"}
    exec(compile(block.group(1), str(GUIDE), "exec"), names)
    return names["Example"]


@pytest.fixture
def gateway() -> Iterator[http.server.ThreadingHTTPServer]:
    """A vendor on loopback that gives each request the next of its `answers` and keeps what it got."""

    class Vendor(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            self.server.taken.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            status, body = self.server.answers.pop(0)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments):
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Vendor) as server:
        server.taken, server.answers = [], []
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def configured(example, url: str = "http://127.0.0.1:9/"):
    """The guide's provider with a throw-away key."""
    return example.configure("sms", "sms", 60.0, example.Settings(url=url, key="k"))


MESSAGE = Message(
    reference="r1", message_id="m1@example.com", channel="sms", to="+8613800138000", subject="", text="您好", mime=b"",
    callback_url=None, commercial=False,
)


@pytest.mark.parametrize(("settings", "named"), [
    ({"url": "ftp://x/", "key": "k"}, "url"), ({"key": "schlüssel"}, "key"), ({"key": ""}, "key")])
def test_the_worked_provider_refuses_what_cannot_be_used(example, settings, named):
    """The sentence names the setting."""
    with pytest.raises(ConfigurationError, match=rf"providers\.gate\.{named}: "):
        example.configure("gate", "sms", 5.0, example.Settings(**settings))


def test_what_a_plug_in_imports_is_typed():
    """The package says to type checkers outside that it has types."""
    assert (ROOT / "noticesvc" / "py.typed").is_file()


def test_the_worked_provider_is_one(example):
    """The guide's class has all that the protocol asks for."""
    assert isinstance(configured(example), Provider)


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (429, b"", ProviderUnavailable), (401, b"", ProviderUnavailable), (410, b"", PermanentFailure), (422, b"", Rejected),
        (500, b"", OutcomeUnknown), (503, b"", OutcomeUnknown), (302, b"", OutcomeUnknown), (202, b'{"id": 7}', OutcomeUnknown),
        (404, b"", OutcomeUnknown), (200, b"<html>", OutcomeUnknown), (200, b"[]", OutcomeUnknown),
    ],
)
async def test_the_worked_provider_says_how_certain_a_failure_is(example, gateway, status, body, error):
    """Throttled, no such number, refused, broken and unreadable answers become the exceptions that the guide's table names."""
    gateway.answers.append((status, body))
    provider = configured(example, f"http://127.0.0.1:{gateway.server_port}/")
    await provider.open(None)
    with pytest.raises(error):
        await provider.submit(MESSAGE)
    await provider.close()
    assert len(gateway.taken) == 1


async def test_the_worked_provider_hands_over(example, gateway):
    """A taken message is submitted, with their id, our reference and the raw answer."""
    gateway.answers.append((200, b'{"id": 77}'))
    provider = configured(example, f"http://127.0.0.1:{gateway.server_port}/")
    await provider.open(None)
    submission = await provider.submit(MESSAGE)
    await provider.close()
    assert (submission.outcome, submission.provider_reference, submission.raw) == ("submitted", "77", b'{"id": 77}')
    assert gateway.taken == [{"to": "+8613800138000", "text": "您好", "ref": "r1"}]


def signed(body: bytes) -> Callback:
    """A callback as the vendor would sign it with the throw-away key."""
    return Callback("POST", {}, {"x-signature": hmac.new(b"k", body, hashlib.sha256).hexdigest()}, body)


def test_the_worked_provider_reads_a_signed_report(example):
    """A signed report becomes one authenticated receipt; their naive time is read as Asia/Shanghai. Unsigned it is 401, and read."""
    body = b'{"status": "NOEXIST", "ref": "r1", "at": "2026-03-01T09:30:00"}'
    (receipt,) = configured(example).parse_callback(signed(body)).receipts
    assert (receipt.kind, receipt.reference, receipt.code) == ("failed_permanent", "r1", "NOEXIST")
    assert (receipt.claimed_time_raw, receipt.claimed_at) == ("2026-03-01T09:30:00", "2026-03-01T01:30:00.999Z")
    assert receipt.authenticated_by == "hmac-sha256"
    unsigned = configured(example).parse_callback(Callback("POST", {}, {}, body))
    assert (unsigned.status, [(r.kind, r.authenticated_by) for r in unsigned.receipts]) == (401, [("failed_permanent", None)])


@given(body=st.binary(max_size=200), signature=st.text(max_size=80))
def test_the_worked_provider_survives_garbage(example, body, signature):
    """Whatever the bytes: unsigned is 401 without receipts, signed garbage never raises."""
    provider = configured(example)
    unsigned = provider.parse_callback(Callback("POST", {}, {"x-signature": signature}, body))
    assert (unsigned.status, tuple(unsigned.receipts)) == (401, ())
    assert provider.parse_callback(signed(body)).status in {200, 400}
