"""Asks providers what became of attempts: when one is unknown, when its receipts do not come, when a push cannot be trusted."""

import asyncio
from collections.abc import Mapping

import structlog

from noticesvc.config import ProviderSettings
from noticesvc.dispatch.loop import Loop
from noticesvc.operations import inquiries
from noticesvc.operations.inquiries import Question
from noticesvc.operations.world import World
from noticesvc.provider import InquiryAnswer, Provider
from noticesvc.storage.database import Database

log = structlog.get_logger()
_AT_ONCE = 16
_POLL_S = 1.0


async def ask(providers: Mapping[str, Provider], settings: Mapping[str, ProviderSettings], question: Question) -> InquiryAnswer | None:
    """What the provider says became of an attempt; null if it cannot be asked or does not answer."""
    provider = providers.get(question.provider)
    if provider is None:
        return None
    try:
        async with asyncio.timeout(settings[question.provider].timeout_s):
            return await provider.query(question.inquiry)
    except Exception as error:
        log.warning("a provider could not be asked", provider=question.provider, error=type(error).__name__)
        return None


class Asking:
    """Puts the questions that are due. `start` and `stop` belong to the event loop that runs it."""

    def __init__(self, database: Database, world: World, providers: Mapping[str, Provider],
                 settings: Mapping[str, ProviderSettings]) -> None:
        self._database, self._world, self._providers, self._settings = database, world, providers, settings
        self._loop = Loop("inquiries", self.once, _POLL_S)
        database.on_commit("inquiries", self._loop.woken.set)

    async def start(self) -> None:
        """Begin."""
        self._loop.start()

    async def stop(self, grace_s: float) -> None:
        """End; a question without its answer is put again."""
        await self._loop.stop()

    def faults(self) -> dict[str, str]:
        """Whether the loop has ended although nobody asked it to."""
        return {"inquiries": "This loop has ended; restart the process."} if self._loop.dead else {}

    async def once(self) -> bool:
        """Put what is due; whether there may be more."""
        found, more = await self._database.write(inquiries.due, self._world, _AT_ONCE)
        answers = await asyncio.gather(*(ask(self._providers, self._settings, question) for question in found))
        for question, answer in zip(found, answers, strict=True):
            if answer is not None and answer.receipts:
                await self._database.write(inquiries.answered, self._world, question, answer)
        return more
