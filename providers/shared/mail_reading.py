"""What a mail that came back says: a delivery report, a read receipt, a bounce in words, a reply, or an automatic answer.

Called by providers for every mail that arrived at their return path, and by `noticesvc receipts parse`. Pure; whatever the
bytes, it answers receipts that authenticate nothing yet (`mail_trust` does). In this order, and only the first that fits:

| mail                                           | receipts                                                          |
|------------------------------------------------|-------------------------------------------------------------------|
| delivery status notification (RFC 3464)        | by the table in `dsn`                                             |
| disposition notification (RFC 8098): displayed | `accessed`                                                        |
| a bounce in words                              | as a DSN with the status that its words mean (`bounce_text`)      |
| any other disposition notification; a complaint| `unmapped`                                                        |
| a person's reply to a mail of ours             | `acknowledged`                                                    |
| an automatic answer (RFC 3834)                 | `unmapped`: it is neither a bounce nor an acknowledgement         |
| anything else                                  | none                                                              |

A reply is a person's when nothing says that a program wrote it; it is ours to count when it names a Message-ID of ours.
"""

import re
from dataclasses import replace
from email import message_from_bytes
from email.message import Message

from noticesvc.provider import Receipt
from providers.shared import bounce_text, dsn
from providers.shared.mail_fields import MAX_BYTES, address, field, instant, mailbox

_TOKEN = re.compile(rb"(?<![a-z2-7])[a-z2-7]{45}(?![a-z2-7])")
_MOST_TOKENS = 8
_LONGEST_IN_WORDS = 1 << 18
_DAEMON = re.compile(
    r"(?i)^(?:mailer-daemon|mail-daemon|mail\.daemon|postmaster|mailerdaemon|mdaemon|mailsystem|bounce[-+._].*|bounces?)@")
_AUTOMATIC_SUBJECT = re.compile(
    r"(?i)^(?:(?:re|aw|antw|回复)[:：]\s*)*(?:"
    r"auto(?:matic(?:ally generated)?)?[- ]?(?:reply|response|antwort|answer)?\s*[:：]|auto(?:matic)?[- ]?reply|automatic response|"
    r"automatische antwort|out of (?:the )?office|vacation|away from my mail|on holiday|réponse automatique|abwesenheit|"
    r"自动回复|自動回覆|自动答复|外出|不在)")
_BULK = frozenset({"bulk", "junk", "list", "auto_reply", "auto-reply"})


def receipts_in(raw: bytes) -> tuple[Receipt, ...]:
    """Return what a mail says; garbage says nothing. Never raises."""
    try:
        return _read(raw[:MAX_BYTES])
    except Exception:  # the standard library's parser and flufl.bounce have no closed set of errors for hostile bytes
        return ()


def tokens_in(raw: bytes) -> tuple[str, ...]:
    """Return the words that may be return tokens of ours, from recipients, references and what was returned of our mail."""
    return tuple(word.decode() for word in dict.fromkeys(_TOKEN.findall(raw[:MAX_BYTES].lower())))[:_MOST_TOKENS]


def automatic(message: Message) -> bool:
    """Whether a program wrote this mail (RFC 3834 §5, and what programs that know no RFC 3834 put into their mail)."""
    submitted = field(message, "Auto-Submitted").partition(";")[0].strip().lower()
    return (
        submitted not in {"", "no"} or field(message, "Precedence").lower() in _BULK or field(message, "Return-Path").strip() == "<>"
        or any(name in message for name in ("X-Autoreply", "X-Autorespond", "X-Autoresponder", "List-Id", "X-Failed-Recipients"))
        or _DAEMON.match(mailbox(message, "From")) is not None or _AUTOMATIC_SUBJECT.match(field(message, "Subject")) is not None
    )


def is_daemon(sender: str) -> bool:
    """Whether an address is one that mail systems report from, which no ordinary mailbox can be."""
    return _DAEMON.match(sender) is not None


def _read(raw: bytes) -> tuple[Receipt, ...]:
    tokens = tokens_in(raw)
    found = dsn.receipts_of(raw, authenticated_by=None, return_tokens=tokens)
    if found:
        return found
    message = message_from_bytes(raw)
    claim = field(message, "Date")
    base = Receipt("unmapped", claimed_time_raw=claim or None, claimed_at=instant(claim, end_of_second=False), return_tokens=tokens,
                   sender=mailbox(message, "From") or None)
    disposition = _disposition(message)
    receipt = None if disposition is None else _displayed(disposition, base)
    if receipt is not None and receipt.kind == "accessed":
        return (receipt,)
    told = _told(raw, message, named=_names_ours(message, tokens))
    if told:
        late = instant(claim, end_of_second=True)
        return tuple(replace(base, kind=dsn.kind_of(one.action, one.status), recipient=one.recipient, final_recipient=one.recipient,
                              code=one.status, text=one.reason or one.action, source="dsn", sender=None,
                              claimed_at=late if one.action == "failed" else base.claimed_at) for one in told)
    if receipt is not None:
        return (receipt,)
    if message.get_param("report-type") == "feedback-report":
        return (replace(base, source="feedback", code="feedback-report", text="a complaint"),)
    if automatic(message):
        return (replace(base, source="reply", code="auto-reply", text="an automatic answer"),)
    if base.sender is not None and _names_ours(message, tokens):
        return (replace(base, kind="acknowledged", source="reply", text="a reply"),)
    return ()


def _told(raw: bytes, message: Message, *, named: bool) -> tuple[bounce_text.Told, ...]:
    """Return what a bounce says in words. A person's reply may quote one and is none."""
    if named and not automatic(message):
        return ()
    short = raw[:_LONGEST_IN_WORDS]
    try:
        told = bounce_text.told_in(message_from_bytes(short))
    except Exception:  # flufl.bounce's detectors meet a form they do not expect
        told = ()
    if not told and _by_a_mail_system(message):
        told = bounce_text.told_plainly(message, short.replace(b"\r\n", b"\n"), field(message, "Subject"), mailbox(message, "To"))
    return told


def _by_a_mail_system(message: Message) -> bool:
    """Whether this is a mail system's report, not a person's or a vacation program's mail."""
    if _AUTOMATIC_SUBJECT.match(field(message, "Subject")):
        return False
    sender = field(message, "From").lower()
    return (is_daemon(mailbox(message, "From")) or "mailer-daemon" in sender or "postmaster" in sender or "mail deliver" in sender
            or field(message, "Return-Path").strip() in {"<>", "<MAILER-DAEMON>"} or "X-Failed-Recipients" in message
            or message.get_content_type() == "multipart/report")


def _names_ours(message: Message, tokens: tuple[str, ...]) -> bool:
    """Whether In-Reply-To or References name a Message-ID that may be ours."""
    named = f"{field(message, 'In-Reply-To')} {field(message, 'References')}".lower()
    return any(token in named for token in tokens)


def _disposition(message: Message) -> Message | None:
    """Return the fields of a message disposition notification."""
    for part in message.walk():
        if part.get_content_type() in {"message/disposition-notification", "message/global-disposition-notification"}:
            payload = part.get_payload()
            if isinstance(payload, list) and payload and isinstance(payload[0], Message):
                return payload[0]
            text = part.get_payload(decode=True)
            return message_from_bytes(text) if isinstance(text, bytes) else None
    return None


def _displayed(fields: Message, base: Receipt) -> Receipt:
    disposition = field(fields, "Disposition")
    type_ = disposition.rpartition(";")[2].partition("/")[0].strip().lower()
    recipient = address(fields, "Original-Recipient") or address(fields, "Final-Recipient")
    return replace(base, kind="accessed" if type_ == "displayed" else "unmapped", source="mdn", code=type_[:40] or None,
                    text=disposition or None, recipient=recipient or None, final_recipient=address(fields, "Final-Recipient") or None,
                    reference=None)
