"""A ledger in a real database for tests: opened, filled through real transactions, sequenced by hand."""

import os
import time
from contextlib import asynccontextmanager
from pathlib import Path

from noticesvc.ledger import key
from noticesvc.operations import sequence
from noticesvc.proof.entry_types import ENTRY_TYPES
from noticesvc.storage import ledger
from noticesvc.storage import tables as t
from noticesvc.storage.database import Database
from noticesvc.storage.transaction import Sources
from tests.support.migrated import lay

ORIGIN = "notices.example.com"
SOURCES = Sources(lambda: time.time_ns() // 1000, os.urandom)
SIGNER = key.generate(ORIGIN, bytes(range(32)))


@asynccontextmanager
async def opened(url):
    """A migrated database with a ledger founded for SIGNER; closed at the end."""
    database = Database(url, SOURCES, Path())
    try:
        await lay(url)
        await database.write(sequence.found, SIGNER)
        yield database
    finally:
        await database.close()


async def in_office(database):
    """A new sequencer by name and epoch, as after a restart."""
    owner = SOURCES.new_id()
    return owner, await database.write(sequence.take_office, owner)


async def sequenced(database, office=None, last=None):
    """Everything that waits, sequenced; what the last transaction did."""
    office = office or await in_office(database)
    while True:
        done = await database.write(sequence.sequence, SIGNER, *office, last)
        if not done.waiting:
            return done


def members(type_, **given):
    """All members of an entry type, null where nothing is given."""
    known = ENTRY_TYPES[type_]
    return {**dict.fromkeys(known.open), **dict.fromkeys(known.committed), **given}


def subject_entries(tx, count, subject_id=None, first=1):
    """Append `count` entries about one recipient, from number `first` on; their names."""
    subject_id = subject_id or tx.new_id()
    return [tx.append("account.changed", {"subject_id": subject_id, "subject_seq": number, "state": "active"})
            for number in range(first, first + count)]


def notice(tx):
    """A notice that was sent by e-mail: three rows, three entries; its id."""
    notice_id, subject_id, delivery_id = tx.new_id(), tx.new_id(), tx.new_id()
    about = {"notice_id": notice_id, "subject_id": subject_id}
    one_try = {"delivery_id": delivery_id, "attempt": 1, "channel": "email"}
    intent_id, answer_id = tx.new_id(), tx.new_id()
    accepted = tx.append("notice.accepted", members("notice.accepted", **about, seq=1))
    intended = tx.append("attempt.intended", members(
        "attempt.intended", **about, **one_try, seq=2, evidence_id=intent_id, kind="intended"))
    answered = tx.append("attempt.answered", members(
        "attempt.answered", **about, **one_try, seq=3, evidence_id=answer_id, kind="submitted", outcome="submitted"))
    tx.insert(t.notice, [{"id": notice_id, "subject_id": subject_id, "content_id": tx.new_id(), "key_id": tx.new_id(),
                          "category": "platform", "strategy": "parallel", "rule": "agreement-6.2", "state": "in_progress",
                          "accepted_at": tx.now, "seq": 3, **accepted.columns}])
    tx.insert(t.delivery, [{"notice_id": notice_id, "channel": "email", "id": delivery_id, "subject_id": subject_id, "position": 0,
                            "priority": 1, "carries": "full", "state": "sent", "due_at": tx.now + 1}])
    tx.insert(t.attempt, [{"notice_id": notice_id, "channel": "email", "number": 1, "intended_at": tx.now, "evidence_id": intent_id,
                           **intended.columns}])
    tx.insert(t.evidence, [{"notice_id": notice_id, "id": answer_id, "channel": "email", "attempt": 1, "kind": "submitted",
                            "answer": True, "source": "provider", "authenticated": True, "carries": "full", "observed_at": tx.now,
                            "contact_in_effect": True, **answered.columns}])
    return notice_id


def all_entries(tx):
    """Every sequenced entry in order, straight from the bundles."""
    size = ledger.head(tx).size
    bundles = ledger.bundles(tx, range(-(-size // 256)))
    return [entry for n in sorted(bundles) for entry in ledger.split(bundles[n])]
