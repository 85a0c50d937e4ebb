"""Notices with a whole history, made through the real operations, and their proofs: for tests of bundles.

The clock stands still between steps unless a test moves it; ledger entries are sequenced by hand, under tests.support.ledger.SIGNER.
"""

import json
from base64 import b64decode
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

from sqlalchemy import select

from noticesvc.domain import instant, view
from noticesvc.domain.access import SCOPES, Access
from noticesvc.domain.contact import Wanted, wanted_set
from noticesvc.domain.rules import BUILT_IN
from noticesvc.ledger.entry import decode
from noticesvc.operations import accept, claim, consents, contents, facts, in_site, proving, receipts, recipients, record, seal, sequence
from noticesvc.operations.audit import audit_database
from noticesvc.operations.contacts import Replacement
from noticesvc.operations.notice_request import NoticeRequest
from noticesvc.operations.record import Answer, Schedule
from noticesvc.proof.verify import verify
from noticesvc.provider import Receipt
from noticesvc.storage import tables as t
from tests.support.installation import Installation, installed
from tests.support.ledger import SIGNER, in_office, sequenced
from tests.support.waiting import PATIENCE_S

SCHEDULE = Schedule(30, 3600, 5, {})
EVERYTHING = frozenset(SCOPES)
PHONE, MAILBOX = "+8613800138000", "li@example.cn"
ROUTES = {"sms": "sms", "email": "mail", "postal": None}


@dataclass
class Desk:
    """A small office that runs notices through an installation by hand."""

    house: Installation
    access: Access
    office: tuple[str, int]
    owner: str
    sealed: dict[tuple[str, str], Any] = field(default_factory=dict)  # the last sealed attempt by notice and channel

    async def write(self, fn, *args):
        return await self.house.database.write(fn, self.house.world, *args)

    async def recipient(self, recipient_id="u-1001", *wanted, source="registration"):
        wanted = wanted or (Wanted(channel="sms", address=PHONE, confirmation="confirmed"),
                            Wanted(channel="email", address=MAILBOX, confirmation="confirmed"))
        return await self.write(recipients.put_contacts, recipient_id, Replacement(wanted=wanted_set(wanted), source=source))

    async def acceptance(self, recipient_id="u-1001"):
        return await self.write(consents.record_acceptance, recipient_id, self.house.clock.micros - 1, consents.Acceptance(
            agreement="用户协议", version="2026-01", document_sha256="ab" * 32, presentation="click-through"))

    async def document(self):
        def insert(tx, _world):
            found = tx.new_id()
            tx.insert(t.document, [{"id": found, "sha256": bytes(32), "media_type": "application/pdf", "size": 9, "created_at": tx.now}])
            return found
        return await self.write(insert)

    async def notice(self, **more):
        given = {"recipient_id": "u-1001", "category": "platform", "subject": "通知", "body": "正文 *全文*"} | more
        outcome, = await self.write(accept.accept, [(self.access, NoticeRequest(**given))])
        assert isinstance(outcome, accept.Accepted), outcome
        return outcome.id

    async def deliver_in_site(self):
        return await self.write(in_site.deliver, 100)

    async def dispatch(self, only=None, routes=None, passed_over=None):
        """Claim and seal what is due; the sealed attempts. `passed_over`: by channel, the providers that were, with their reasons."""
        claims = await self.house.database.write(claim.claim, self.owner, 100, 60)
        starts = [(c, (routes or ROUTES)[c.channel]) for c in claims if only is None or c.channel in only]
        passed = {(c.notice_id, c.channel): passed_over[c.channel] for c in claims if c.channel in (passed_over or {})}
        made = await self.write(seal.seal, self.owner, starts, passed)
        self.sealed |= {(one.notice_id, one.channel): one for one in made}
        return made

    async def answer(self, notice_id, channel, outcome, **more):
        one, now = self.sealed[notice_id, channel], self.house.clock.micros
        await self.write(record.record, SCHEDULE, [Answer(
            notice_id, channel, one.number, outcome, None if outcome == "not_sent" else now, now,
            **({"raw": b"250 2.0.0 queued", "media_type": "text/plain", "code": "250"} if outcome != "not_sent" else {}) | more)], [0.0])

    async def receipt(self, notice_id, channel, *kinds, raw=b"callback", **more):
        """One stored body that holds these receipts about the last attempt."""
        one = self.sealed[notice_id, channel]
        given = {"authenticated_by": "hmac-token", "reference": one.reference} | more
        receipt_id = await self.write(receipts.store, one.provider, "callback", {"media_type": "text/plain; charset=utf-8"}, raw)
        for stored in await self.write(receipts.due, 100):
            if stored.id == receipt_id:
                await self.write(receipts.apply, stored, [Receipt(kind=kind, **given | part) for kind, part in _parts(kinds)])

    async def sequence(self):
        await sequenced(self.house.database, self.office)

    async def proof(self, notice_id, reason="诉讼举证"):
        """The bundle of a notice as it is served."""
        reading = await self.write(proving.read_notice, self.access, notice_id, reason)
        await self.sequence()
        return await self.house.database.read(proving.notice_proof, self.house.world, reading)

    async def contacts_proof(self, recipient_id="u-1001", at=None):
        reading = await self.write(proving.read_contacts, self.access, recipient_id, at, "法院调取")
        await self.sequence()
        return await self.house.database.read(proving.contacts_proof, self.house.world, reading)


def _parts(kinds):
    return [(kind, {}) if isinstance(kind, str) else kind for kind in kinds]


def data(bundle) -> bytes:
    """A bundle as the bytes of a file."""
    return json.dumps(bundle, ensure_ascii=False).encode()


@asynccontextmanager
async def desk(url):
    """A desk in a new installation, its ledger founded for SIGNER. Its API waits for checkpoints as long as a busy machine needs."""
    async with installed(url) as house:
        await house.database.write(sequence.found, SIGNER)
        office = await in_office(house.database)
        new = house.database.sources.new_id
        with mock.patch("noticesvc.api.proofs.PATIENCE_S", PATIENCE_S), mock.patch("noticesvc.api.cases.PATIENCE_S", PATIENCE_S):
            yield Desk(house, Access(new(), EVERYTHING), office, new())


async def shown(desk, notice_id, at):
    """The notice's body as the database tells it."""
    def load(tx, world):
        rows = [dict(row) for row in tx.execute(select(t.notice).where(t.notice.c.id == notice_id)).mappings()]
        keys = contents.keys_of(tx, world, {row["subject_id"] for row in rows})
        known = facts.load(tx, world, rows, keys, contents.hashes(tx, world, rows, keys))
        return view.body(known[notice_id], instant.parse(at), BUILT_IN.values())
    return await desk.house.database.read(load, desk.house.world)


async def holds(desk, notice_id):
    """The bundle of a notice, which verifies under the ledger's key and shows what the database shows."""
    bundle = await desk.proof(notice_id)
    report = verify(data(bundle), [SIGNER.verifier])
    assert report.ok, report.failures
    assert bundle["notice"] == await shown(desk, notice_id, bundle["issued_at"])
    assert not report.trusted_inside
    return bundle


async def sound(desk):
    """The audit of everything recorded so far, opened and compared column by column, finds nothing."""
    await desk.sequence()
    done = await desk.house.database.read(audit_database, [SIGNER.verifier], None, 60_000_000, lambda _done, _total: None, desk.house.world)
    assert done.findings == (), done.findings


def types(bundle):
    """The types of a bundle's entries, in order."""
    return [decode(b64decode(one["entry"]))["type"] for one in bundle["entries"]]
