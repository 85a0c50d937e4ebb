"""A request for one notice: as the caller put it, and resolved against defaults, rules and templates."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from noticesvc.domain import notice
from noticesvc.domain.rules import Rule
from noticesvc.errors import Fault, Forbidden, InputError
from noticesvc.operations.world import World


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeRequest:
    """What a caller asks for; times in microseconds. Exactly one of `content` and `template` is given."""

    recipient_id: str
    category: str
    channels: tuple[str, ...] | None = None
    strategy: str = "parallel"
    ladder_after: str | None = None
    subject: str | None = None
    body: str | None = None
    sms: str | None = None
    sms_carries: str | None = None
    template: str | None = None
    template_version: int | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    service_rule: str | None = None
    not_before: int | None = None
    expires_at: int | None = None
    effective_at: int | None = None
    ground: str | None = None
    response_window: Mapping[str, int] | None = None
    reference: str | None = None
    documents: tuple[str, ...] = ()
    case: Mapping[str, str] | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    idempotency_key: str | None = None
    body_hash: bytes = b""
    bulk: bool = False  # one of many in one request, so that single ones go first
    cure_id: str | None = None  # of a cure notice that the service starts by itself


@dataclass(frozen=True, slots=True)
class Resolved:
    """A request with its defaults filled in and its rules checked."""

    channels: tuple[str, ...]
    rule: Rule
    warnings: tuple[str, ...]


def check_sms(sms: str | None, carries: str | None, base: str) -> list[Fault]:
    """`sms_carries` is required with `sms`; only `link` holds `{link}`, and exactly once."""
    if sms is None:
        return [Fault(f"{base}/sms_carries", "says what the SMS carries, but there is no sms")] if carries is not None else []
    if carries is None:
        return [Fault(f"{base}/sms_carries", "is required with sms: full, link or pointer")]
    count = sms.count("{link}")
    if carries == "link" and count != 1:
        return [Fault(f"{base}/sms", "must hold {link} exactly once, since sms_carries is link")]
    if carries != "link" and count:
        return [Fault(f"{base}/sms", "may hold {link} only if sms_carries is link")]
    return []


def resolve(request: NoticeRequest, world: World, sms: str | None, sms_carries: str | None, allows: Any) -> Resolved:
    """Fill defaults and check every rule that needs no recipient. `sms` is that of the content or template.

    Raises Forbidden for a category that the key may not use, InputError with all faults otherwise.
    """
    if not allows(request.category):
        raise Forbidden(f"This key may not be used for notices of the category {request.category}.")
    faults: list[Fault] = []
    warnings: list[str] = []
    base = "/content" if request.template is None else "/template"
    channels = request.channels
    if channels is None:
        channels = notice.default_channels(request.category)
        if sms is None and "sms" in channels:
            channels = tuple(c for c in channels if c != "sms")
            warnings.append("There is no SMS text, so the notice does not go by SMS.")
    elif "sms" in channels and sms is None:
        faults.append(Fault("/content/sms" if request.template is None else "/template", "the channel sms needs an SMS text"))
    if len(set(channels)) != len(channels) or not channels:
        faults.append(Fault("/channels", "must name at least one channel, each once"))
    faults += check_sms(sms, sms_carries, base)
    if "announcement" in channels:
        if request.category not in ("agreement", "platform"):
            faults.append(Fault("/channels", "only agreement and platform notices may be announced"))
        elif request.params:
            faults.append(Fault("/channels", "a notice with template parameters is not published"))
    rule_id = request.service_rule or notice.default_rule(request.category)
    rule = world.rules.get(rule_id)
    if rule is None or rule.analysis:
        faults.append(Fault("/service_rule", "must be an agreement rule or a configured one; court rules are analysis only"))
    if request.strategy == "ladder":
        if request.ladder_after is not None and notice.duration_s(request.ladder_after) is None:
            faults.append(Fault("/ladder_after", "must be an ISO 8601 duration such as PT24H"))
    elif request.ladder_after is not None:
        faults.append(Fault("/ladder_after", "belongs to the strategy ladder"))
    if request.expires_at is not None and request.not_before is not None and request.expires_at <= request.not_before:
        faults.append(Fault("/expires_at", "must be after not_before"))
    if request.case is not None and request.category != "judicial":
        faults.append(Fault("/case", "belongs to judicial notices"))
    if faults or rule is None:
        raise InputError("The notice cannot be accepted as it is.", tuple(faults))
    missing = [c for c in channels if c in ("sms", "email") and c not in world.channels_served]
    warnings += [f"No provider is configured for {c}; that delivery will fail." for c in missing]
    return Resolved(channels, rule, tuple(warnings))
