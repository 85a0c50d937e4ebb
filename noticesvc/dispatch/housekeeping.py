"""What must happen without anybody asking: receipts interpreted, waits ended, partitions made, old idempotency keys dropped,
the data of anonymised recipients destroyed.
"""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import replace

import structlog

from noticesvc.dispatch.loop import Loop, Loops
from noticesvc.errors import UnavailableError
from noticesvc.operations import anonymising, cures, horizons, later_announcements, receipts, sandbox, upkeep
from noticesvc.operations.world import World
from noticesvc.provider import Callback, Provider, ReadsMail, Receipt, TemporaryFailure
from noticesvc.storage.database import Database

log = structlog.get_logger()
_RECEIPTS, _ANNOUNCEMENTS, _CURES = 200, 200, 50
_SANDBOX_POLL_S, _HORIZON_POLL_S, _UPKEEP_POLL_S = 0.1, 1.0, 600.0
_ANNOUNCEMENT_POLL_S = 0.5
_CURE_POLL_S = 1.0
_ERASURE_POLL_S = 1.0
_UNREAD_FOR = 600_000_000  # microseconds until a receipt of a provider that is configured no more is looked at again
_LARGE = 32 << 10  # bytes
_AUTHENTICATE_S = 10.0  # under what `receipts.due` gives for interpreting
_ASK_FOR_S = 3600.0  # how long a mail waits for a DNS that does not answer, before it counts as unauthenticated


class Housekeeping(Loops):
    """The worker's small loops."""

    def __init__(self, database: Database, world: World, providers: Mapping[str, Provider]) -> None:
        self._database, self._world, self._providers = database, world, providers
        receipt_loop = Loop("receipts", self._receipts, 1.0)
        database.on_commit("receipts", receipt_loop.woken.set)
        self._loops = [receipt_loop, Loop("horizons", self._horizons, _HORIZON_POLL_S), Loop("upkeep", self._upkeep, _UPKEEP_POLL_S)]
        erasure_loop = Loop("erasure", self._erasure, _ERASURE_POLL_S)
        database.on_commit("erasure", erasure_loop.woken.set)
        self._loops.append(erasure_loop)
        self._loops.append(Loop("announcements", self._announcements, _ANNOUNCEMENT_POLL_S))
        cure_loop = Loop("cures", self._cures, _CURE_POLL_S)
        database.on_commit("cures", cure_loop.woken.set)
        self._loops.append(cure_loop)
        if world.sandbox:
            self._loops.append(Loop("sandbox-receipts", self._sandbox, _SANDBOX_POLL_S))

    async def _receipts(self) -> bool:
        found = await self._database.write(receipts.due, self._world, _RECEIPTS)
        unread = [stored.id for stored in found if stored.provider not in self._providers]
        if unread:
            await self._database.write(receipts.postpone, unread, _UNREAD_FOR)
        mine = [stored for stored in found if stored.provider in self._providers]
        read = await asyncio.gather(*(self._read(stored) for stored in mine))
        batch = [(stored, receipts) for stored, receipts in zip(mine, read, strict=True) if receipts is not None]
        try:
            if batch:
                await self._database.write(receipts.apply_all, self._world, batch)
        except UnavailableError:
            raise
        except Exception as error:
            log.error("receipts cannot be applied together", error=type(error).__name__, exc_info=True)
            for stored, found_in_it in batch:  # one that cannot be applied must not hold up the others; it is due again later
                with contextlib.suppress(Exception):
                    await self._database.write(receipts.apply, self._world, stored, found_in_it)
        return len(found) == _RECEIPTS

    def _interpret(self, stored: receipts.Stored) -> Sequence[Receipt]:
        """What its provider reads in it; a provider that fails reads nothing, and the bytes stay."""
        provider = self._providers[stored.provider]
        try:
            if stored.kind == "callback":
                data = stored.data
                body = b"" if data["method"] == "GET" else stored.raw
                answer = provider.parse_callback(Callback(
                    data["method"], data["query"], data["headers"], body, data["reference"],
                    ours=data.get("ours", data["reference"] is not None), url=data.get("url", "")))
                return _within(answer.receipts, data["reference"])
            return provider.parse_receipt(stored.raw, stored.data["media_type"])
        except Exception as error:
            log.error("a receipt cannot be read", provider=stored.provider, error=type(error).__name__)
            return ()

    async def _read(self, stored: receipts.Stored) -> Sequence[Receipt] | None:
        """What stands in it and who vouches for it. A large mail may take a parser seconds, so it is read beside the event loop."""
        large = len(stored.raw) > _LARGE
        return await self._authenticated(stored, await asyncio.to_thread(self._interpret, stored) if large else self._interpret(stored))

    async def _authenticated(self, stored: receipts.Stored, read: Sequence[Receipt]) -> Sequence[Receipt] | None:
        """The same receipts with who vouches for them; null where that cannot be told now and the mail is read again later."""
        provider: object = self._providers.get(stored.provider)
        if stored.kind != "bytes" or not read or not isinstance(provider, ReadsMail):
            return read
        try:
            async with asyncio.timeout(_AUTHENTICATE_S):
                return await provider.authenticate(stored.raw, read)
        except (TemporaryFailure, TimeoutError):
            waited_s = (self._database.sources.clock() - stored.received_at) / 1_000_000
            return None if waited_s < _ASK_FOR_S else read
        except Exception as error:  # what nobody can vouch for is kept and has no effect
            log.error("a mail cannot be authenticated", provider=stored.provider, error=type(error).__name__)
            return read

    async def _horizons(self) -> bool:
        return await self._database.write(horizons.sweep, self._world) > 0

    async def _announcements(self) -> bool:
        return await self._database.write(later_announcements.deliver, self._world, _ANNOUNCEMENTS) == _ANNOUNCEMENTS

    async def _erasure(self) -> bool:
        return await self._database.write(anonymising.sweep, self._world) == anonymising.TOGETHER

    async def _cures(self) -> bool:
        found = await self._database.read(cures.due, _CURES)
        for one in found:
            try:
                await self._database.write(cures.look, self._world, one)
            except UnavailableError:
                raise
            except Exception as error:  # one that cannot be looked at must not hold up the others; it is due again at the next turn
                log.error("a cure cannot be looked at", error=type(error).__name__, exc_info=True)
        return False

    async def _sandbox(self) -> bool:
        return await self._database.write(sandbox.release, self._world) > 0

    async def _upkeep(self) -> bool:
        await self._database.write(upkeep.run)
        return False


def _within(found: Sequence[Receipt], attempt: str | None) -> Sequence[Receipt]:
    """The same receipts, whatever their provider thought: the token of one attempt's address vouches for no other attempt."""
    if attempt is None:
        return found
    return [replace(one, authenticated_by=None) if one.authenticated_by == "hmac-token" and one.reference != attempt else one
            for one in found]
