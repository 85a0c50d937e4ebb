"""Fills a database with a ledger of any size through real transactions, many notices in each: for measurements of audit and proofs.

Each notice has five entries (acceptance, two intents, two answers) and the rows that name them; nothing is sent and nothing is sealed.
"""

from typing import Any

from noticesvc.operations import sequence
from noticesvc.storage import tables as t
from noticesvc.storage.database import Database
from noticesvc.storage.transaction import Tx
from tests.support.ledger import SIGNER, members

ENTRIES = 5  # of a notice
GROUP = 200  # notices in a transaction
CHANNELS = ("email", "sms")


async def load(database: Database, entries: int) -> None:
    """Append until the ledger holds about `entries`, all of them sequenced and signed."""
    owner = database.sources.new_id()
    epoch = await database.write(sequence.take_office, owner)
    for done in range(0, entries // ENTRIES, GROUP):
        await database.write(notices, min(GROUP, entries // ENTRIES - done))
        if done % (20 * GROUP) == 0:
            await _sequence(database, owner, epoch)
    await _sequence(database, owner, epoch)


async def _sequence(database: Database, owner: str, epoch: int) -> None:
    while (await database.write(sequence.sequence, SIGNER, owner, epoch)).waiting:
        pass


def notices(tx: Tx, count: int) -> list[str]:
    """Append `count` notices in this transaction; their ids."""
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in ("notice", "delivery", "attempt", "evidence")}
    for _ in range(count):
        _notice(tx, rows)
    for name, made in rows.items():
        tx.insert(t.metadata.tables[name], made)
    return [row["id"] for row in rows["notice"]]


def _notice(tx: Tx, rows: dict[str, list[dict[str, Any]]]) -> None:
    notice_id, subject_id = tx.new_id(), tx.new_id()
    about = {"notice_id": notice_id, "subject_id": subject_id}
    commit = dict.fromkeys(("recipient_id_commit", "content_commit", "content_sha256_commit"), "A" * 43 + "=")
    first = members("notice.accepted", **about, seq=1, category="platform") | commit
    accepted = tx.append("notice.accepted", {name: first[name] for name in first if f"{name}_commit" not in commit})
    rows["notice"].append({
        "id": notice_id, "content_id": tx.new_id(), "key_id": tx.new_id(), "subject_id": subject_id, "category": "platform",
        "strategy": "parallel", "rule": "agreement-6.2", "state": "in_progress", "accepted_at": tx.now, "seq": ENTRIES, **accepted.columns})
    for seq, channel in enumerate(CHANNELS):
        delivery_id, intent_id, answer_id = tx.new_id(), tx.new_id(), tx.new_id()
        one = {**about, "delivery_id": delivery_id, "attempt": 1, "channel": channel, "observed_at": tx.at, "source": "smtp",
               "authenticated": True, "carries": "full", "contact_in_effect": True}
        intended = tx.append("attempt.intended", members(
            "attempt.intended", **one, seq=2 + 2 * seq, evidence_id=intent_id, kind="intended"))
        answered = tx.append("attempt.answered", members(
            "attempt.answered", **one, seq=3 + 2 * seq, evidence_id=answer_id, kind="submitted", outcome="submitted"))
        rows["delivery"].append({
            "notice_id": notice_id, "channel": channel, "id": delivery_id, "subject_id": subject_id, "position": seq, "priority": 1,
            "carries": "full", "state": "sent", "due_at": tx.now + 1})
        rows["attempt"].append({
            "notice_id": notice_id, "channel": channel, "number": 1, "intended_at": tx.now, "evidence_id": intent_id, **intended.columns})
        rows["evidence"].append({
            "notice_id": notice_id, "id": answer_id, "channel": channel, "attempt": 1, "kind": "submitted", "answer": True,
            "source": "smtp", "authenticated": True, "carries": "full", "observed_at": tx.now, "contact_in_effect": True,
            **answered.columns})
