"""What one recipient would get from a broadcast, on every channel. Called by the preview route; nothing is kept.

Texts come from the same rendering as dispatch's, contacts from the same rule; an address is shown in part at most.
"""

from typing import Any

from noticesvc.domain.access import Access
from noticesvc.domain.content import Content
from noticesvc.domain.sms_parts import TooManyParts, count_parts
from noticesvc.errors import Fault, Unprocessable
from noticesvc.operations import broadcast_audience, broadcast_request, broadcasts, dry_run
from noticesvc.operations.accept import Prepared
from noticesvc.operations.notice_request import resolve
from noticesvc.operations.world import World
from noticesvc.rendering import mail, markdown, sms
from noticesvc.storage import tables as t
from noticesvc.storage.transaction import Tx


def preview(tx: Tx, world: World, access: Access, broadcast_id: str, recipient_id: str) -> dict[str, Any]:
    """Contacts, texts and warnings for a recipient.

    Raises NotFound and Forbidden for the broadcast; Unprocessable for an unknown recipient, and for one who is not in the audience
    where each recipient brings parameters.
    """
    row = broadcasts.found(tx, access, broadcast_id)
    asked = broadcast_request.load(tx, world, row)
    recipient = next(iter(tx.rows(t.recipient, "recipient_index", [world.vault.index("recipient", recipient_id)])), None)
    if recipient is None or recipient.wrapped_key is None or recipient.anonymised_at is not None:
        raise Unprocessable("unknown-recipient", "There is no such recipient; put their contacts first.",
                            (Fault("/recipient_id", "names no recipient"),))
    members = tx.execute(t.broadcast_recipient.select().where(
        t.broadcast_recipient.c.broadcast_id == broadcast_id, t.broadcast_recipient.c.subject_id == recipient.subject_id)).one_or_none()
    params: dict[str, Any] = {}
    if members is not None:
        key = world.vault.unwrap(recipient.wrapped_key, f"recipient:{recipient.subject_id}")
        params = broadcast_audience.params_of(members, key)
    elif asked.wanted:
        raise Unprocessable("not-in-audience", "The recipient is not in the audience, so what the template needs of them is not known.",
                            (Fault("/recipient_id", "names nobody who was uploaded"),))
    content = asked.content(params)
    template_sms = asked.notice.sms if asked.template is None else asked.template.sms
    template_carries = asked.notice.sms_carries if asked.template is None else asked.template.sms_carries
    resolved = resolve(asked.notice, world, template_sms, template_carries, lambda _category: True)
    prepared = Prepared("", access, asked.notice, resolved, content, recipient)
    contacts, warnings = dry_run.contacts_of(tx, world, prepared)
    void = recipient.account_state == "void"
    if void:
        warnings.append("The agreement with this recipient is void; no notice would be made.")
    there = not void if row.audience == "all" and row.approved_at is None else members is not None
    if not there and not void:
        warnings.append("The recipient is not in the audience.")
    return {"recipient_id": recipient_id, "in_audience": there, "contacts": contacts, "texts": dry_run.texts_of(world, prepared),
            "deadlines": dry_run.deadlines_of(tx, world, asked.notice),
            "messages": [_message(world, channel, content, {one["channel"] for one in contacts}) for channel in resolved.channels],
            "warnings": [*resolved.warnings, *warnings]}


def _message(world: World, channel: str, content: Content, reachable: set[str]) -> dict[str, Any]:
    """The message of a channel as it would be rendered; `unavailable` says why it would not be sent."""
    made: dict[str, Any] = {"channel": channel, "subject": content.subject, "text": None, "html": None, "parts": None, "unavailable": None}
    if channel in {"sms", "email", "postal"} and channel not in reachable:
        made["unavailable"] = "no contact in effect"
    elif channel in {"sms", "email"} and channel not in world.channels_served:
        made["unavailable"] = "no provider is configured"
    if channel == "sms":
        link = f"{world.public_url}/d/{dry_run.SAMPLE_TOKEN}" if content.sms_carries == "link" else None
        made |= {"subject": None, "text": sms.text(content, link)}
        try:
            made["parts"] = count_parts(made["text"])
        except TooManyParts:
            made["unavailable"] = "the text is longer than an SMS can be"
    elif channel == "email":
        made["text"], made["html"] = mail.texts(content, world.issuer, sandbox=world.sandbox)
    else:
        made["html"] = markdown.html(content.body)
    return made
