"""The envelope of one mail: addresses made safe for the wire, and the parameters a server offers.

Called by `smtp_conversation`. RFC 5321 (MAIL, RCPT, dot-stuffing §4.5.2), RFC 1870 SIZE, RFC 6152 8BITMIME, RFC 6531
SMTPUTF8, RFC 3461 DSN (xtext §4), RFC 5891 for domains. What cannot be put on the wire is `Rejected` before anything is
sent, and no message here names the address.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

import idna

from noticesvc.provider import Rejected

_UNSAFE = re.compile(r"[\x00-\x20\x7f-\xa0<>\u2028\u2029\ud800-\udfff]")
_PLAIN = re.compile(
    r"[\w.+=-]{1,64}@(?=.{1,189}$)([0-9a-z]([0-9a-z-]{0,61}[0-9a-z])?\.)+[a-z]{2,63}", re.ASCII | re.IGNORECASE)
"""Nearly every address: known to be safe at a glance, while IDNA takes as long as the rest of the envelope."""
_XTEXT_AS_IS = re.compile(r"[\w.@:;/-]*", re.ASCII)
_LITERAL = re.compile(r"\[[0-9A-Za-z.:-]+\]")
_SHARED = 1 << 16  # bytes of a text that is worth remembering
_MAX_LOCAL, _MAX_ADDRESS = 64, 254
"""RFC 5321 §4.5.3.1.1 and, for a path without its brackets, §4.5.3.1.3."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """Who sends to whom, under which reference (ENVID), and whether delivery reports are wanted."""

    return_path: str
    recipient: str
    reference: str
    wants_dsn: bool = True


def wire_address(address: str) -> str:
    """Return an address fit for MAIL or RCPT, its domain in A-labels. Raises Rejected for what is no safe address."""
    if _PLAIN.fullmatch(address):
        return address
    local, at, domain = address.rpartition("@")
    if not at or not local or not domain or _UNSAFE.search(address) or len(local.encode()) > _MAX_LOCAL:
        raise Rejected("The address is not one that SMTP can carry; correct the contact.", code="address")
    if not _LITERAL.fullmatch(domain):
        try:
            domain = idna.encode(domain, uts46=True).decode()
        except (idna.IDNAError, UnicodeError):
            # from None: the library's message quotes the domain
            raise Rejected("The domain of the address is not valid; correct the contact.", code="address") from None
    if len(local.encode()) + len(domain) + 1 > _MAX_ADDRESS:
        raise Rejected("The address is longer than SMTP can carry; correct the contact.", code="address")
    return f"{local}@{domain}"


def xtext(value: str) -> str:
    """Encode a value as xtext (RFC 3461 §4): `+XX` for what is no printable ASCII, for `+` and for `=`."""
    if _XTEXT_AS_IS.fullmatch(value):
        return value
    return "".join(c if "!" <= c <= "~" and c not in "+=" else "".join(f"+{b:02X}" for b in c.encode()) for c in value)


def commands(envelope: Envelope, content: bytes, extensions: dict[str, str]) -> tuple[bytes, bytes]:
    """Return the MAIL and RCPT lines for a server that offers `extensions` (lower case).

    Raises Rejected where the server lacks what the message needs: SMTPUTF8, 8BITMIME or its size.
    """
    sender, recipient = wire_address(envelope.return_path), wire_address(envelope.recipient)
    mail, rcpt = [f"MAIL FROM:<{sender}>"], [f"RCPT TO:<{recipient}>"]
    utf8 = not (sender + recipient).isascii()
    if utf8:
        if "smtputf8" not in extensions:
            raise Rejected("The address is not ASCII and the mail server does not offer SMTPUTF8.", code="smtputf8")
        mail.append("SMTPUTF8")
    if not content.isascii():
        if "8bitmime" not in extensions:
            raise Rejected("The message has 8-bit bytes and the mail server does not offer 8BITMIME.", code="8bitmime")
        mail.append("BODY=8BITMIME")
    if "size" in extensions:
        limit = extensions["size"].strip()
        if limit.isascii() and limit.isdigit() and 0 < int(limit[:18]) < len(content):
            raise Rejected("The message is larger than the mail server takes; make it smaller.", code="size")
        mail.append(f"SIZE={len(content)}")
    if envelope.wants_dsn and "dsn" in extensions:
        kind = "rfc822" if recipient.isascii() else "utf-8"
        mail += ["RET=HDRS", f"ENVID={xtext(envelope.reference)}"]
        rcpt += ["NOTIFY=SUCCESS,FAILURE,DELAY", f"ORCPT={kind};{xtext(recipient)}"]
    return " ".join(mail).encode() + b"\r\n", " ".join(rcpt).encode() + b"\r\n"


def stuffed(content: bytes) -> bytes:
    """Return the content as DATA carries it, dots doubled and the final dot added.

    Raises Rejected for a bare CR or LF: servers disagree on them, which smuggles messages (RFC 5321 §2.3.8).
    """
    head, blank, texts = content.partition(b"\r\n\r\n")
    if not blank or len(texts) > _SHARED:
        return _stuffed(content)
    # Many mails differ in their headers alone. What stands before the blank line never ends in one, so that both parts are whole lines.
    return _lines(head + b"\r\n") + b"\r\n" + _stuffed_texts(texts)


def _stuffed(content: bytes) -> bytes:
    body = _lines(content)
    return body + (b".\r\n" if body.endswith(b"\r\n") or not body else b"\r\n.\r\n")


_stuffed_texts = lru_cache(maxsize=16)(_stuffed)


def _lines(content: bytes) -> bytes:
    pairs = content.count(b"\r\n")
    if content.count(b"\n") != pairs or content.count(b"\r") != pairs:
        raise Rejected("The message has line ends that are not CRLF; this is a fault in rendering.", code="content")
    body = content.replace(b"\r\n.", b"\r\n..")
    return b"." + body if body.startswith(b".") else body
