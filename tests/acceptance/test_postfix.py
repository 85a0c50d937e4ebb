"""The `smtp` provider against a real Postfix: a private instance on loopback that delivers into Maildirs."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from noticesvc.provider import Message, PermanentFailure
from providers.smtp import Smtp
from tests.support.postfix import running_postfix

pytestmark = pytest.mark.real_peer

@pytest.fixture
async def postfix(needs):
    """A private Postfix."""
    async with running_postfix(needs("postfix")) as running:
        yield running


@asynccontextmanager
async def opened(postfix, **settings):
    chosen = dict(host="127.0.0.1", port=postfix.port, from_address="notices@here.example") | settings
    provider = Smtp.configure("mail", "email", 15, Smtp.Settings(**chosen))
    await provider.open(None)
    yield provider
    await provider.close()


def notice(to, number=1):
    mime = (f"From: notices@here.example\r\nTo: {to}\r\nSubject: Notice\r\nMessage-ID: <d{number}@n.example>\r\n\r\n"
            ".Hello,\r\n..and more\r\n").encode()
    return Message(reference=f"0199-abc.{number}", message_id=f"d{number}@n.example", channel="email", to=to,
                   subject="Notice", text="", mime=mime, callback_url=None, commercial=False)


async def test_delivered_mail_is_whole_and_its_success_report_says_arrived(postfix):
    """The mail comes through unchanged, dots included, and Postfix's own DSN finds our reference."""
    async with opened(postfix) as provider:
        answer = await provider.submit(notice("li@here.example"))
        mail = await postfix.next_mail("li")
        (receipt,) = provider.parse_receipt(await postfix.next_mail("notices"), "message/rfc822")
    assert answer.raw.startswith(b"250 2.0.0 Ok: queued as ")
    assert answer.raw == f"250 2.0.0 Ok: queued as {answer.provider_reference}\r\n".encode()
    assert mail.endswith(b"\n.Hello,\n..and more\n")
    assert (receipt.kind, receipt.reference, receipt.recipient) == ("arrived", "0199-abc.1", "li@here.example")
    assert receipt.provider_reference == answer.provider_reference


async def test_unknown_mailbox_is_refused_at_rcpt(postfix):
    """Postfix says 550 5.1.1 for a mailbox it does not have."""
    async with opened(postfix) as provider:
        with pytest.raises(PermanentFailure) as caught:
            await provider.submit(notice("nobody@here.example"))
        assert (await provider.submit(notice("li@here.example", 2))).raw
    assert caught.value.code == "5.1.1"
    assert caught.value.raw.startswith(b"550 5.1.1 <nobody@here.example>")


@pytest.mark.parametrize(("to", "kind", "code"), [
    ("zhang@gone.example", "failed_permanent", "5.1.1"),
    ("wang@elsewhere.example", "relayed", "2.0.0"),
    ("zhao@slow.example", "unmapped", "4.2.1"),
], ids=["bounced later", "relayed without DSN", "delayed"])
async def test_what_becomes_of_it_later_is_reported(postfix, to, kind, code):
    """A bounce, a hand-over to a server without DSN and a delay come back as DSNs of our own relay."""
    async with opened(postfix) as provider:
        await provider.submit(notice(to))
        (receipt,) = provider.parse_receipt(await postfix.next_mail("notices"), "message/rfc822")
    assert (receipt.kind, receipt.code, receipt.reference, receipt.recipient) == (kind, code, "0199-abc.1", to)
    assert receipt.claimed_time_raw


async def test_fifty_mails_over_four_connections(postfix):
    """Kept connections carry many mails; none is lost and each has its own queue id."""
    async with opened(postfix, connections=4, dsn=False) as provider:
        answers = await asyncio.gather(*(provider.submit(notice("li@here.example", n)) for n in range(50)))
        mails = [await postfix.next_mail("li") for _ in range(50)]
    assert len({answer.provider_reference for answer in answers}) == 50
    assert len({line for mail in mails for line in mail.split(b"\n") if line.startswith(b"Message-ID")}) == 50
    assert postfix.log.read_text().count(": connect from") <= 4
