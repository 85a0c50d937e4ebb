"""Outside anchors against real local servers: good ones get into bundles that verify, bad ones never do and hold up nobody."""

import asyncio
import contextlib
import subprocess
from base64 import b64decode
from dataclasses import replace

import pytest
from aiohttp import web

from noticesvc import metrics
from noticesvc.dispatch.anchors import Anchors
from noticesvc.ledger import key, note
from noticesvc.operations import audit, proving
from noticesvc.proof import timestamps
from noticesvc.proof.verify import verify
from noticesvc.storage import tables as t
from noticesvc.witness import memory, witness
from noticesvc.witness.server import application
from tests.fakes.tsa import Authority, Tsa
from tests.support import proofs, waiting
from tests.support.ledger import SIGNER

KEYS = (SIGNER.verifier,)


@pytest.fixture
def authority(tmp_path, needs):
    needs("openssl", "apt-get install openssl")
    return Authority(tmp_path / "tsa")


@pytest.fixture
async def desk(database_url):
    """An office whose clock is the real one: services tell the real time."""
    async with proofs.desk(database_url) as made:
        made.house.database.sources.clock.micros = _now()
        await made.recipient()
        yield made


def _now():
    import time
    return time.time_ns() // 1000


@contextlib.asynccontextmanager
async def anchored(desk, *, timeout_s=60.0, **parties):
    """Anchors of these parties, started and stopped: tsa=[(url, roots)], witnesses=[(url, key)]."""
    made = Anchors(desk.house.database, KEYS, lambda: True, timeout_s=timeout_s)
    for url, roots in parties.get("tsa", ()):
        made.add_tsa(url, roots, 0.05, late_after_s=0.0)
    for url, verifier in parties.get("witnesses", ()):
        made.add_witness(url, verifier, 0.05, late_after_s=0.0)
    await made.start()
    try:
        yield made
    finally:
        await made.stop()


@contextlib.asynccontextmanager
async def serving(app):
    """A Starlette application on a port of its own; its URL."""
    import uvicorn
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None, lifespan="off", ws="none"))
    task = asyncio.create_task(server._serve())
    while not server.started:
        await asyncio.sleep(0.005)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await task


async def until(condition):
    """Wait for something; pytest's timeout ends what never comes true."""
    while not (found := await condition()):
        await asyncio.sleep(0.01)
    return found


async def test_both_services_stamp_and_the_bundle_verifies(desk, authority):
    """A bundle carries a token of each service; it verifies with their roots, fails with others, and openssl agrees."""
    notice_id = await desk.notice(channels=("in_site",))
    await desk.deliver_in_site()
    await desk.sequence()
    roots = [authority.root]
    async with (Tsa(authority.openssl) as one, Tsa(authority.own) as other,
                anchored(desk, tsa=[(one.url, roots), (other.url, roots)]) as anchors):
        await until(lambda: _count(desk, t.ledger_timestamp, 2))
        await until(lambda: _quiet(anchors))
    await desk.notice(channels=("in_site",))  # the log goes on, so that the trees must be joined
    await desk.sequence()
    bundle = await desk.proof(notice_id)
    assert len(bundle["timestamps"]) == 2
    assert all(one["consistency"] for one in bundle["timestamps"])
    report = verify(proofs.data(bundle), KEYS, (), roots)
    assert report.failures == ()
    assert len(report.stamped) == 2
    stranger = Authority(authority.folder / "stranger").root
    assert any("does not lead to a given root" in failure for failure in verify(proofs.data(bundle), KEYS, (), [stranger]).failures)
    for at, item in enumerate(bundle["timestamps"]):
        text, token = authority.folder / f"{at}.note", authority.folder / f"{at}.token"
        text.write_bytes(item["checkpoint"].encode())
        token.write_bytes(b64decode(item["token"]))
        done = subprocess.run(["openssl", "ts", "-verify", "-in", token, "-token_in", "-data", text, "-CAfile", authority.roots_file],
                              capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stdout.strip()) == (0, "Verification: OK"), done.stderr


async def _count(desk, table, wanted):
    return len(await desk.house.rows(table)) >= wanted


def answers(authority):
    """What a bad service can answer, and the word by which its lateness is explained."""
    stranger = Authority(authority.folder / "stranger")
    return {
        "another imprint": (lambda request: authority.own(request, message=b"other"), "another text"),
        "another nonce": (lambda request: authority.own(request, nonce=5), "another request"),
        "another root": (stranger.own, "does not lead to a given root"),
        "garbage": (lambda _request: b"\x30\x03\x02\x01\x00", "no time-stamp response"),
        "bytes": (lambda _request: b"\xff" * 300, "no time-stamp response"),
        "nothing": (lambda _request: b"", "no time-stamp response"),
        "too much": (lambda _request: b"x" * 1_000_000, "too long"),
        "a refusal": (lambda request: authority.own(request, status="rejection"), "refused"),
        "another time": (lambda request: authority.own(request, off_s=-3600), "five minutes"),
        "a changed byte": (lambda request: _flipped(authority.own(request)), ""),
        "an old answer": (_replaying(authority), "another"),
    }


def _flipped(data):
    return data[:-5] + bytes([data[-5] ^ 1]) + data[-4:]


def _replaying(authority):
    from rfc3161_client import HashAlgorithm, TimestampRequestBuilder
    old = authority.own(TimestampRequestBuilder().data(b"old").hash_algorithm(HashAlgorithm.SHA256).build().as_bytes())
    return lambda _request: old


def kept(names):
    """How many answers of each were kept, as Prometheus counts them: over all tests of this process."""
    return {name: metrics.REGISTRY.get_sample_value("noticesvc_anchor_answers_total", {"anchor": name, "result": "ok"}) for name in names}


async def test_a_service_that_lies_or_is_silent_never_gets_into_a_bundle(desk, authority):
    """Each kind of bad answer, a hanging service and a dead one: nothing is kept, who is late is told why, notices go on."""
    notice_id = await desk.notice(channels=("in_site",))
    await desk.sequence()
    async with contextlib.AsyncExitStack() as stack:
        parties, words = [], {}
        bad = [(Tsa(answer), word) for answer, word in answers(authority).values()]
        bad += [(Tsa(None), "cannot be reached"), (Tsa(authority.own, status=500), "status 500")]
        for one, word in bad:
            await stack.enter_async_context(one)
            parties.append((one.url, [authority.root]))
            words[f"tsa:{one.url.split('/')[2]}"] = word
        parties.append(("http://127.0.0.1:1/tsr", [authority.root]))
        words["tsa:127.0.0.1:1"] = "cannot be reached"
        before = kept(words)  # by somebody else's service, which had the same port
        anchors = await stack.enter_async_context(anchored(desk, tsa=parties, timeout_s=2.0))

        async def told():
            return dict(anchors.faults())

        def rightly(faults):
            """Each says its own word; a busy machine may be too slow for one round, which is another word, but not for all."""
            return faults.keys() == words.keys() and all(
                "no answer yet" not in faults[name] and word in faults[name] for name, word in words.items())
        served = await desk.deliver_in_site()
        await waiting.until(told, rightly)
        assert served == 1
        owing = {name for name in words if (metrics.REGISTRY.get_sample_value("noticesvc_anchor_owing_seconds", {"anchor": name}) or 0) > 0}
        assert owing == words.keys()
        assert kept(words) == before  # each owes an answer, and none ever gave one
    assert await desk.house.rows(t.ledger_timestamp) == []
    bundle = await desk.proof(notice_id)
    assert bundle["timestamps"] == []
    assert verify(proofs.data(bundle), KEYS).ok


async def test_a_witness_cosigns_and_the_bundle_says_so(desk, tmp_path):
    """The stand-alone witness cosigns each checkpoint that extends the last; the bundle names it, and its absence is waited for."""
    signer = key.generate("witness.example.cn", bytes([7]) * 32, key.COSIGNATURE)
    vkey = signer.verifier.vkey
    desk.house.world = replace(desk.house.world, witnesses=(vkey,))
    notice_id = await desk.notice(channels=("in_site",))
    await desk.sequence()
    reading = await desk.write(proving.read_notice, desk.access, notice_id, "r")
    await desk.sequence()
    assert await desk.house.database.read(proving.notice_proof, desk.house.world, reading, patient=True) is None
    hasty = await desk.house.database.read(proving.notice_proof, desk.house.world, reading)
    assert hasty["cosigners"] == []
    held = memory.Memory(tmp_path / "witness")
    judge = witness.Witness(signer, KEYS, held, lambda: 1_790_000_000)
    async with serving(application(judge, vkey)) as url, anchored(desk, witnesses=[(url, signer.verifier)]) as anchors:
        for wanted in (1, 2, 3):
            await until(lambda wanted=wanted: _count(desk, t.ledger_cosignature, wanted))
            await desk.notice(channels=("in_site",))
            await desk.sequence()
        await until(lambda: _quiet(anchors))
    held.close()
    bundle = await desk.house.database.read(proving.notice_proof, desk.house.world, reading, patient=True)
    assert bundle["cosigners"] == [vkey]
    assert verify(proofs.data(bundle), KEYS, [signer.verifier]).ok
    assert vkey.split("+")[0] in bundle["entries"][0]["tlog_proof"]
    found = await desk.house.database.read(audit.audit_database, list(KEYS), None, 10**9, lambda *_: None, desk.house.world)
    assert found.findings == ()


async def _quiet(anchors):
    return anchors.faults() == {}


async def test_a_witness_that_lies_or_is_silent_never_gets_into_a_bundle(desk):
    """A cosignature of another text, by another key, garbage, a redirect, silence: nothing is kept, and each is told."""
    signer, other = (key.generate("witness.example.cn", bytes([n]) * 32, key.COSIGNATURE) for n in (7, 8))
    vkey = signer.verifier.vkey
    await desk.notice(channels=("in_site",))
    await desk.sequence()
    ended = asyncio.Event()

    def text_of(body):
        return note.parse(body.decode().partition("\n\n")[2]).text
    answers = {
        "/false": lambda body: web.Response(text=note.cosign(text_of(body).replace("\n", "\nx", 1), signer, 1)),
        "/stranger": lambda body: web.Response(text=note.cosign(text_of(body), other, 1)),
        "/garbage": lambda _body: web.Response(body=b"\xff\x00"),
        "/huge": lambda _body: web.Response(body=b"x" * 1_000_000),
        "/size": lambda _body: web.Response(status=409, body=b"999999\n", headers={"Content-Type": "text/x.tlog.size"}),
        "/loop": lambda _body: web.Response(status=409, body=b"1\n", headers={"Content-Type": "text/x.tlog.size"}),
        "/away": lambda _body: web.Response(status=302, headers={"Location": "/false/add-checkpoint"}),
    }

    async def serve(request):
        body = await request.read()
        prefix = request.path.removesuffix("/add-checkpoint")
        if prefix == "/silent":
            await ended.wait()
        return answers.get(prefix, lambda _body: web.Response(status=500))(body)
    app = web.Application()
    app.router.add_post("/{tail:.*}", serve)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        for prefix in [*answers, "/silent", "/broken"]:
            async with anchored(desk, witnesses=[(f"{url}{prefix}", signer.verifier)], timeout_s=1.0) as anchors:
                async def told(anchors=anchors):
                    return [says for says in anchors.faults().values() if "no answer yet" not in says]
                assert await until(told), prefix
    finally:
        ended.set()
        await runner.cleanup()
    assert await desk.house.rows(t.ledger_cosignature) == []
    assert vkey


def test_a_file_of_roots_without_certificates_is_refused():
    """What is no PEM certificate is no root."""
    for data in (b"", b"x", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"):
        with pytest.raises(timestamps.VerificationError):
            timestamps.roots(data)
