"""The `mx` provider against SMTP servers and a DNS server on loopback: order, fallback, null MX, TLS, MTA-STS, limits."""

import asyncio
import dataclasses
from contextlib import asynccontextmanager

import pytest

from noticesvc.provider import OutcomeUnknown, PermanentFailure, ProviderUnavailable, Rejected, TemporaryFailure
from providers.mx import Mx
from providers.shared.mta_sts import policy_id, read_policy
from providers.shared.queue_id import queue_id
from tests.fakes.dns_server import DnsServer
from tests.fakes.door import Door
from tests.fakes.provider_peers import Context, message
from tests.fakes.smtp_server import CLOSE, EXTENSIONS, HANG, SmtpServer
from tests.support.certificates import authority_pem, server_context
from tests.support.ports import free_port

POLICY = "version: STSv1\r\nmode: {mode}\r\nmx: *.example.cn\r\nmax_age: 86400\r\n"


@pytest.fixture
async def dns():
    async with DnsServer() as server:
        yield server


@asynccontextmanager
async def opened(dns, **settings):
    """A provider that asks this DNS and may speak to loopback."""
    chosen = dict(from_address="notices@example.com", dns_servers=[dns.address], private_addresses=True, mta_sts=False) | settings
    timeout_s = chosen.pop("timeout_s", 20.0)
    provider = Mx.configure("mx", "email", timeout_s, Mx.Settings(**chosen))
    await provider.open(Context())
    try:
        yield provider
    finally:
        await provider.close()


@asynccontextmanager
async def exchangers(*scripts, **more):
    """Servers on 127.0.0.1, 127.0.0.2 … that share one port."""
    port, running = free_port(), []
    try:
        for number, script in enumerate(scripts, 1):
            server = SmtpServer(script, port=port, host=f"127.0.0.{number}", **more)
            running.append(await server.__aenter__())
        yield port, running
    finally:
        for server in running:
            await server.stop()


def domain(dns, *preferences, name="example.cn"):
    """Records of a domain whose n-th exchanger is 127.0.0.n."""
    dns.records |= {(name, "MX"): [f"{preference} mx{n}.{name}." for n, preference in enumerate(preferences, 1)]}
    dns.records |= {(f"mx{n}.{name}", "A"): [f"127.0.0.{n}"] for n in range(1, len(preferences) + 1)}


def told(answer):
    """What the evidence says below the reply."""
    return dict(line.split(": ", 1) for line in answer.raw.decode().split("\r\n\r\n", 1)[1].splitlines())


async def test_the_exchanger_of_smallest_preference_takes_it_and_that_is_arrival(dns):
    """A 250 from the recipient's MX is `arrived`; the whole reply, the host and its address are evidence."""
    async with exchangers({}, {}) as (port, (first, second)), opened(dns, port=port) as provider:
        domain(dns, 20, 10)
        answer = await provider.submit(message("email"))
    assert (len(first.contents), len(second.contents)) == (0, 1)
    assert (answer.outcome, answer.code, answer.provider_reference) == ("arrived", "2.0.0", "4XYZ123")
    assert answer.raw.startswith(b"250 2.0.0 Ok: queued as 4XYZ123\r\n\r\n")
    assert told(answer) == {"host": "mx2.example.cn", "address": "127.0.0.2", "tls": "none", "mta-sts": "none"}
    assert "ENVID=0199-d.1" in second.contents[0].mail


@pytest.mark.parametrize("script", [{"CONNECT": [CLOSE]}, {"CONNECT": [b"554 No\r\n"]}, {"EHLO": [b"421 Busy\r\n"]}, {"RCPT": [CLOSE]},
                                    {"CONNECT": [b"\xff garbage\r\n"]}], ids=str)
async def test_a_host_that_cannot_be_spoken_to_is_followed_by_the_next(dns, script):
    """Before the content nothing was taken, so the next exchanger is asked in the same attempt."""
    async with exchangers(script, {}) as (port, (_, second)), opened(dns, port=port) as provider:
        domain(dns, 10, 20)
        answer = await provider.submit(message("email"))
    assert len(second.contents) == 1
    assert told(answer)["host"] == "mx2.example.cn"


async def test_a_host_that_hangs_leaves_time_for_the_next(dns):
    """The time of the call is shared among the hosts that are left."""
    async with exchangers({"CONNECT": [HANG]}, {}) as (port, (_, second)), opened(dns, port=port, timeout_s=10.0) as provider:
        domain(dns, 10, 20)
        await provider.submit(message("email"))
    assert len(second.contents) == 1


@pytest.mark.parametrize(("script", "kind"), [
    ({"RCPT": [b"451 4.7.1 Greylisted\r\n"]}, TemporaryFailure), ({"RCPT": [b"550 5.1.1 No such user\r\n"]}, PermanentFailure),
    ({"RCPT": [b"554 5.7.1 Policy\r\n"]}, Rejected), ({"CONTENT": [CLOSE]}, OutcomeUnknown),
], ids=["greylisting", "no mailbox", "policy", "unknown"])
async def test_a_host_that_has_spoken_is_the_last(dns, script, kind):
    """Its refusal or silence is the answer of the domain: no second host may take what the first one knows of."""
    async with exchangers(script, {}) as (port, (_, second)), opened(dns, port=port) as provider:
        domain(dns, 10, 20)
        with pytest.raises(kind) as caught:
            await provider.submit(message("email"))
    assert second.connections == 0
    assert not isinstance(caught.value, ProviderUnavailable)


async def test_greylisting_is_retried_and_then_passes(dns):
    """The second attempt, with the same sender, recipient and Message-ID, is taken."""
    grey = {"RCPT": [b"451 4.7.1 Greylisted\r\n", b"250 2.1.5 Ok\r\n"]}
    async with exchangers(grey) as (port, (server,)), opened(dns, port=port) as provider:
        domain(dns, 10)
        with pytest.raises(TemporaryFailure) as caught:
            await provider.submit(message("email", number=1))
        answer = await provider.submit(message("email", number=2))
    assert caught.value.code == "4.7.1"
    assert answer.outcome == "arrived"
    assert len(server.contents) == 1


async def test_what_cannot_be_reached_is_the_domains_trouble(dns):
    """With no host listening the message is tried again, and the provider is not counted as unavailable."""
    async with opened(dns, port=free_port()) as provider:
        domain(dns, 10, 20)
        with pytest.raises(TemporaryFailure) as caught:
            await provider.submit(message("email"))
    assert type(caught.value) is TemporaryFailure


async def test_a_null_mx_takes_no_mail(dns):
    """RFC 7505: refused for good without a connection."""
    dns.records[("example.cn", "MX")] = ["0 ."]
    dns.records[("example.cn", "A")] = ["127.0.0.1"]
    async with exchangers({}) as (port, (server,)), opened(dns, port=port) as provider:
        with pytest.raises(PermanentFailure) as caught:
            await provider.submit(message("email"))
    assert (caught.value.code, server.connections) == ("5.1.10", 0)


async def test_without_mx_the_domain_itself_is_the_host(dns):
    """RFC 5321 §5.1: the implicit MX."""
    dns.records[("example.cn", "A")] = ["127.0.0.1"]
    async with exchangers({}) as (port, (server,)), opened(dns, port=port) as provider:
        assert told(await provider.submit(message("email")))["host"] == "example.cn"
    assert len(server.contents) == 1


async def test_a_domain_that_is_not_there_is_permanent_and_a_dns_that_fails_is_not(dns):
    """NXDOMAIN says that there is nothing; SERVFAIL says nothing."""
    async with opened(dns) as provider:
        with pytest.raises(PermanentFailure) as missing:
            await provider.submit(message("email"))
        dns.failing = True
        with pytest.raises(TemporaryFailure) as silent:
            await provider.submit(message("email", "li@example.org"))
    assert (missing.value.code, silent.value.code) == ("5.1.2", "4.4.3")


async def test_the_dns_does_not_lead_into_our_own_network(dns):
    """An exchanger at a private address is not spoken to unless the operator allows it."""
    async with exchangers({}) as (port, (server,)), opened(dns, port=port, private_addresses=False) as provider:
        domain(dns, 10)
        with pytest.raises(TemporaryFailure) as caught:
            await provider.submit(message("email"))
    assert (caught.value.code, server.connections) == ("4.4.4", 0)


async def test_a_route_goes_where_it_says(dns):
    """Named domains go to a given host and port, whatever the DNS says; A-labels and case do not matter."""
    async with exchangers({}) as (port, (server,)), opened(dns, private_addresses=False,
                                                            route={"XN--FSQU00A.example": f"127.0.0.1:{port}"}) as provider:
        answer = await provider.submit(message("email", "li@例子.example"))
    assert (answer.outcome, told(answer)["mta-sts"]) == ("arrived", "route")
    assert server.contents[0].rcpt.startswith("RCPT TO:<li@xn--fsqu00a.example>")
    assert dns.asked == []


# --- TLS --------------------------------------------------------------------------------------------------------------


async def test_tls_is_used_where_it_is_offered_and_the_certificate_is_kept(dns):
    """Opportunistic: a certificate that nobody vouches for is taken, and its fingerprint is evidence."""
    context, fingerprint = server_context("somebody.else.example")
    async with exchangers({}, tls=context) as (port, (server,)), opened(dns, port=port) as provider:
        domain(dns, 10)
        answer = await provider.submit(message("email"))
    assert told(answer)["tls"].startswith("TLSv1.")
    assert told(answer)["tls"].endswith(f"certificate-sha256={fingerprint}")
    assert "STARTTLS" in server.commands


async def test_a_handshake_that_fails_leaves_the_mail_without_tls(dns):
    """RFC 7435: better sent without than not at all."""
    context, _ = server_context("mx1.example.cn")
    async with exchangers({"STARTTLS": [b"454 4.7.0 TLS not available\r\n"]}, tls=context) as (port, (server,)), (
            opened(dns, port=port)) as provider:
        domain(dns, 10)
        assert told(await provider.submit(message("email")))["tls"] == "none"
    assert len(server.contents) == 1


# --- MTA-STS ----------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def policy_host(dns, text, names=("mta-sts.example.cn",)):
    """An HTTPS server with a policy; its port."""
    fetched = []

    async def serve(reader, writer):
        request = await reader.readuntil(b"\r\n\r\n")
        fetched.append(request)
        body = text().encode()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    door = Door(serve)
    port = await door.open("127.0.0.1", 0, ssl=server_context(*names)[0])
    dns.records |= {("_mta-sts.example.cn", "TXT"): ['"v=STSv1; id=2026a;"'], ("mta-sts.example.cn", "A"): ["127.0.0.1"]}
    try:
        yield port, fetched
    finally:
        await door.close()


@pytest.fixture
def authority(tmp_path):
    file = tmp_path / "authority.pem"
    file.write_bytes(authority_pem())
    return str(file)


def strict(port, sts_port, authority):
    return dict(port=port, mta_sts=True, mta_sts_port=sts_port, tls_ca_file=authority)


async def test_an_enforced_policy_is_kept_and_fetched_once(dns, authority):
    """A host that the policy names, with a certificate for its name: taken, and the policy comes from memory afterwards."""
    context, fingerprint = server_context("mx1.example.cn")
    async with exchangers({}, tls=context) as (port, (server,)), policy_host(dns, lambda: POLICY.format(mode="enforce")) as (at, fetched), (
            opened(dns, **strict(port, at, authority))) as provider:
        domain(dns, 10)
        answers = [await provider.submit(message("email", number=n)) for n in range(3)]
    assert {told(answer)["mta-sts"] for answer in answers} == {"enforce"}
    assert all(told(answer)["tls"].endswith(fingerprint) for answer in answers)
    assert len(fetched) == 1
    assert fetched[0].startswith(b"GET /.well-known/mta-sts.txt HTTP/1.1\r\n")
    assert b"\r\nHost: mta-sts.example.cn\r\n" in fetched[0]
    assert len(server.contents) == 3


@pytest.mark.parametrize(("certificate", "extensions"), [("mx.somebody.example", EXTENSIONS), (None, EXTENSIONS)],
                         ids=["another name", "no TLS"])
@pytest.mark.parametrize(("mode", "sent"), [("enforce", 0), ("testing", 1), ("none", 1)])
async def test_only_enforce_holds_a_mail_back(dns, authority, certificate, extensions, mode, sent):
    """A wrong certificate or no TLS: `enforce` tries again later and sends nothing, `testing` and `none` send."""
    context = server_context(certificate)[0] if certificate else None
    async with exchangers({}, tls=context, extensions=extensions) as (port, (server,)), (
            policy_host(dns, lambda: POLICY.format(mode=mode))) as (at, _), opened(dns, **strict(port, at, authority)) as provider:
        domain(dns, 10)
        if sent:
            await provider.submit(message("email"))
        else:
            with pytest.raises(TemporaryFailure) as caught:
                await provider.submit(message("email"))
            assert caught.value.code == "4.7.5"
    assert len(server.contents) == sent


async def test_a_host_that_an_enforced_policy_does_not_name_is_not_spoken_to(dns, authority):
    """Somebody who can forge MX records gets nothing."""
    dns.records |= {("example.cn", "MX"): ["10 mx.evil.example."], ("mx.evil.example", "A"): ["127.0.0.1"]}
    async with exchangers({}, tls=server_context("mx.evil.example")[0]) as (port, (server,)), (
            policy_host(dns, lambda: POLICY.format(mode="enforce"))) as (at, _), opened(dns, **strict(port, at, authority)) as provider:
        with pytest.raises(TemporaryFailure) as caught:
            await provider.submit(message("email"))
    assert (caught.value.code, server.connections) == ("4.7.5", 0)


async def test_a_new_id_fetches_the_policy_again_and_a_fetch_that_fails_keeps_the_old_one(dns, authority):
    """RFC 8461 §5.1: the kept policy counts until it lapses."""
    text = [POLICY.format(mode="enforce")]
    context, _ = server_context("mx1.example.cn")
    async with exchangers({}, tls=context) as (port, _), policy_host(dns, lambda: text[0]) as (at, fetched), (
            opened(dns, **strict(port, at, authority))) as provider:
        domain(dns, 10)
        seen = []
        for number, (identity, body) in enumerate([("2026a", text[0]), ("2026b", "no policy"), ("2026c", POLICY.format(mode="testing"))]):
            dns.records[("_mta-sts.example.cn", "TXT")] = [f'"v=STSv1; id={identity};"']
            text[0] = body
            provider._intake.lookup._resolver.cache.flush()
            seen.append(told(await provider.submit(message("email", number=number)))["mta-sts"])
    assert seen == ["enforce", "enforce", "testing"]
    assert len(fetched) == 3


async def test_a_policy_host_without_a_valid_certificate_sets_no_policy(dns, authority):
    """Whoever cannot show the certificate of mta-sts.<domain> says nothing about it."""
    async with exchangers({}) as (port, _), (
            policy_host(dns, lambda: POLICY.format(mode="enforce"), names=("other.example",))) as (at, fetched), (
            opened(dns, **strict(port, at, authority))) as provider:
        domain(dns, 10)
        assert told(await provider.submit(message("email")))["mta-sts"] == "none"
    assert fetched == []


def test_policies_and_records_are_read_by_the_letter():
    """RFC 8461 §3.1 and §3.2: version first, one record, patterns of one label; whatever else is no policy."""
    policy = read_policy("version: STSv1\nmode: enforce\nmx: mail.example.cn\nmx: *.example.net\nmax_age: 604800\n")
    assert [policy.allows(host) for host in ("mail.example.cn", "MX.example.net.", "a.b.example.net", "example.net")] == [
        True, True, False, False]
    for text in ("", "mode: enforce\nmx: a\nmax_age: 1", "version: STSv1\nmode: odd\nmx: a\nmax_age: 1",
                 "version: STSv1\nmode: enforce\nmax_age: 1", "version: STSv1\nmode: enforce\nmx: a\nmax_age: -1", "version: STSv2\n"):
        assert read_policy(text) is None, text
    assert policy_id([b"v=STSv1; id=20260101;", b"other"]) == "20260101"
    assert policy_id([b"v=STSv1; id=1;", b"v=STSv1; id=2;"]) is None
    assert policy_id([b"v=STSv1;"]) is None
    assert policy_id([b"v=spf1 -all"]) is None


# --- limits -----------------------------------------------------------------------------------------------------------


async def test_one_domain_is_spoken_to_by_so_many_at_once(dns):
    """Twenty messages for a domain use at most its connections, and while they wait another domain's goes."""
    async with exchangers({"RCPT": [HANG]}, {}) as (port, (slow, quick)), opened(dns, port=port, domain_connections=2) as provider:
        domain(dns, 10)
        dns.records |= {("example.org", "MX"): ["10 mx.example.org."], ("mx.example.org", "A"): ["127.0.0.2"]}
        waiting = [asyncio.create_task(provider.submit(message("email", delivery=f"d{n}"))) for n in range(20)]
        await slow.reached("RCPT")
        await provider.submit(message("email", "li@example.org"))
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
    assert slow.connections <= 2
    assert len(quick.contents) == 1


async def test_what_is_over_a_domains_rate_is_tried_again(dns):
    """A message that would have to wait longer than its call may take is refused for now, before anything is sent."""
    async with exchangers({}) as (port, (server,)), opened(dns, port=port, domain_rate_per_s=0.01) as provider:
        domain(dns, 10)
        await provider.submit(message("email", number=1))
        with pytest.raises(TemporaryFailure) as caught:
            await provider.submit(message("email", number=2))
    assert (caught.value.code, len(server.contents)) == ("4.4.5", 1)


@pytest.mark.parametrize(("reply", "expected"), [
    (b"250 2.0.0 Ok: queued as 4DKxyz0001\r\n", "4DKxyz0001"), (b"250 OK id=1rXabc-000123-Ab\r\n", "1rXabc-000123-Ab"),
    (b"250 2.0.0 38NDx5Sk012345 Message accepted for delivery\r\n", "38NDx5Sk012345"),
    (b"250 2.0.0 OK  1695123456 d9443c01a7336-1bf55a.5 - gsmtp\r\n", "d9443c01a7336-1bf55a.5"),
    (b"250 2.6.0 <a@b> [InternalId=12345678901, Hostname=x] 5 bytes Queued mail for delivery\r\n", "12345678901"),
    (b"250 ok 1695123456 qp 4711\r\n", "1695123456 qp 4711"), (b"250 Fine\r\n", None),
])
def test_queue_ids_of_common_servers(reply, expected):
    """The id by which the other side finds the message, where its form is known; else none is guessed."""
    assert queue_id(reply) == expected


async def test_the_envelope_sender_carries_the_return_token(dns):
    """VERP where the return path has a place for it."""
    async with exchangers({}) as (port, (server,)), opened(dns, port=port, return_path="b+{token}@example.com") as provider:
        domain(dns, 10)
        await provider.submit(dataclasses.replace(message("email"), return_token="a" * 45))
    assert server.contents[0].mail.startswith(f"MAIL FROM:<b+{'a' * 45}@example.com>")
