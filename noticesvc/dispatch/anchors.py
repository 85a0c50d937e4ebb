"""Asks outside parties to vouch for our checkpoints: time-stamping services (RFC 3161) and witnesses (C2SP tlog-witness).

Started by bootstrap beside the sequencer, and at work only where that is in office. Each party has a task of its own, so that
one which is slow or dead holds up neither the others nor any notice: no transaction is open while it is asked, and what it
answers is checked before it is kept. One that is late is told by `faults`, which /readyz lists as degraded.
"""

import asyncio
import random
from base64 import b64encode
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from urllib.parse import urlsplit

import httpx
import rfc3161_client
import structlog
from cryptography import x509
from httpx_aiohttp import AiohttpTransport

from noticesvc import metrics
from noticesvc.domain import instant
from noticesvc.errors import LedgerError, NoticesvcError, VerificationError
from noticesvc.ledger.key import Verifier
from noticesvc.operations import anchoring
from noticesvc.proof import timestamps
from noticesvc.storage.database import Database

log = structlog.get_logger()
MOST_BYTES = 64 << 10  # of an answer
CLOCKS_US = 300_000_000  # how far a service's clock may be off ours
_SIZE_TYPE = "text/x.tlog.size"
_FIRST_S, _LONGEST_S, _POLL_S = 1.0, 300.0, 5.0


class Unanswered(NoticesvcError):
    """An outside party gave no answer that can be kept; the message says why, in constant words."""


@dataclass(slots=True)
class Party:
    """One outside party: how often it is asked, and since when it owes an answer (monotonic; null: it owes none)."""

    name: str
    url: str
    every_s: float
    late_after_s: float
    ask: Callable[["Party"], Awaitable[None]] = field(repr=False)
    witness: Verifier | None = None
    owes_since: float | None = None
    says: str = ""
    tries: int = 0

    def owes_s(self, now: float) -> float:
        """Since when it owes an answer, in seconds at a monotonic time; 0 if it owes none."""
        return 0.0 if self.owes_since is None else max(0.0, now - self.owes_since)


class Anchors:
    """The tasks of one process. `leads` tells whether its sequencer is in office."""

    def __init__(self, database: Database, log_keys: Sequence[Verifier], leads: Callable[[], bool], *, timeout_s: float = 15.0) -> None:
        self._database, self._log_keys, self._leads, self._timeout_s = database, list(log_keys), leads, timeout_s
        self._parties: list[Party] = []
        self._roots: Sequence[x509.Certificate] = ()
        self._woken = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._client: httpx.AsyncClient | None = None
        database.on_commit("checkpoint", self._woken.set)

    def add_tsa(self, url: str, roots: Sequence[x509.Certificate], every_s: float, late_after_s: float | None = None) -> None:
        """A time-stamping service, asked every so often while there are new entries; it may owe an answer for `late_after_s`."""
        self._roots = roots
        name = f"tsa:{urlsplit(url).netloc.rpartition('@')[2]}"
        self._parties.append(Party(name, url, every_s, late_after_s or every_s, self._stamp))

    def add_witness(self, url: str, key: Verifier, every_s: float = 1.0, late_after_s: float = 600.0) -> None:
        """A witness by its submission prefix and verifier key, asked for each new checkpoint, but not more often than `every_s`."""
        self._parties.append(Party(f"witness:{key.name}", f"{url.rstrip('/')}/add-checkpoint", every_s, late_after_s, self._cosign, key))

    async def start(self) -> None:
        """Begin; nobody is waited for."""
        self._client = httpx.AsyncClient(transport=AiohttpTransport(), timeout=self._timeout_s, follow_redirects=False, trust_env=False)
        now = asyncio.get_running_loop().time
        for party in self._parties:
            metrics.ANCHOR_OWES.labels(party.name).set_function(partial(_owes_s, party, now))
        self._tasks = [asyncio.create_task(self._run(party), name=party.name) for party in self._parties]

    async def stop(self, grace_s: float = 0.0) -> None:
        """End at once: what was not answered is asked again later."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._client is not None:
            await self._client.aclose()

    def faults(self) -> dict[str, str]:
        """Who is late, and why."""
        now = asyncio.get_running_loop().time()
        return {party.name: f"It has vouched for no newer checkpoint for {party.owes_s(now):.0f} s: {party.says or 'no answer yet.'}"
                for party in self._parties if party.owes_since is not None and party.owes_s(now) > party.late_after_s}

    async def _run(self, party: Party) -> None:
        while True:
            wait_s = min(party.every_s, _POLL_S)
            if self._leads():
                try:
                    async with asyncio.timeout(self._timeout_s):
                        await party.ask(party)
                    party.tries, party.says = 0, ""
                    metrics.ANCHORED.labels(party.name, "ok").inc()
                except (NoticesvcError, httpx.HTTPError, OSError, TimeoutError) as error:
                    wait_s = self._failed(party, error)
                except Exception as error:  # whatever an outside party makes us trip over must not end its task
                    log.error("anchor failed", anchor=party.name, exc_info=True)
                    wait_s = self._failed(party, error)
            await self._wait(party, wait_s)

    def _failed(self, party: Party, error: Exception) -> float:
        party.tries += 1
        metrics.ANCHORED.labels(party.name, "failed").inc()
        party.says = str(error) if isinstance(error, NoticesvcError) else f"it cannot be reached ({type(error).__name__})."
        if party.owes_since is None:
            party.owes_since = asyncio.get_running_loop().time()
        if party.tries == 1:
            log.warning("an anchor gave no answer that can be kept", anchor=party.name, says=party.says)
        most_s = _LONGEST_S if party.witness is not None else min(_LONGEST_S, party.every_s)
        wait_s: float = min(_FIRST_S * 2 ** min(party.tries - 1, 16), most_s)
        return wait_s * (0.5 + random.random())  # noqa: S311 (jitter)

    async def _wait(self, party: Party, wait_s: float) -> None:
        """Rest; a witness that is not failing is then asked as soon as there is a new checkpoint."""
        await asyncio.sleep(wait_s)
        if party.witness is not None and party.tries == 0:
            self._woken.clear()
            if self._leads() and await self._quietly(party) is not None:
                return
            try:
                async with asyncio.timeout(max(wait_s, 0.5)):
                    await self._woken.wait()
            except TimeoutError:
                return

    async def _quietly(self, party: Party) -> object:
        try:
            return await self._database.read(anchoring.cosignable, party.witness.vkey if party.witness else "", None)
        except NoticesvcError:
            return None

    async def _stamp(self, party: Party) -> None:
        """One timestamp, if one is due: request with a nonce, check everything, keep."""
        wanted = await self._database.read(anchoring.stampable, party.name)
        now = self._database.sources.clock()
        if wanted is None or not wanted.new or (wanted.stamped_at is not None and now - wanted.stamped_at < 0.9 * party.every_s * 1e6):
            party.owes_since = None
            return
        if party.owes_since is None:
            party.owes_since = asyncio.get_running_loop().time()
        message = wanted.note.encode()
        request = rfc3161_client.TimestampRequestBuilder().data(message).hash_algorithm(rfc3161_client.HashAlgorithm.SHA256).build()
        status, _, body = await self._post(party.url, request.as_bytes(), "application/timestamp-query")
        if status != 200:
            raise Unanswered(f"it answered with HTTP status {status}.")
        try:
            answer = rfc3161_client.decode_timestamp_response(body)
            granted, token = answer.status in (0, 1), answer.time_stamp_token()
        except (ValueError, TypeError, OverflowError):
            raise Unanswered("its answer is no time-stamp response.") from None
        if not granted or request.nonce is None:
            raise Unanswered(f"it refused with status {answer.status}.")
        try:
            said = timestamps.check(token, message, self._roots, request.nonce)
        except VerificationError as error:
            raise Unanswered(str(error)) from None
        at = instant.to_micros(said.at)
        if abs(at - self._database.sources.clock()) > CLOCKS_US:
            raise Unanswered("its time is more than five minutes off ours; set the clock that is wrong.")
        await self._database.write(anchoring.keep_token, party.name, wanted.size, wanted.note, token, at)
        party.owes_since = None

    async def _cosign(self, party: Party) -> None:
        """One cosignature, if there is a new checkpoint; a witness that is elsewhere than we remember is believed once."""
        witness = party.witness
        if witness is None:
            return
        wanted = await self._database.read(anchoring.cosignable, witness.vkey, None)
        if wanted is None:
            party.owes_since = None
            return
        if party.owes_since is None:
            party.owes_since = asyncio.get_running_loop().time()
        status, kind, body = await self._post(party.url, _request(wanted), "text/plain; charset=utf-8")
        if status == 409 and kind.partition(";")[0] == _SIZE_TYPE and body.strip().isdigit() and len(body) < 20:
            elsewhere = await self._database.read(anchoring.cosignable, witness.vkey, int(body))
            if elsewhere is None or elsewhere.old > elsewhere.size:
                raise Unanswered("it has cosigned a longer log than this: a backup was restored here, or another log has this key.")
            wanted = elsewhere
            status, kind, body = await self._post(party.url, _request(wanted), "text/plain; charset=utf-8")
        if status != 200:
            raise Unanswered(f"it refused with HTTP status {status}.")
        try:
            line = anchoring.checked_line(wanted.note, body.decode(), self._log_keys, witness)
        except (LedgerError, UnicodeDecodeError):
            raise Unanswered("its answer holds no cosignature by its key that fits the checkpoint.") from None
        await self._database.write(anchoring.keep_cosignature, wanted.size, witness.vkey, line)
        party.owes_since = None

    async def _post(self, url: str, body: bytes, media_type: str) -> tuple[int, str, bytes]:
        """Status, media type and bytes of an answer that is not too long."""
        if self._client is None:
            raise Unanswered("it was not asked yet.")
        async with self._client.stream("POST", url, content=body, headers={"Content-Type": media_type}) as answer:
            found = bytearray()
            async for chunk in answer.aiter_bytes():
                found += chunk
                if len(found) > MOST_BYTES:
                    raise Unanswered("its answer is too long.")
            return answer.status_code, answer.headers.get("content-type", ""), bytes(found)


def _owes_s(party: Party, now: Callable[[], float]) -> float:
    return party.owes_s(now())


def _request(wanted: anchoring.Cosignable) -> bytes:
    proof = "".join(f"{b64encode(one).decode()}\n" for one in wanted.proof)
    return f"old {wanted.old}\n{proof}\n{wanted.note}".encode()
