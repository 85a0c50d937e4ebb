"""How an issued certificate stands now: current, superseded or destroyed. Called by the public check page.

It reads superseded as soon as a result, a provisional mark or a contact fact in it differs from what would be told now.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from noticesvc.certificate.standing import facts_sha256
from noticesvc.domain import instant, rules, view
from noticesvc.operations import facts
from noticesvc.operations.world import World
from noticesvc.storage import tables as t
from noticesvc.storage.transaction import Tx


@dataclass(frozen=True, slots=True)
class Standing:
    """What anybody may learn of a certificate who holds it: nothing personal. `state`: current, superseded, destroyed."""

    number: str
    grade: str
    issued_at: str
    state: str
    pdf_sha256: str
    proof_sha256: str


def standing(tx: Tx, world: World, number: str, digest: str) -> Standing | None:
    """How a certificate stands now; null unless its number and one of its hashes (of the proof in it, or of the PDF) fit."""
    row = tx.execute(select(t.certificate).where(t.certificate.c.number == number)).one_or_none()
    return _standing(tx, world, row) if row is not None and digest in (row.proof_sha256, row.pdf_sha256) else None


def standing_of_file(tx: Tx, world: World, sha256: str) -> Standing | None:
    """How the certificate with exactly these bytes stands now; null if none was issued."""
    row = tx.execute(select(t.certificate).where(t.certificate.c.pdf_sha256 == sha256).limit(1)).one_or_none()
    return None if row is None else _standing(tx, world, row)


def _standing(tx: Tx, world: World, row: Any) -> Standing:
    state = "destroyed" if row.sealed is None else "current" if facts_now(tx, world, row.notice_id) == row.facts_sha256 else "superseded"
    return Standing(row.number, row.grade, instant.text(instant.from_micros(row.issued_at)), state, row.pdf_sha256, row.proof_sha256)


def facts_now(tx: Tx, world: World, notice_id: str) -> str:
    """The hash of the facts that a certificate issued now would tell."""
    row = dict(tx.execute(select(t.notice).where(t.notice.c.id == notice_id)).mappings().one())
    known = facts.load(tx, world, [row])[notice_id]
    now = instant.from_micros(tx.now)
    built_in = tuple(rules.BUILT_IN.values())
    return facts_sha256(view.body(known, now, built_in), view.outcomes(known, now, built_in))
