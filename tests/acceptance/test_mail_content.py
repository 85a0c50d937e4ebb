"""What a mail server gets from a running service: documents attached, how to unsubscribe from commercial mail alone."""

from email import message_from_bytes, policy

from tests.support.asking import async_caller
from tests.support.process import delivered, running

PDF = b"%PDF-1.7\r\n.a line that begins with a dot\r\n" + bytes(range(256)) * 300
PNG = b"\x89PNG\r\n\x1a\n" + b"x" * 1000


def received(server):
    """The newest mail as its reader sees it, dots undone."""
    raw = server.contents[-1].content.removesuffix(b".\r\n").replace(b"\r\n..", b"\r\n.")
    return message_from_bytes(raw, policy=policy.default)


async def test_documents_go_with_the_mail_whole(tmp_path):
    """Two documents that were uploaded arrive as they were, in the notice's order, and the mail says that it carries the whole."""
    async with running(tmp_path, None, patient=True) as here:
        await here.service.start()
        await here.recipient()
        async with async_caller(here.service.url, here.service.key) as api:
            ids = [(await api.post("/v1/documents", files={"file": ("x", data)})).json()["id"] for data in (PDF, PNG)]
            made = await api.post("/v1/notices", json={"recipient_id": "u-1", "category": "platform", "channels": ["email"],
                                                       "content": {"subject": "S", "body": "B"}, "documents": ids})
            assert made.status_code == 202, made.text
        shown = await here.until(made.json()["id"], delivered)
        message = received(here.mail)
    assert [(part.get_content_type(), part.get_content()) for part in message.iter_attachments()] == [
        ("application/pdf", PDF), ("image/png", PNG)]
    assert message.get_body(("plain",)).get_content().startswith("S\r\n\r\nB\r\n")
    assert shown["deliveries"][0]["carries"] == "full"
    assert message["List-Unsubscribe"] is None


async def test_commercial_mail_alone_says_how_to_unsubscribe(tmp_path):
    """RFC 2369: the issuer's service mailbox."""
    async with running(tmp_path, None, patient=True) as here:
        await here.service.start()
        await here.recipient()
        await here.until(await here.post("u-1", category="commercial"), delivered)
        message = received(here.mail)
    assert message["List-Unsubscribe"].startswith("<mailto:service@example.com?subject=unsubscribe%20")


async def test_mail_straight_to_an_exchanger_arrives_after_greylisting(tmp_path):
    """A running service with the `mx` provider: refused for now, tried again, taken; the 250 of the recipient's host is arrival."""
    async with running(tmp_path, None, patient=True) as here:
        here.mail.script["RCPT"] = [b"451 4.7.1 Greylisted\r\n", b"250 2.1.5 Ok\r\n"]
        with here.service.config_file.open("a") as file:
            file.write('[providers.straight]\nkind = "mx"\nchannel = "email"\npriority = 0\ntimeout_s = 20\n'
                       f'from_address = "n@example.com"\n'
                       f'route = {{ "sink.example" = "127.0.0.1:{here.mail.port}" }}\n')
        await here.service.start()
        await here.recipient()
        shown = await here.until(await here.post("u-1"), delivered)
    attempts = shown["deliveries"][0]["attempts"]
    assert [(one["provider"], one["outcome"]) for one in attempts] == [("straight", "failed_temporary"), ("straight", "arrived")]
    assert (shown["state"], shown["service"]["channel"]) == ("served", "email")
    assert len(here.mail.contents) == 1
