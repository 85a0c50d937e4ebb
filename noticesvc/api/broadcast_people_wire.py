"""Wire models of the broadcasts' routes that people use."""

from typing import Annotated, Literal

from pydantic import Field

from noticesvc.api import wire
from noticesvc.api.notice_wire import DryContact, DryDeadline
from noticesvc.domain.notice import Channel


class RejectedLine(wire.Wire):
    """A physical line that cannot be taken; the first line of an upload is 1, in CSV the header."""

    line: int
    reason: str


class Uploaded(wire.Wire):
    """What became of an upload's rows: the first 1,000 rejections, and how many there were."""

    accepted: int
    duplicates: int
    rejected: list[RejectedLine]
    rejected_total: int


class PreviewQuery(wire.Wire):
    """For whom."""

    recipient_id: wire.CallerId


class PreviewMessage(wire.Wire):
    """A message as it would be rendered; `parts` of an SMS; `unavailable` says why it would not be sent, null: it would."""

    channel: Channel
    subject: str | None
    text: str | None
    html: str | None
    parts: int | None
    unavailable: str | None


class Preview(wire.Wire):
    """What a recipient would get; `texts` by channel in short, `messages` with everything, contacts shown in part."""

    recipient_id: str
    in_audience: bool
    contacts: list[DryContact]
    texts: dict[Channel, str]
    deadlines: list[DryDeadline]
    messages: list[PreviewMessage]
    warnings: list[str]


class Caution(wire.Wire):
    """Something to know: of how many recipients, and what."""

    kind: Literal["no_acceptance", "no_contact", "no_sms", "no_email", "no_postal", "invalid_contact", "no_notice", "effective_soon",
                  "channel", "template_unmapped", "sms"]
    count: int
    detail: str


class SmsCost(wire.Wire):
    """What the SMS come to; `estimated` where each recipient has another text; the price is null where none is configured."""

    recipients: int
    parts_each: float
    parts: int
    estimated: bool
    price: float | None
    currency: str


class Warnings(wire.Wire):
    """What to know before approval; `sms` is null where the broadcast does not go by SMS."""

    audience: int
    items: list[Caution]
    sms: SmsCost | None


class Member(wire.Wire):
    """A recipient of the audience; null once the id was destroyed."""

    recipient_id: str | None


class MemberPage(wire.Wire):
    """A page."""

    items: list[Member]
    next_cursor: str | None


class Spoken(wire.Wire):
    """The language of the report's words."""

    lang: Literal["zh", "en"] = "zh"


class ReportQuery(Spoken):
    """And whether a byte order mark comes first, for spreadsheet programs."""

    excel: Literal["true", "false"] = "false"


class PdfQuery(Spoken):
    """And how many days before the change takes effect counts as in time."""

    days: Annotated[int, Field(ge=0, le=400, strict=False)] = 7


class PostFollowUp(wire.Wire):
    """By which channels those who were not served are told again; the name is made from the first one's where it is left out."""

    channels: Annotated[list[Channel], Field(min_length=1, max_length=5)]
    name: Annotated[wire.Line, Field(min_length=1, max_length=200)] | None = None
