"""A notice as an e-mail: RFC 5322 headers, plain text and HTML of the same Markdown. The same input gives the same bytes.

Built by hand, since building an EmailMessage for each message takes longer than sending it: what depends on the content alone
is made once, and each message adds its few lines of headers. A test reads the bytes back with the standard library's parser.
"""

import base64
import hashlib
import html as escaping
from datetime import UTC, datetime
from email.header import Header
from email.utils import format_datetime
from functools import lru_cache

from noticesvc.domain.content import Content
from noticesvc.rendering import markdown

SANDBOX = "沙箱：未真实发送 · sandbox: not really sent"
_PAGE = """<!doctype html>
<html lang="zh-CN"><head><meta charset="utf-8"><title>{subject}</title></head>
<body style="margin:0;padding:24px 16px;background:#f4f5f7;color:#1d2129;
font:16px/1.7 -apple-system,'PingFang SC','Microsoft YaHei',sans-serif">
<div style="max-width:640px;margin:0 auto;padding:24px 28px;background:#fff;border-radius:8px">
<h1 style="margin:0 0 16px;font-size:20px;line-height:1.4">{subject}</h1>
{body}<p style="margin:28px 0 0;padding-top:14px;border-top:1px solid #e5e6eb;color:#86909c;font-size:13px">{footer}</p>
</div></body></html>
"""


def build(content: Content, *, sender: str, sender_name: str, to: str, message_id: str, date_micros: int, sandbox: bool = False) -> bytes:
    """The complete message with CRLF line ends.

    `to` is a validated address and `message_id` ours: neither can hold a line break, and ValueError says so if one does.
    """
    headers = f"To: <{to}>\r\nDate: {_date(date_micros // 1_000_000)}\r\nMessage-ID: <{message_id}>\r\n"
    if headers.count("\r\n") != 3 or headers.count("\n") != 3 or headers.count("\r") != 3:
        raise ValueError("an address or id holds a line break")
    before, after = _shared(content.subject, content.body, sender, sender_name, sandbox)
    return before + headers.encode() + after


@lru_cache(maxsize=64)
def _shared(subject: str, body: str, sender: str, sender_name: str, sandbox: bool) -> tuple[bytes, bytes]:
    """Everything that does not depend on the recipient: the headers before theirs, and what comes after.

    `Auto-Submitted: auto-generated` (RFC 3834) keeps vacation notices from answering.
    """
    text, page = _texts(subject, body, sender_name, sandbox)
    boundary = "=_" + hashlib.sha256(f"{text}\0{page}".encode()).hexdigest()[:40]
    before = f"From: {_words(sender_name, 'From')} <{sender}>\r\nSubject: {_words(subject, 'Subject')}\r\n"
    after = (
        "Auto-Submitted: auto-generated\r\nX-Auto-Response-Suppress: All\r\nMIME-Version: 1.0\r\n"
        f'Content-Type: multipart/alternative; boundary="{boundary}"\r\n\r\n'
    )
    for kind, part in (("plain", text), ("html", page)):
        encoded = base64.encodebytes(part.encode()).decode("ascii").replace("\n", "\r\n")
        after += f'--{boundary}\r\nContent-Type: text/{kind}; charset="utf-8"\r\nContent-Transfer-Encoding: base64\r\n\r\n{encoded}'
    return before.encode("ascii"), f"{after}--{boundary}--\r\n".encode("ascii")


@lru_cache(maxsize=16)
def _date(seconds: int) -> str:
    return format_datetime(datetime.fromtimestamp(seconds, UTC))


def _words(text: str, header: str) -> str:
    """Text as encoded words (RFC 2047), folded; plain where it is plain."""
    return Header(text, "utf-8", header_name=header).encode(linesep="\r\n")


def _texts(subject: str, body: str, sender_name: str, sandbox: bool) -> tuple[str, str]:
    footer = escaping.escape(sender_name) + (f" · {SANDBOX}" if sandbox else "")
    page = _PAGE.format(subject=escaping.escape(subject), body=markdown.html(body), footer=footer)
    text = f"{subject}\n\n{markdown.plain(body)}\n-- \n{sender_name}\n" + (f"{SANDBOX}\n" if sandbox else "")
    return text.replace("\n", "\r\n"), page.replace("\n", "\r\n")
