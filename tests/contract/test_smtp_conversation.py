"""What the SMTP conversation says on the wire, when it uses a connection again, and that TLS never falls back."""

import asyncio
import datetime as dt
import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from noticesvc.provider import OutcomeUnknown, PermanentFailure, Rejected, TemporaryFailure
from providers.shared.smtp_conversation import Conversation, Envelope, Route
from tests.fakes.smtp_server import CLOSE, EXTENSIONS, HANG, SmtpServer
from tests.support.waiting import PATIENCE_S

CONTENT = b"Subject: Notice\r\n\r\n.hidden\r\nend\r\n"
PASSWORD = "tall-secret"


def envelope(to="li@example.cn", reference="0199.1"):
    return Envelope("notices@example.com", to, reference)


@pytest.fixture(params=[(), ("PIPELINING",)], ids=["one by one", "pipelined"])
def offers(request):
    return EXTENSIONS + request.param


async def test_envelope_and_content_on_the_wire(offers):
    """SIZE, RET, ENVID, NOTIFY and ORCPT go to a server that offers them (RFC 1870, RFC 3461); dots are doubled."""
    async with SmtpServer(extensions=offers) as server:
        conversation = Conversation(Route("127.0.0.1", server.port))
        await conversation.deliver(envelope(), CONTENT, PATIENCE_S)
        await conversation.close()
    (taken,) = server.contents
    assert taken.mail == "MAIL FROM:<notices@example.com> SIZE=33 RET=HDRS ENVID=0199.1"
    assert taken.rcpt == "RCPT TO:<li@example.cn> NOTIFY=SUCCESS,FAILURE,DELAY ORCPT=rfc822;li@example.cn"
    assert taken.content == b"Subject: Notice\r\n\r\n..hidden\r\nend\r\n.\r\n"
    assert server.commands[-1] == "QUIT"


async def test_a_plain_server_gets_plain_commands():
    """Nothing is asked of a server that offers nothing."""
    async with SmtpServer(extensions=()) as server:
        conversation = Conversation(Route("127.0.0.1", server.port))
        await conversation.deliver(envelope(), CONTENT, PATIENCE_S)
        await conversation.close()
    assert (server.contents[0].mail, server.contents[0].rcpt) == (
        "MAIL FROM:<notices@example.com>", "RCPT TO:<li@example.cn>")


async def test_a_server_that_knows_no_ehlo_is_greeted_with_helo():
    """RFC 5321 §3.2: after a 5xx to EHLO the client may say HELO."""
    async with SmtpServer({"EHLO": [b"502 5.5.1 What?\r\n", b"250 fake\r\n"]}) as server:
        conversation = Conversation(Route("127.0.0.1", server.port))
        await conversation.deliver(envelope(), CONTENT, PATIENCE_S)
        await conversation.close()
    assert [command.split()[0] for command in server.commands[:2]] == ["EHLO", "HELO"]


async def test_the_reply_is_kept_with_all_its_lines(offers):
    """Evidence is every byte of the reply to the final dot."""
    raw = b"250-2.0.0 first\r\n250-2.0.0 second\r\n250 2.0.0 queued as ABCDE1\r\n"
    async with SmtpServer({"CONTENT": [raw]}, extensions=offers) as server:
        conversation = Conversation(Route("127.0.0.1", server.port))
        reply = await conversation.deliver(envelope(), CONTENT, PATIENCE_S)
        await conversation.close()
    assert (reply.raw, reply.code, reply.enhanced) == (raw, 250, "2.0.0")


async def test_connections_are_kept_and_their_number_is_bounded(offers):
    """Forty messages at once go over at most three connections."""
    async with SmtpServer(extensions=offers) as server:
        conversation = Conversation(Route("127.0.0.1", server.port, connections=3))
        await asyncio.gather(*(conversation.deliver(envelope(reference=f"d.{n}"), CONTENT, PATIENCE_S) for n in range(40)))
        await conversation.close()
    assert server.connections <= 3
    assert len({taken.mail for taken in server.contents}) == 40


async def test_a_kept_connection_that_died_is_replaced_once(offers):
    """It broke before MAIL was answered, so nothing of this message was acted upon: a fresh connection takes it."""
    for farewell in (CLOSE, b"421 4.4.2 Timeout\r\n"):
        async with SmtpServer({"MAIL": [b"250 Ok\r\n", farewell, b"250 Ok\r\n"]}, extensions=offers) as server:
            conversation = Conversation(Route("127.0.0.1", server.port))
            await conversation.deliver(envelope(reference="d.1"), CONTENT, PATIENCE_S)
            await conversation.deliver(envelope(reference="d.2"), CONTENT, PATIENCE_S)
            await conversation.close()
        assert [taken.mail.rpartition(".")[2] for taken in server.contents] == ["1", "2"]
        assert server.connections == 2


async def test_a_fresh_connection_that_breaks_is_not_tried_again(offers):
    """Only a kept connection is replaced; a fresh one that breaks is a temporary failure."""
    async with SmtpServer({"MAIL": [CLOSE]}, extensions=offers) as server:
        conversation = Conversation(Route("127.0.0.1", server.port))
        with pytest.raises(TemporaryFailure):
            await conversation.deliver(envelope(), CONTENT, PATIENCE_S)
        await conversation.close()
    assert server.connections == 1


async def test_a_refusal_is_followed_by_rset_on_the_same_connection(offers):
    """The next message does not inherit the sender of the refused one."""
    script = {"RCPT": [b"550 5.1.1 No\r\n", b"250 Ok\r\n"], "DATA": [b"503 5.5.1 No\r\n", b"354 Go\r\n"]}
    if "PIPELINING" not in offers:
        del script["DATA"]
    async with SmtpServer(script, extensions=offers) as server:
        conversation = Conversation(Route("127.0.0.1", server.port))
        with pytest.raises(PermanentFailure):
            await conversation.deliver(envelope(reference="d.1"), CONTENT, PATIENCE_S)
        await conversation.deliver(envelope(reference="d.2"), CONTENT, PATIENCE_S)
        await conversation.close()
    assert server.connections == 1
    assert "RSET" in server.commands
    assert len(server.contents) == 1


async def test_go_ahead_after_a_refused_recipient_gets_no_content():
    """RFC 2920 §3.1: 354 may come though RCPT was refused; the content must not follow."""
    offers = (*EXTENSIONS, "PIPELINING")
    async with SmtpServer({"RCPT": [b"550 5.1.1 No\r\n"]}, extensions=offers) as server:
        conversation = Conversation(Route("127.0.0.1", server.port))
        with pytest.raises(PermanentFailure):
            await conversation.deliver(envelope(), CONTENT, PATIENCE_S)
        await conversation.close()
    assert server.contents == []


@pytest.mark.parametrize(("reply", "kind", "code"), [
    (b"550 5.1.1 No such user\r\n", PermanentFailure, "5.1.1"),
    (b"553 5.1.3 Bad address\r\n", PermanentFailure, "5.1.3"),
    (b"556 5.1.10 Null MX\r\n", PermanentFailure, "5.1.10"),
    (b"550 User unknown\r\n", Rejected, "550"),
    (b"552 5.2.2 Mailbox full\r\n", Rejected, "5.2.2"),
    (b"550 4.1.1 Classes that disagree\r\n", Rejected, "550"),
    (b"450 4.1.1 Unverified\r\n", TemporaryFailure, "4.1.1"),
    (b"450 5.1.1 Classes that disagree\r\n", TemporaryFailure, "450"),
    (b"399 Nothing known\r\n", TemporaryFailure, "399"),
])
async def test_replies_at_rcpt(offers, reply, kind, code):
    """5.1.x is permanent, other 5xx rejected, 4xx temporary; an enhanced code of another class counts as none."""
    async with SmtpServer({"RCPT": [reply]}, extensions=offers) as server:
        conversation = Conversation(Route("127.0.0.1", server.port))
        with pytest.raises((PermanentFailure, Rejected, TemporaryFailure)) as caught:
            await conversation.deliver(envelope(), CONTENT, PATIENCE_S)
        await conversation.close()
    assert type(caught.value) is kind
    assert (caught.value.raw, caught.value.code) == (reply, code)


async def test_waiting_for_a_free_connection_ends_in_time():
    """When every connection hangs, the message in the queue was not sent, and that is what is said."""
    async with SmtpServer({"CONTENT": [HANG]}) as server:
        conversation = Conversation(Route("127.0.0.1", server.port, connections=1))
        first = asyncio.create_task(conversation.deliver(envelope(), CONTENT, 4))
        await server.reached("CONTENT")
        with pytest.raises(TemporaryFailure):
            await conversation.deliver(envelope(), CONTENT, 0.2)
        with pytest.raises(OutcomeUnknown):
            await first
        await conversation.close()


@pytest.mark.parametrize("content", [b"a\nb\r\n", b"a\rb\r\n", b"a\r\n.\n\r\n", b"\r"])
async def test_bare_line_ends_are_never_sent(content):
    """A bare CR or LF could hide a second message (RFC 5321 §2.3.8)."""
    async with SmtpServer() as server:
        conversation = Conversation(Route("127.0.0.1", server.port))
        with pytest.raises(Rejected):
            await conversation.deliver(envelope(), content, PATIENCE_S)
        await conversation.close()
    assert server.connections == 0


async def test_international_addresses():
    """A domain goes as A-label (RFC 5891), a local part beyond ASCII with SMTPUTF8 or not at all (RFC 6531)."""
    async with SmtpServer() as server:
        conversation = Conversation(Route("127.0.0.1", server.port))
        await conversation.deliver(envelope("li@例子.测试"), CONTENT, PATIENCE_S)
        await conversation.deliver(envelope("李@例子.测试"), CONTENT, PATIENCE_S)
        await conversation.close()
    assert server.contents[0].rcpt.startswith("RCPT TO:<li@xn--fsqu00a.xn--0zwm56d> ")
    assert "SMTPUTF8" not in server.contents[0].mail
    assert server.contents[1].rcpt == (
        "RCPT TO:<李@xn--fsqu00a.xn--0zwm56d> NOTIFY=SUCCESS,FAILURE,DELAY "
        "ORCPT=utf-8;+E6+9D+8E@xn--fsqu00a.xn--0zwm56d")
    assert " SMTPUTF8 " in server.contents[1].mail
    async with SmtpServer(extensions=()) as server:
        conversation = Conversation(Route("127.0.0.1", server.port))
        with pytest.raises(Rejected):
            await conversation.deliver(envelope("李@例子.测试"), CONTENT, PATIENCE_S)
        with pytest.raises(Rejected):
            await conversation.deliver(envelope(), "您好\r\n".encode(), PATIENCE_S)  # no 8BITMIME
        await conversation.close()


async def test_a_message_over_the_servers_size_is_not_sent():
    """RFC 1870: the limit is known beforehand."""
    async with SmtpServer(extensions=("SIZE 32",)) as server:
        conversation = Conversation(Route("127.0.0.1", server.port))
        with pytest.raises(Rejected):
            await conversation.deliver(envelope(), CONTENT, PATIENCE_S)
        await conversation.close()
    assert server.contents == []


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate for localhost signed by itself, and a server context with it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    built = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
             .serial_number(x509.random_serial_number()).not_valid_before(now - dt.timedelta(days=1))
             .not_valid_after(now + dt.timedelta(days=1))
             .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
             .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True).sign(key, hashes.SHA256()))
    folder = tmp_path_factory.mktemp("tls")
    (folder / "cert.pem").write_bytes(built.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context, str(folder / "cert.pem")


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
@pytest.mark.parametrize("trust", ["by file", "unverified", "untrusted"])
async def test_tls_and_log_in(certificate, tls, trust):
    """The mail goes encrypted and logged in; a certificate nobody vouches for ends it before the password is said."""
    context, path = certificate
    offers = (*EXTENSIONS, "AUTH PLAIN", "PIPELINING")
    async with SmtpServer(extensions=offers, tls=context, implicit=tls == "implicit") as server:
        conversation = Conversation(Route(
            "localhost", server.port, tls=tls, username="u", password=PASSWORD, tls_verify=trust != "unverified",
            tls_ca_file=path if trust == "by file" else ""))
        if trust == "untrusted":
            with pytest.raises(TemporaryFailure):
                await conversation.deliver(envelope(), CONTENT, PATIENCE_S)
        else:
            for _ in range(2):
                await conversation.deliver(envelope(), CONTENT, PATIENCE_S)
        await conversation.close()
    assert server.logins == ([] if trust == "untrusted" else [("u", PASSWORD)])
    assert len(server.contents) == (0 if trust == "untrusted" else 2)


async def test_starttls_never_falls_back_to_plain_text():
    """A server that does not offer what was asked for gets nothing (a stripped STARTTLS would look like this)."""
    async with SmtpServer(extensions=(*EXTENSIONS, "AUTH PLAIN")) as server:
        conversation = Conversation(Route("127.0.0.1", server.port, tls="starttls", username="u", password=PASSWORD))
        with pytest.raises(TemporaryFailure):
            await conversation.deliver(envelope(), CONTENT, PATIENCE_S)
        await conversation.close()
    assert server.logins == []
    assert server.contents == []


async def test_refused_log_in_is_temporary_and_keeps_its_secret():
    """A wrong password is the operator's fault and strikes no recipient; the error does not repeat it."""
    script = {"AUTH": [f"535 5.7.8 {PASSWORD} is wrong\r\n".encode()]}
    async with SmtpServer(script, extensions=("AUTH PLAIN",)) as server:
        route = Route("127.0.0.1", server.port, username="u", password=PASSWORD)
        conversation = Conversation(route)
        with pytest.raises(TemporaryFailure) as caught:
            await conversation.deliver(envelope(), CONTENT, PATIENCE_S)
        await conversation.close()
    assert PASSWORD not in f"{caught.value!r}{caught.value}{caught.value.__cause__}{route!r}"
