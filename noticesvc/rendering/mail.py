"""A notice as an e-mail: RFC 5322 headers, plain text and HTML of the same Markdown. The same input gives the same bytes.

Built by hand, since building an EmailMessage for each message takes longer than sending it: what depends on the content alone
is made once, and each message adds its few lines of headers. A test reads the bytes back with the standard library's parser.
"""

import base64
import hashlib
import html as escaping
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.header import Header
from email.utils import format_datetime
from functools import lru_cache
from urllib.parse import quote

from noticesvc.domain.content import Content
from noticesvc.domain.mail_trust import ascii_domain
from noticesvc.rendering import markdown

# `Auto-Submitted: auto-generated` (RFC 3834) keeps vacation notices from answering.
_FIXED = b"Auto-Submitted: auto-generated\r\nX-Auto-Response-Suppress: All\r\nMIME-Version: 1.0\r\n"
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


@dataclass(frozen=True, slots=True)
class Attachment:
    """A document as it goes with a mail; `name` is ours, in ASCII."""

    name: str
    media_type: str
    data: bytes


def build(content: Content, *, sender: str, sender_name: str, to: str, message_id: str, date_micros: int, sandbox: bool = False,
          attached: Sequence[Attachment] = (), unsubscribe: str | None = None) -> bytes:
    """The complete message with CRLF line ends.

    `to` is a validated address and `message_id` ours: neither can hold a line break, and ValueError says so if one does. Domains are
    written in A-labels; an address that is not ASCII even so makes a message that needs SMTPUTF8 (RFC 6532). `unsubscribe`, only
    for commercial mail, is the mailbox to which a recipient may write (RFC 2369); a mandatory notice has nothing to unsubscribe from.
    """
    lines = [f"To: <{_address(to)}>", f"Date: {_date(date_micros // 1_000_000)}", f"Message-ID: <{message_id}>"]
    if unsubscribe:
        about = message_id.partition("@")[0]
        lines.append(f"List-Unsubscribe: <mailto:{quote(unsubscribe, safe='@')}?subject=unsubscribe%20{quote(about, safe='')}>")
    headers = "".join(f"{line}\r\n" for line in lines)
    if headers.count("\r\n") != len(lines) or headers.count("\n") != len(lines) or headers.count("\r") != len(lines):
        raise ValueError("an address or id holds a line break")
    before, after = _shared(content.subject, content.body, _address(sender), sender_name, sandbox)
    return before + headers.encode() + (_FIXED + after if not attached else _mixed(after, tuple(attached)))


def texts(content: Content, sender_name: str, *, sandbox: bool = False) -> tuple[str, str]:
    """The plain text and the HTML page that a message carries, for whoever looks at it beforehand."""
    return _texts(content.subject, content.body, sender_name, sandbox)


def _address(address: str) -> str:
    """An address as a header carries it: the domain in A-labels, so that only a local part can need SMTPUTF8."""
    local, at, domain = address.rpartition("@")
    return f"{local}@{ascii_domain(domain) or domain}" if at and not domain.isascii() else address


def _mixed(alternative: bytes, attached: tuple[Attachment, ...]) -> bytes:
    """The texts and the documents behind them (RFC 2046, multipart/mixed)."""
    boundary = "=_" + hashlib.sha256(alternative + b"\0".join(one.data for one in attached)).hexdigest()[:40]
    parts = [f'Content-Type: multipart/mixed; boundary="{boundary}"\r\n\r\n--{boundary}\r\n'.encode(), alternative]
    for one in attached:
        head = (f"\r\n--{boundary}\r\nContent-Type: {one.media_type}\r\nContent-Transfer-Encoding: base64\r\n"
                f'Content-Disposition: attachment; filename="{one.name}"\r\n\r\n')
        parts += [head.encode("ascii"), base64.encodebytes(one.data).replace(b"\n", b"\r\n")]
    return _FIXED + b"".join([*parts, f"--{boundary}--\r\n".encode()])


@lru_cache(maxsize=64)
def _shared(subject: str, body: str, sender: str, sender_name: str, sandbox: bool) -> tuple[bytes, bytes]:
    """Everything that does not depend on the recipient: the headers before theirs, and the part with both texts."""
    text, page = _texts(subject, body, sender_name, sandbox)
    boundary = "=_" + hashlib.sha256(f"{text}\0{page}".encode()).hexdigest()[:40]
    before = f"From: {_words(sender_name, 'From')} <{sender}>\r\nSubject: {_words(subject, 'Subject')}\r\n"
    after = f'Content-Type: multipart/alternative; boundary="{boundary}"\r\n\r\n'
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
