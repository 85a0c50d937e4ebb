"""What an `smtp` provider puts around a message: its DKIM signature, and the envelope sender with the return token."""

import dataclasses

import dkim
import pytest

from noticesvc.provider import ConfigurationError
from providers.mx import Mx
from providers.smtp import Smtp
from tests.fakes.provider_peers import Context, message
from tests.fakes.smtp_server import SmtpServer
from tests.support import bounces


@pytest.fixture
def key_file(tmp_path):
    file = tmp_path / "dkim.pem"
    file.write_bytes(bounces.key()[0])
    return str(file)


def configured(kind, server, **settings):
    chosen = dict(from_address="notices@example.com") | settings
    where = {"host": "127.0.0.1", "port": server.port} if kind is Smtp else {"route": {"example.cn": f"127.0.0.1:{server.port}"}}
    return kind.configure("mail", "email", 20, kind.Settings(**chosen, **where))


async def sent(provider, server, one):
    await provider.open(Context())
    await provider.submit(one)
    await provider.close()
    return server.contents[-1].content.removesuffix(b".\r\n").replace(b"\r\n..", b"\r\n.")


@pytest.mark.parametrize("kind", [Smtp, Mx])
async def test_a_signature_holds_and_leaves_the_message_as_it_was(kind, key_file):
    """RFC 6376: one more header on top, which verifies with the public key; below it the message is byte for byte ours."""
    one = message("email")
    async with SmtpServer() as server:
        raw = await sent(configured(kind, server, dkim={"domain": "example.com", "selector": "s1", "key_file": key_file}), server, one)
    header, below = raw[: -len(one.mime)], raw[-len(one.mime):]
    assert below == one.mime
    assert header.startswith(b"DKIM-Signature:")
    asked = []
    record = bounces.key()[1].replace('" "', "").strip('"').encode()
    assert dkim.verify(raw, dnsfunc=lambda name, timeout=5: asked.append(name) or record)
    assert asked == [b"s1._domainkey.example.com."]
    assert not dkim.verify(raw.replace(b"Hello", b"Hallo"), dnsfunc=lambda name, timeout=5: record)


async def test_without_a_key_the_message_goes_as_it_is():
    """Signing is for whoever configures it; often the relay does."""
    one = message("email")
    async with SmtpServer() as server:
        assert await sent(configured(Smtp, server), server, one) == one.mime


@pytest.mark.parametrize(("dkim_settings", "named"), [
    ({"domain": "example.com"}, "selector"), ({"domain": "example.com", "selector": "s1", "key_file": "/nowhere/key"}, "key_file"),
    ({"domain": "example.com", "selector": "s1", "key_file": __file__}, "key"),
])
async def test_a_key_that_cannot_sign_is_a_configuration_error(dkim_settings, named):
    """Found when the provider is opened, before any message."""
    async with SmtpServer() as server:
        provider = configured(Smtp, server, dkim=dkim_settings)
        with pytest.raises(ConfigurationError, match=rf"providers\.mail\.dkim.*{named}"):
            await provider.open(Context())


async def test_the_envelope_sender_carries_the_return_token_only_where_it_has_a_place():
    """`{token}` in the return path is VERP; without it the sender is what the operator wrote."""
    one = dataclasses.replace(message("email"), return_token="a" * 45)
    async with SmtpServer() as server:
        for return_path in ("b+{token}@example.com", "bounces@example.com", ""):
            await sent(configured(Smtp, server, return_path=return_path), server, one)
    assert [taken.mail.split(" ")[1] for taken in server.contents] == [
        f"FROM:<b+{'a' * 45}@example.com>", "FROM:<bounces@example.com>", "FROM:<notices@example.com>"]


@pytest.mark.parametrize("return_path", ["no address", "a-long-local-part-before-it+{token}@example.com", "a@b\r\nc"])
def test_a_return_path_that_no_envelope_can_carry_is_refused(return_path):
    """The token takes 45 of the 64 letters that a local part may have."""
    with pytest.raises(ConfigurationError, match=r"providers\.mail\.return_path"):
        Smtp.configure("mail", "email", 20, Smtp.Settings(from_address="n@example.com", return_path=return_path))
