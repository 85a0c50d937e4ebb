"""One call of a provider: render, write the journal, call with no transaction open, and turn whatever happens into an Answer."""

import asyncio
import hashlib
import json
from collections.abc import Callable, Sequence

import structlog

from noticesvc.dispatch.journal import Journal
from noticesvc.domain import notice
from noticesvc.operations import callback_address, return_token
from noticesvc.operations.record import Answer
from noticesvc.operations.seal import Sealed
from noticesvc.operations.world import World
from noticesvc.provider import Message, OutcomeUnknown, PermanentFailure, Provider, ProviderUnavailable, Rejected, TemporaryFailure
from noticesvc.rendering import mail, sms

log = structlog.get_logger()


def render(world: World, sealed: Sealed, provider: Provider, attached: Sequence[mail.Attachment] = ()) -> Message:
    """The message of an attempt, in the exact bytes that are handed to its provider."""
    link = f"{world.public_url}/d/{sealed.link_token}" if sealed.link_token else None
    message_id = return_token.message_id(world, sealed.notice_id)
    text, mime = "", b""
    if sealed.channel == "sms":
        text = sms.text(sealed.content, link)
    else:
        commercial = not notice.mandatory(sealed.category)
        mime = mail.build(sealed.content, sender=provider.from_address, sender_name=world.issuer, to=sealed.address,
                          message_id=message_id, date_micros=sealed.intended_at, sandbox=world.sandbox, attached=attached,
                          unsubscribe=world.service_mailbox if commercial else None)
    params = dict(sealed.content.params)
    if link is not None and sealed.link_token is not None:
        params |= {"link": link, "link_token": sealed.link_token}
    mine = return_token.make(world, sealed.notice_id, sealed.number) if sealed.channel == "email" else ""
    return Message(reference=sealed.reference, message_id=message_id, return_token=mine, channel=sealed.channel, to=sealed.address,
                   subject=sealed.content.subject, text=text, mime=mime, commercial=not notice.mandatory(sealed.category),
                   callback_url=callback_address.of_attempt(world.vault, world.public_url, sealed.provider, sealed.reference),
                   template=None if sealed.content.template is None else sealed.content.template[0], template_params=params)


async def call(world: World, sealed: Sealed, provider: Provider, journal: Journal, clock: Callable[[], int], timeout_s: float,
               attached: Sequence[mail.Attachment] | None = ()) -> Answer:
    """Make the attempt. Never raises but for cancellation: every end is an Answer. `attached` null: a document is gone."""
    reference = sealed.reference

    def ended(outcome: str, started: int | None, **more: object) -> Answer:
        return Answer(sealed.notice_id, sealed.channel, sealed.number, outcome, started, clock(),
                      content_sha256=sealed.content_sha256, **more)  # type: ignore[arg-type]

    try:
        if attached is None:
            raise LookupError
        message = render(world, sealed, provider, attached)
    except Exception as error:
        log.error("a message cannot be rendered", error=type(error).__name__, channel=sealed.channel)
        return ended("rejected", clock(), raw=json.dumps({"error": "cannot be rendered"}).encode(), media_type="application/json")
    started = clock()
    try:
        journal.start(reference, started)
    except OSError as error:
        log.error("journal cannot be written, so no call is started", error=type(error).__name__)
        return ended("not_sent", None)
    sent = hashlib.sha256(message.mime or message.text.encode()).hexdigest()
    try:
        async with asyncio.timeout(timeout_s + 1):
            done = await provider.submit(message)
        answer = ended(done.outcome, started, raw=done.raw, media_type=done.media_type, code=done.code,
                       provider_reference=done.provider_reference, claimed_time_raw=done.claimed_time_raw, claimed_at=done.claimed_at,
                       parts=done.parts, message_sha256=sent)
    except (TemporaryFailure, PermanentFailure, Rejected, OutcomeUnknown) as refusal:
        answer = ended(refusal.outcome, started, raw=refusal.raw or None, media_type=refusal.media_type if refusal.raw else None,
                       code=refusal.code, message_sha256=sent, elsewhere=isinstance(refusal, ProviderUnavailable))
    except Exception as error:
        log.error("a provider failed in an unexpected way", provider=sealed.provider, error=type(error).__name__)
        answer = ended("unknown", started, message_sha256=sent)
    journal.answer(reference, answer, sealed.key)
    return answer
