"""Mails as they go out: read back with the standard library's parser."""

import dataclasses
from email import message_from_bytes, policy

import pytest

from noticesvc.domain.content import Content
from noticesvc.rendering.mail import Attachment, build

CONTENT = Content("用户协议更新", "# 更新\n\n新版自 **12 月 15 日** 起生效，见[全文](https://example.com/a)。", None, None)
AT = 1_790_000_000_000_000  # 2026-09-21T14:13:20Z
PDF = Attachment("document-1.pdf", "application/pdf", b"%PDF-1.7\r\n" + bytes(range(256)) * 50)
PNG = Attachment("document-2.png", "image/png", b"\x89PNG\r\n\x1a\n" + b"x" * 100)


def mail(**more):
    given = dict(sender="notices@example.com", sender_name="示例科技", to="li@example.cn", message_id="abc@n.example", date_micros=AT)
    return build(CONTENT, **(given | more))


def read(raw):
    assert raw.count(b"\n") == raw.count(b"\r") == raw.count(b"\r\n")
    return message_from_bytes(raw, policy=policy.default)


def test_headers_are_right_and_each_stands_once():
    """From, To, Subject, Date, Message-ID, Auto-Submitted (RFC 3834): what receivers ask for."""
    message = read(mail())
    author, = message["From"].addresses
    assert (author.display_name, author.addr_spec) == ("示例科技", "notices@example.com")
    assert (message["To"], message["Subject"], message["Message-ID"]) == ("li@example.cn", "用户协议更新", "<abc@n.example>")
    assert message["Date"].datetime.isoformat() == "2026-09-21T14:13:20+00:00"
    assert message["Auto-Submitted"] == "auto-generated"
    assert len(set(message.keys())) == len(message.keys())


def test_text_and_html_say_the_same():
    """Both are made from one Markdown, and the plain one comes first (RFC 2046 §5.1.4: the best last)."""
    message = read(mail())
    assert message.get_content_type() == "multipart/alternative"
    text, page = message.iter_parts()
    assert (text.get_content_type(), page.get_content_type()) == ("text/plain", "text/html")
    for part in (text, page):
        assert "新版自" in part.get_content()
        assert "12 月 15 日" in part.get_content()
    assert "<strong>12 月 15 日</strong>" in page.get_content()
    assert "https://example.com/a" in text.get_content()


def test_documents_are_attached_whole_and_in_order():
    """A notice's documents go with it, so that the mail carries the whole content."""
    message = read(mail(attached=(PDF, PNG)))
    assert message.get_content_type() == "multipart/mixed"
    alternative, *documents = message.iter_parts()
    assert alternative.get_content_type() == "multipart/alternative"
    assert len(list(alternative.iter_parts())) == 2
    assert [(one.get_filename(), one.get_content_type(), one.get_content()) for one in documents] == [
        (one.name, one.media_type, one.data) for one in (PDF, PNG)]
    assert message["Auto-Submitted"] == "auto-generated"


def test_only_commercial_mail_says_how_to_unsubscribe():
    """RFC 2369: a mailbox of ours, with what it is about; a mandatory notice has nothing to unsubscribe from."""
    assert read(mail())["List-Unsubscribe"] is None
    assert read(mail(unsubscribe="service@example.com"))["List-Unsubscribe"] == "<mailto:service@example.com?subject=unsubscribe%20abc>"


@pytest.mark.parametrize(("to", "header", "ascii_only"), [
    ("li@例子.cn", b"To: <li@xn--fsqu00a.cn>\r\n", True), ("li@example.cn", b"To: <li@example.cn>\r\n", True),
    ("李@例子.cn", "To: <李@xn--fsqu00a.cn>\r\n".encode(), False),
])
def test_only_a_local_part_can_need_smtputf8(to, header, ascii_only):
    """Domains are written in A-labels, so that servers without SMTPUTF8 take them; the local part stays as it is."""
    raw = mail(to=to)
    assert header in raw
    assert raw.isascii() is ascii_only


@pytest.mark.parametrize("given", [{"to": "a@b.cn>\r\nBcc: <x@y.cn"}, {"message_id": "a\nb@c"}, {"unsubscribe": "", "to": "a\r@b.cn"}])
def test_nothing_breaks_out_of_its_line(given):
    """A line break in what should have none is refused, not sent."""
    with pytest.raises(ValueError, match="line break"):
        mail(**given)


def test_the_same_input_gives_the_same_bytes():
    """A proof can hold the hash of what went out, and a later attempt sends the same."""
    assert mail(attached=(PDF,)) == mail(attached=(dataclasses.replace(PDF),))
    assert mail(attached=(PDF,)) != mail(attached=(PNG,))
