"""Delivery status notifications: read one (RFC 3464, with RFC 6533 addresses) from hostile bytes, and write one.

Called by the `smtp` provider, which reads bounces, and by the sandbox's mailbox, which writes them. What the words mean
as evidence:

| action            | status                         | kind               | why                                        |
|-------------------|--------------------------------|--------------------|--------------------------------------------|
| delivered         | any                            | `arrived`          | RFC 3464 §2.3.3: it is in the mailbox      |
| relayed           | any                            | `relayed`          | handed on to a system that sends no DSN    |
| failed            | 5.1.1 5.1.2 5.1.3 5.1.6 5.1.10 | `failed_permanent` | RFC 3463 §3.2, RFC 7505: no such mailbox   |
| failed            | 4.x.x, 5.4.7                   | `expired`          | temporary until the relay's patience ended |
| failed            | any other                      | `rejected`         | full, policy, size; 5.1.7, 5.1.8 blame the |
|                   |                                |                    | sender: the mailbox may exist              |
| delayed, expanded | any                            | `unmapped`         | they decide nothing; kept with their text  |

A status that says only that it failed (5.0.0, 5.1.0, none) is read with the words of Diagnostic-Code. Systems that write
`failure` or `error` mean failed.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from email import message_from_bytes, message_from_string
from email.message import Message
from email.utils import format_datetime

from noticesvc.provider import Receipt
from providers.shared.bounce_text import meaning
from providers.shared.mail_fields import MAX_BYTES, address, field, instant, typed

_NO_SUCH_MAILBOX = frozenset({"5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10"})
_STRIKES = frozenset({"failed_permanent", "rejected", "expired"})
_STATUS = re.compile(r"\b([245])\.(\d{1,3})\.(\d{1,3})\b")
_STATUS_TYPES = ("message/delivery-status", "message/global-delivery-status")
_HEADER_TYPES = ("text/rfc822-headers", "message/rfc822", "message/global-headers", "message/global")
_MAX_RECIPIENTS = 100


@dataclass(frozen=True, slots=True)
class RecipientStatus:
    """What a report says of one recipient, in the report's own words; empty where it says nothing."""

    action: str
    status: str
    final_recipient: str
    original_recipient: str
    remote_mta: str
    diagnostic: str
    last_attempt_date: str

    @property
    def shown(self) -> str:
        """The address as we wrote it, where the report repeats it: a final one may be a local name or of another network."""
        return next((one for one in (self.original_recipient, self.final_recipient) if "@" in one), self.final_recipient)


@dataclass(frozen=True, slots=True)
class Report:
    """One delivery status notification. `queue_id` is Postfix's own field; `message_id` is without angle brackets."""

    envelope_id: str
    message_id: str
    queue_id: str
    reporting_mta: str
    arrival_date: str
    date: str
    recipients: tuple[RecipientStatus, ...]


def read_report(raw: bytes) -> Report | None:
    """Read a delivery status notification; null for anything else, whatever the bytes."""
    try:
        return _read(raw[:MAX_BYTES])
    except Exception:
        return None


def receipts_of(raw: bytes, *, authenticated_by: str | None, return_tokens: tuple[str, ...] = ()) -> tuple[Receipt, ...]:
    """Translate a report into receipts by the table above; garbage gives none.

    The claim is Last-Attempt-Date, else the date of the report itself; never Arrival-Date, which tells when the relay
    took the message. Both have whole seconds, so a striking report claims the end of its second: one written within the
    second of the acceptance it takes back still comes after it.
    """
    report = read_report(raw)
    if report is None:
        return ()
    receipts = []
    for recipient in report.recipients:
        kind = kind_of(recipient.action, _telling(recipient))
        claim = recipient.last_attempt_date or report.date
        receipts.append(Receipt(
            kind=kind, reference=report.envelope_id or None, provider_reference=report.queue_id or None,
            recipient=recipient.shown or None, final_recipient=recipient.final_recipient or None,
            claimed_time_raw=claim or None, claimed_at=instant(claim, end_of_second=kind in _STRIKES),
            code=recipient.status or meaning(recipient.diagnostic), text=recipient.diagnostic or recipient.action or None,
            source="dsn", authenticated_by=authenticated_by, return_tokens=return_tokens,
        ))
    return tuple(receipts)


def kind_of(action: str, status: str) -> str:
    """Return the evidence kind for an action and a status (`5.1.1`), by the table in this module's head."""
    match action:
        case "delivered":
            return "arrived"
        case "relayed":
            return "relayed"
        case "failed" if status in _NO_SUCH_MAILBOX:
            return "failed_permanent"
        case "failed" if status.startswith("4.") or status == "5.4.7":
            return "expired"
        case "failed":
            return "rejected"
    return "unmapped"


def write_report(
    *, to: str, reporting_mta: str, envelope_id: str, recipient: str, action: str, status: str, diagnostic: str,
    message_id: str, at: datetime,
) -> bytes:
    """Write a report as an MTA would (RFC 6522 multipart/report), dated `at`, about one recipient."""
    head = [f"From: Mail Delivery System <MAILER-DAEMON@{reporting_mta}>", f"To: {to}",
            "Subject: Delivery Status Notification", f"Date: {format_datetime(at)}", "Auto-Submitted: auto-replied",
            "MIME-Version: 1.0", 'Content-Type: multipart/report; report-type=delivery-status; boundary="=_report"']
    utf8 = not recipient.isascii()
    fields = [f"Reporting-MTA: dns; {reporting_mta}", f"Original-Envelope-Id: {envelope_id}", "",
              f"Final-Recipient: {'utf-8' if utf8 else 'rfc822'}; {recipient}",
              f"Action: {action}", f"Status: {status}",
              f"Diagnostic-Code: smtp; {diagnostic}", f"Last-Attempt-Date: {format_datetime(at)}", ""]
    status_type = "message/global-delivery-status" if utf8 else "message/delivery-status"
    sections = [("text/plain; charset=utf-8", f"The message was {action}: {diagnostic}\r\n"),
                (status_type, "\r\n".join(fields)), ("text/rfc822-headers", f"Message-ID: <{message_id}>\r\n")]
    lines = [*head, ""]
    for media_type, body in sections:
        lines += ["--=_report", f"Content-Type: {media_type}", "", body]
    return "\r\n".join([*lines, "--=_report--", ""]).encode()


def _read(raw: bytes) -> Report | None:
    message = message_from_bytes(raw)
    blocks: list[Message] = []
    message_id = ""
    for part in message.walk():
        content_type = part.get_content_type()
        if not blocks and content_type in _STATUS_TYPES:
            blocks = list(_blocks(part))
        elif blocks and not message_id and content_type in _HEADER_TYPES:
            message_id = _returned_message_id(part)
    if not blocks:
        return None
    head, recipients = blocks[0], blocks[1:_MAX_RECIPIENTS + 1]
    if "Action" in head:  # a report without its per-message fields
        head, recipients = Message(), blocks[:_MAX_RECIPIENTS]
    return Report(
        envelope_id=field(head, "Original-Envelope-Id"), message_id=message_id,
        queue_id=field(head, "X-Postfix-Queue-ID"), reporting_mta=typed(head, "Reporting-MTA"),
        arrival_date=field(head, "Arrival-Date"), date=field(message, "Date"),
        recipients=tuple(_recipient(block) for block in recipients if "Action" in block),
    )


def _telling(recipient: RecipientStatus) -> str:
    """Return the status, or for one that tells nothing what the diagnostic means."""
    status = recipient.status
    return (meaning(recipient.diagnostic) or status) if not status or status.endswith(".0") else status


def _recipient(block: Message) -> RecipientStatus:
    status = _STATUS.search(field(block, "Status"))
    action = field(block, "Action").split("(")[0].strip().lower()
    return RecipientStatus(
        action="failed" if action.startswith(("fail", "error")) else action.split(" ")[0], status=status.group(0) if status else "",
        final_recipient=address(block, "Final-Recipient"), original_recipient=address(block, "Original-Recipient"),
        remote_mta=typed(block, "Remote-MTA"), diagnostic=typed(block, "Diagnostic-Code"),
        last_attempt_date=field(block, "Last-Attempt-Date"),
    )


def _blocks(part: Message) -> Iterator[Message]:
    """Yield the groups of fields; the stdlib parts them only in message/delivery-status, not in its RFC 6533 form."""
    payload = part.get_payload()
    groups = [group for group in payload if isinstance(group, Message)] if isinstance(payload, list) else []
    yield from groups
    if part.get_content_type() != "message/delivery-status" and groups:
        rest = groups[0].get_payload(decode=True)  # as bytes, since get_payload() alone spoils those beyond ASCII
        if isinstance(rest, bytes):
            yield from (message_from_bytes(group) for group in re.split(rb"\r?\n\r?\n", rest) if group.strip())


def _returned_message_id(part: Message) -> str:
    payload = part.get_payload()
    inner = payload[0] if isinstance(payload, list) and payload else message_from_string(str(payload))
    return field(inner, "Message-ID").strip("<> ") if isinstance(inner, Message) else ""
