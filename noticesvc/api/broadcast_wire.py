"""Wire models of the broadcasts' routes."""

from typing import Annotated, Literal

from pydantic import Field

from noticesvc.api import wire
from noticesvc.api.notice_wire import Future, NoticeBody
from noticesvc.domain.notice import Category, Channel

Rates = dict[Channel, Annotated[float, Field(ge=0.001, le=1_000_000)]]
Name = Annotated[wire.Line, Field(min_length=1, max_length=200)]


class Audience(wire.Wire):
    """Everybody at the moment of approval, or whoever is uploaded before it."""

    type: Literal["all", "upload"]


class PostBroadcast(wire.Wire):
    """A notice for many: `effective_at` is that of its notice and given once; `rates` are deliveries a second by channel."""

    name: Name
    notice: NoticeBody
    audience: Audience
    effective_at: Future | None = None
    rates: Rates | None = None


class ChannelCounts(wire.Wire):
    """Deliveries on a channel by state, their sum, and the notices whose service is through it (`served`)."""

    total: int
    pending: int
    sent: int
    delivered: int
    failed: int
    undeliverable: int
    unknown: int
    cancelled: int
    expired: int
    served: int


class AgreementCounts(wire.Wire):
    """Answers of recipients to a change of an agreement, and how many were served, announcements and in-site messages left out, at
    all and at least `days` whole days before it takes effect.
    """

    accepted: int
    refused: int
    refused_expressly: int
    objected: int
    served_independently: int
    days: int
    served_independently_in_time: int


class BroadcastQuery(wire.Wire):
    """`days`: how long before the effective time service counts as in time."""

    days: Annotated[int, Field(ge=0, le=400, strict=False)] = 7


class BroadcastCounts(wire.Wire):
    """Notices by state; `total` is the sum of the six. Those not made yet count as queued, after a cancel as cancelled."""

    total: int
    queued: int
    in_progress: int
    served: int
    unserved: int
    cancelled: int
    expired: int
    expanded: int
    by_channel: dict[Channel, ChannelCounts]


class Broadcast(wire.Wire):
    """A broadcast as it stands, its counts from one snapshot; `rate_per_s` are notices finished a second."""

    id: str
    name: str
    state: Literal["draft", "running", "paused", "completed", "cancelled"]
    audience: Audience
    category: Category
    channels: list[Channel]
    strategy: Literal["parallel", "ladder"]
    template: str | None
    effective_at: wire.Instant | None
    rates: dict[Channel, float]
    created_at: wire.Instant
    approved_at: wire.Instant | None
    ended_at: wire.Instant | None
    agreement: AgreementCounts | None
    counts: BroadcastCounts
    rate_per_s: float
    eta_s: int | None
    warnings: list[str] | None = None


class BroadcastPage(wire.Wire):
    """A page."""

    items: list[Broadcast]
    next_cursor: str | None
