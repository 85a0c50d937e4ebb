"""Wire models of the notices' routes, and a notice on its way from JSON to the operation.

Sizes: subject 250 characters on one line, body 256 KiB, SMS text 1,000 characters, metadata 16 KiB of canonical JSON.
"""

import hashlib
import json
from datetime import datetime
from typing import Annotated, Any, Literal, Self, cast

import msgspec
from pydantic import AfterValidator, Field, JsonValue, WithJsonSchema
from pydantic_core import PydanticCustomError

from noticesvc.api import wire
from noticesvc.domain import instant
from noticesvc.domain.identity import is_id
from noticesvc.domain.notice import Category, Channel, Stage, State, Strategy
from noticesvc.errors import Fault, InputError, MalformedInput
from noticesvc.ledger.canonical import canonical
from noticesvc.operations.contents import LONGEST_BODY, LONGEST_SMS, LONGEST_SUBJECT
from noticesvc.operations.notice_request import NoticeRequest

LONGEST_METADATA = 16 << 10
MOST_IN_BATCH = 1000
BATCH_LIMIT = 16 << 20
_LAST = instant.parse("9000-01-01T00:00:00Z")  # far enough, and deadlines after it can still be counted


def _whole(text: str) -> int | float:
    """A whole number; one too long to be any is left for the model to refuse in its item."""
    return int(text) if len(text) < 100 else float("inf")


def _no_number(_text: str) -> float:
    raise ValueError("JSON has no NaN and no Infinity")


def _body(value: str) -> str:
    if len(value.encode()) > LONGEST_BODY:
        raise PydanticCustomError("body", "must be at most 256 KiB of UTF-8")
    return value


def _metadata(value: dict[str, JsonValue]) -> dict[str, JsonValue]:
    if len(canonical(value)) > LONGEST_METADATA:
        raise PydanticCustomError("metadata", "must be at most 16 KiB of canonical JSON")
    return value


def _filled(value: str) -> str:
    if not value.strip():
        raise PydanticCustomError("blank", "must not be blank")
    return value


def _sensible(value: datetime) -> datetime:
    if value > _LAST:
        raise PydanticCustomError("instant", "must be before the year 9000")
    return value


def _our_id(value: str) -> str:
    if not is_id(value):
        raise PydanticCustomError("our_id", "must be an id of ours, a UUID of version 7 in lower case")
    return value


def _parameter(value: JsonValue) -> JsonValue:
    if isinstance(value, dict | list | float):
        raise PydanticCustomError("parameter", "must be a string or a whole number")
    return wire.check_json(value)


Subject = Annotated[wire.Line, AfterValidator(_filled), Field(min_length=1, max_length=LONGEST_SUBJECT)]
Body = Annotated[wire.Text, AfterValidator(_filled), AfterValidator(_body), Field(min_length=1)]
Sms = Annotated[wire.Text, AfterValidator(_filled), Field(min_length=1, max_length=LONGEST_SMS)]
Carries = Literal["full", "link", "pointer"]
Future = Annotated[wire.Instant, AfterValidator(_sensible)]
Word = Annotated[wire.Line, Field(min_length=1, max_length=200)]
Id = Annotated[str, AfterValidator(_our_id), WithJsonSchema(wire.OUR_ID)]
Parameters = dict[Annotated[wire.Line, Field(max_length=128)], Annotated[JsonValue, AfterValidator(_parameter)]]
IdempotencyKey = Annotated[wire.Line, Field(min_length=1, max_length=255)]


class AskedContent(wire.Wire):
    """What a notice says: `subject` on one line, `body` in Markdown, and the text for SMS, where `link` holds one `{link}`."""

    subject: Subject
    body: Body
    sms: Sms | None = None
    sms_carries: Carries | None = None


class AskedTemplate(wire.Wire):
    """A stored template (the newest version if none is named) and its parameters, each a string or a whole number."""

    name: wire.CallerId
    version: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None
    params: Parameters = Field(default_factory=dict)


class AskedCase(wire.Wire):
    """The court's case that a judicial notice belongs to."""

    court: Word
    case_number: wire.CallerId
    stage: Stage
    document_type: Word


class Window(wire.Wire):
    """How long the recipient has to respond: working days or calendar days."""

    working_days: Annotated[int, Field(ge=1, le=1000)] | None = None
    days: Annotated[int, Field(ge=1, le=3650)] | None = None


class NoticeBody(wire.Wire):
    """A notice but for its recipient. Exactly one of `content` and `template` is given; null or left out means the default."""

    category: Category
    channels: Annotated[list[Channel], Field(min_length=1, max_length=5)] | None = None
    strategy: Strategy | None = None
    ladder_after: Annotated[str, Field(max_length=40)] | None = None
    content: AskedContent | None = None
    template: AskedTemplate | None = None
    service_rule: Annotated[wire.Line, Field(min_length=1, max_length=128)] | None = None
    not_before: Future | None = None
    expires_at: Future | None = None
    effective_at: Future | None = None
    ground: Word | None = None
    response_window: Window | None = None
    reference: wire.CallerId | None = None
    documents: Annotated[list[Id], Field(max_length=20)] | None = None
    case: AskedCase | None = None
    metadata: Annotated[wire.FreeJson, AfterValidator(_metadata)] | None = None


class PostNotice(NoticeBody):
    """A notice. Exactly one of `content` and `template` is given; null or left out means the default."""

    recipient_id: wire.CallerId


class BatchItem(PostNotice):
    """One notice of a batch."""

    idempotency_key: IdempotencyKey | None = None


class PostBatch(wire.Wire):
    """Up to 1,000 notices. Each is read by itself, so that one that cannot be read spoils no other."""

    notices: Annotated[list[BatchItem | JsonValue], Field(min_length=1, max_length=MOST_IN_BATCH)]

    @classmethod
    def model_validate_json(cls, json_data: str | bytes | bytearray, **_more: Any) -> Self:
        """Only the frame is judged here; `notices` then holds each as plain JSON. The schema above describes them."""
        try:
            text = json_data if isinstance(json_data, str) else bytes(json_data).decode()
            read = json.loads(text, parse_int=_whole, parse_constant=_no_number)
        except (ValueError, RecursionError):
            raise MalformedInput("The body is not JSON in UTF-8, or nested too deeply.") from None
        items = read.get("notices") if isinstance(read, dict) else None
        others = [] if items is None else [name for name in read if name != "notices"]
        faults = [Fault(wire.pointer((name,)), "is no member of this object") for name in others]
        if not isinstance(items, list) or not 1 <= len(items) <= MOST_IN_BATCH:
            faults.append(Fault("/notices", f"must be a list of 1 to {MOST_IN_BATCH} notices"))
        if faults:
            raise InputError("The body does not have the form that this route takes.", tuple(faults[:50]))
        return cast("Self", cls.model_construct(notices=cast("list[BatchItem | JsonValue]", items)))


class PutTemplate(wire.Wire):
    """The texts of a template: plain text with `{{ name }}`."""

    subject: Subject
    body: Body
    sms: Sms | None = None
    sms_carries: Carries | None = None


class PostAnnouncement(wire.Wire):
    """What is announced to everybody."""

    subject: Subject
    body: Body
    effective_at: Future | None = None


class NoticeFilter(wire.Wire):
    """Which notices; times are half-open: `accepted_from` ≤ t < `accepted_to`."""

    recipient_id: wire.CallerId | None = None
    reference: wire.CallerId | None = None
    category: Category | None = None
    state: State | None = None
    broadcast_id: Id | None = None
    accepted_from: wire.Instant | None = None
    accepted_to: wire.Instant | None = None
    case_number: wire.CallerId | None = None


class NoticeQuery(NoticeFilter):
    """A page of the notices that fit, the newest first."""

    limit: wire.Limit = 50
    cursor: str | None = None


class PostQuery(wire.Wire):
    """`dry_run`: show what would be sent, and send and keep nothing."""

    dry_run: Annotated[bool, Field(strict=False)] = False


class PageQuery(wire.Wire):
    """A page."""

    limit: wire.Limit = 50
    cursor: str | None = None


class AcceptedNotice(wire.Wire):
    """The notice is durable."""

    id: str
    state: Literal["queued"]
    accepted_at: wire.Instant
    recipient_id: str
    warnings: list[str]


class DryContact(wire.Wire):
    """The contact that a channel would use now; in-site it is the account."""

    channel: Channel
    contact_id: str | None
    address_masked: str | None
    confirmation: Literal["confirmed", "identified", "unknown"]
    effective_from: wire.Instant
    state: Literal["usable", "invalid"]


class DryDeadline(wire.Wire):
    """A deadline as it would be if service were complete at once."""

    kind: Literal["cure", "response", "appeal", "effective"]
    ends_at: wire.Instant
    provisional: bool


class DryRun(wire.Wire):
    """What the notice would be; `texts` by channel, the SMS with a link as long as a real one."""

    contacts: list[DryContact]
    texts: dict[Channel, str]
    deadlines: list[DryDeadline]
    warnings: list[str]


class Counts(wire.Wire):
    """Notices by state; `total` is their sum."""

    total: int
    queued: int
    in_progress: int
    served: int
    unserved: int
    cancelled: int
    expired: int


class CountsReply(wire.Wire):
    """One snapshot."""

    counts: Counts


class TemplateReply(wire.Wire):
    """The version that was stored."""

    name: str
    version: int


class DocumentReply(wire.Wire):
    """A stored document."""

    id: str
    sha256: str
    media_type: Literal["application/pdf", "image/png", "image/jpeg"]
    size: int


class Announcement(wire.Wire):
    """A live announcement."""

    id: str
    subject: str
    body: str
    body_html: str
    content_sha256: str
    published_at: wire.Instant
    effective_at: wire.Instant | None


class Announcements(wire.Wire):
    """A page."""

    items: list[Announcement]
    next_cursor: str | None


class BatchReply(wire.Wire):
    """One result for each notice, in order: `{"status": 202, "id", …}` or `{"status": 422 or 403, "problem"}`."""

    results: list[dict[str, JsonValue]]


def body_hash(body: NoticeBody) -> bytes:
    """SHA-256 of what was asked: members as given in one order, times as instants, without the idempotency key."""
    asked = body.model_dump(mode="json", exclude_unset=True, exclude={"idempotency_key"})
    return hashlib.sha256(msgspec.json.encode(asked, order="sorted")).digest()


def request_of(body: NoticeBody, idempotency_key: str | None, *, bulk: bool = False) -> NoticeRequest:
    """The notice as the operation takes it; `bulk` if it is one of many in its request. InputError for members that exclude each other."""
    recipient_id = body.recipient_id if isinstance(body, PostNotice) else ""  # that of a broadcast has many
    faults = []
    if (body.content is None) is (body.template is None):
        what = "give either content or template" if body.content is None else "give content or template, not both"
        faults += [Fault("/content", what), Fault("/template", what)]
    window = body.response_window.model_dump(exclude_none=True) if body.response_window else None
    if window is not None and len(window) != 1:
        faults.append(Fault("/response_window", "must hold either working_days or days"))
    if faults:
        raise InputError("The notice cannot be accepted as it is.", tuple(faults))
    content, template = body.content, body.template
    return NoticeRequest(
        recipient_id=recipient_id, category=body.category, channels=None if body.channels is None else tuple(body.channels),
        strategy=body.strategy or "parallel", ladder_after=body.ladder_after,
        subject=content.subject if content else None, body=content.body if content else None, sms=content.sms if content else None,
        sms_carries=content.sms_carries if content else None, template=template.name if template else None,
        template_version=template.version if template else None, params=template.params if template else {},
        service_rule=body.service_rule, not_before=micros(body.not_before), expires_at=micros(body.expires_at),
        effective_at=micros(body.effective_at), ground=body.ground, response_window=window, reference=body.reference,
        documents=tuple(body.documents or ()), case=body.case.model_dump() if body.case else None, metadata=body.metadata or {},
        idempotency_key=idempotency_key, body_hash=body_hash(body) if idempotency_key is not None else b"",
        bulk=bulk)


def micros(value: datetime | None) -> int | None:
    """An instant as operations take it."""
    return None if value is None else instant.to_micros(value)
