"""What a notice would be if it were posted: contacts, texts, deadlines, warnings. Nothing is kept. Called by the route."""

from typing import Any

from noticesvc.domain import deadline, instant
from noticesvc.domain import notice as notices
from noticesvc.domain.access import Access
from noticesvc.domain.address import mask
from noticesvc.operations import contacts
from noticesvc.operations.accept import Lookups, Prepared
from noticesvc.operations.evidence import at
from noticesvc.operations.notice_request import NoticeRequest
from noticesvc.operations.world import World
from noticesvc.rendering import markdown, sms
from noticesvc.storage.transaction import Tx

SAMPLE_TOKEN = "0" * 24  # a link as long as a real one


def dry_run(tx: Tx, world: World, access: Access, request: NoticeRequest) -> dict[str, Any]:
    """Check a request as `accept` does and show what it comes to. Raises the error that would refuse it."""
    prepared = Lookups(tx, world, [request]).prepare(access, request)
    shown, warnings = contacts_of(tx, world, prepared)
    return {"contacts": shown, "texts": texts_of(world, prepared), "deadlines": deadlines_of(tx, world, request),
            "warnings": [*prepared.resolved.warnings, *warnings]}


def contacts_of(tx: Tx, world: World, prepared: Prepared) -> tuple[list[dict[str, Any]], list[str]]:
    """The contact that each channel would use if dispatch came now, or at `not_before` as far as is known."""
    recipient, when = prepared.recipient, max(tx.now, prepared.request.not_before or 0)
    channels = prepared.resolved.channels
    found = contacts.resolve_at_dispatch(tx, [(recipient.subject_id, c) for c in channels if c in ("sms", "email", "postal")], when)
    key = world.vault.unwrap(recipient.wrapped_key, f"recipient:{recipient.subject_id}")
    refused = () if notices.mandatory(prepared.request.category) else recipient.refuse_commercial.split()
    shown: list[dict[str, Any]] = []
    warnings = []
    for channel in channels:
        if channel in refused:
            warnings.append(f"The recipient refuses commercial messages by {channel}; that delivery would be cancelled.")
        if channel == "in_site":
            shown.append({"channel": channel, "contact_id": None, "address_masked": None, "confirmation": "confirmed",
                          "effective_from": at(recipient.created_at), "state": "usable"})
            if recipient.account_state != "active":
                warnings.append("The account is not active; the in-site delivery would wait until it is.")
        if channel in ("in_site", "announcement"):
            continue
        row = found[recipient.subject_id, channel].usable
        if row is None and notices.mandatory(prepared.request.category):
            row = found[recipient.subject_id, channel].invalid
        if row is None:
            warnings.append(f"No usable contact is in effect for {channel}; that delivery would be undeliverable.")
            continue
        shown.append({"channel": channel, "contact_id": row["id"], "confirmation": row["confirmation"],
                      "address_masked": mask(channel, contacts.version(row, key).address),
                      "effective_from": at(row["effective_from"]), "state": row["state"]})
    return shown, warnings


def texts_of(world: World, prepared: Prepared) -> dict[str, str]:
    """What each channel would show; the SMS with a sample link where it carries one."""
    content, made = prepared.content, dict[str, str]()
    for channel in prepared.resolved.channels:
        if channel == "sms":
            made[channel] = sms.text(content, f"{world.public_url}/d/{SAMPLE_TOKEN}" if content.sms_carries == "link" else None)
        elif channel == "email":
            made[channel] = f"{content.subject}\n\n{markdown.plain(content.body)}"
        else:
            made[channel] = markdown.html(content.body)
    return made


def deadlines_of(tx: Tx, world: World, request: NoticeRequest) -> list[dict[str, Any]]:
    """`effective_at`, and the window as it would end if service, independent of our own channels, were complete at once."""
    found: list[dict[str, Any]] = []
    if request.effective_at is not None:
        found.append({"kind": "effective", "ends_at": at(request.effective_at), "provisional": False})
    served_on = instant.shanghai_date(instant.from_micros(max(tx.now, request.not_before or 0)))
    for kind, window in notices.windows(request.category, request.response_window).items():
        ends = (deadline.working_days(served_on, window["working_days"], world.calendar) if "working_days" in window
                else deadline.calendar_days(served_on, window["days"]))
        found.append({"kind": kind, "ends_at": instant.text(ends.ends_at), "provisional": True})
    return found
