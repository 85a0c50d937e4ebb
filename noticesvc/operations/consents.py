"""What recipients agreed to and refused: accepted versions of agreements (important notes, clause 五.1②) and refusals of
commercial messages by channel (clause 四.7). Called by the recipients' routes; each verb is one transaction.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import select

from noticesvc.domain import instant
from noticesvc.domain.evidence import CHANNELS, CLOCK_TOLERANCE
from noticesvc.errors import Fault, InputError
from noticesvc.operations import recipient_state
from noticesvc.operations.world import World
from noticesvc.proof.openings import unpack
from noticesvc.storage import tables as t
from noticesvc.storage.transaction import Tx
from noticesvc.vault import DataKey

_CLOCK_US = CLOCK_TOLERANCE // timedelta(microseconds=1)  # whose clock is right nobody knows


@dataclass(frozen=True, slots=True, kw_only=True)
class Acceptance:
    """A version of an agreement that a recipient accepted: the hash of its text and how its clauses were shown."""

    agreement: str
    version: str
    document_sha256: str
    presentation: str


def record_acceptance(tx: Tx, world: World, recipient_id: str, accepted_at: int, acceptance: Acceptance) -> dict[str, Any]:
    """Record an acceptance. It is the one in effect from now on unless a later one is known already.

    The one in effect, told again word for word, is no second one: the first is returned. Raises NotFound, and InputError for
    one that is still to come, which nobody can have given yet.
    """
    if accepted_at > tx.now + _CLOCK_US:
        raise InputError("An acceptance cannot be recorded before it was given.", (Fault("/accepted_at", "lies in the future"),))
    state = recipient_state.one_locked(tx, world, recipient_id)
    known = in_force(tx, state.row, state.key)
    told = asdict(acceptance)
    at = instant.text(instant.from_micros(accepted_at))
    if known is not None and known["accepted_at"] == at and told.items() <= known.items():
        return known
    acceptance_id = tx.new_id()
    ref, sealed = state.append(tx, "acceptance.recorded", {"acceptance_id": acceptance_id, "accepted_at": at}, told,
                               about_id=acceptance_id)
    tx.insert(t.acceptance, [{"id": acceptance_id, "subject_id": state.subject_id, "accepted_at": accepted_at,
                              "recorded_at": tx.now, "sealed": sealed, **ref.columns}])
    if known is None or known["accepted_at"] <= at:
        state.set(acceptance_id=acceptance_id)
    recipient_state.save(tx, (state,))
    return _view(acceptance_id, told, at, tx.at)


def in_force(tx: Tx, recipient: Mapping[Any, Any], key: DataKey) -> dict[str, Any] | None:
    """The acceptance in effect of a recipient (row and key); null if none is recorded."""
    if recipient["acceptance_id"] is None:
        return None
    row = tx.execute(select(t.acceptance).where(t.acceptance.c.id == recipient["acceptance_id"])).one()
    opened = {name: one.value.decode() for name, one in unpack(key.open(row.sealed, f"acceptance:{row.id}")).items()}
    return _view(row.id, opened, instant.text(instant.from_micros(row.accepted_at)),
                 instant.text(instant.from_micros(row.recorded_at)))


def put_preferences(tx: Tx, world: World, recipient_id: str, refuse_commercial: Sequence[str]) -> dict[str, Any]:
    """Record on which channels commercial messages are refused, in place of what was recorded. Raises NotFound."""
    state = recipient_state.one_locked(tx, world, recipient_id)
    refused = [channel for channel in CHANNELS if channel in refuse_commercial]
    if state.row["refuse_commercial"].split() != refused:
        state.append(tx, "preferences.recorded", {"refuse_commercial": refused}, {})
        state.set(refuse_commercial=" ".join(refused))
        recipient_state.save(tx, (state,))
    return {"recipient_id": recipient_id, "refuse_commercial": refused}


def _view(acceptance_id: str, told: Mapping[str, str], accepted_at: str, recorded_at: str) -> dict[str, Any]:
    return {"id": acceptance_id, **told, "accepted_at": accepted_at, "recorded_at": recorded_at}
