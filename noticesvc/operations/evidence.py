"""Evidence: recorded with its entry, and read back as the pure domain knows it.

Hashes of content and raw bytes are personal (short texts can be guessed) and stay sealed; what service time needs of them
stands open as `content_matches` and `same_raw_as`.
"""

import hashlib
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import msgspec
from sqlalchemy.dialects import postgresql, sqlite

from noticesvc.domain import instant
from noticesvc.domain.evidence import Evidence
from noticesvc.operations import orphans
from noticesvc.operations.unit import Unit
from noticesvc.proof import openings
from noticesvc.storage import tables as t

_NUMBER = re.compile(r"\d{7}")  # long enough to be somebody's number
MATCH, OTHER = "=", "≠"  # stand-ins for the notice's content hash and any other, for service time


class NewEvidence(msgspec.Struct, frozen=True, kw_only=True):
    """A fact to record. Times in microseconds; `claimed_at` RFC 3339 with an offset; `raw` the bytes as they came."""

    notice_id: str
    delivery_id: str
    channel: str
    attempt: int
    kind: str | None
    source: str
    observed_at: int
    carries: str
    authenticated_by: str | None
    call_started_at: int | None = None
    claimed_at: str | None = None
    claimed_time_raw: str | None = None
    contact_id: str | None = None
    confirmation: str | None = None
    contact_in_effect: bool = True
    part: int | None = None
    parts: int | None = None
    provider: str | None = None
    provider_reference: str | None = None
    refers_to: str | None = None
    proved_at: int | None = None
    fault: str | None = None
    code: str | None = None
    media_type: str | None = None
    raw: bytes | None = None
    content_sha256: str | None = None


@lru_cache(maxsize=4096)
def at(micros: int | None) -> str | None:
    """An instant as entries write it."""
    return None if micros is None else instant.text(instant.from_micros(micros))


def open_word(text: str | None) -> str | None:
    """A media type from outside as it may stand open in an entry: without parameters, and null if it is no plain word."""
    word = (text or "").partition(";")[0].strip().lower()
    plain = word.isascii() and word.translate({ord(c): None for c in "/.+-"}).isalnum() and len(word) <= 64
    return word if plain else None


def open_code(text: str | None) -> str | None:
    """A provider's code as it may stand open in an entry: one short word, so that no text of theirs brings an address there."""
    plain = text is not None and text.isascii() and text.translate({ord(c): None for c in "/.+-_:"}).isalnum() and len(text) <= 64
    return text if plain and not _NUMBER.search(text or "") else None


class Recorder:
    """Records evidence of a unit's notices; `save` inserts the rows."""

    def __init__(self, unit: Unit) -> None:
        self.unit = unit
        self.rows: list[dict[str, Any]] = []
        self._references: list[dict[str, Any]] = []
        self._first: dict[tuple[str, bytes], str] | None = None

    def members(
        self, new: NewEvidence, evidence_id: str | None, content_matches: bool | None
    ) -> tuple[dict[str, Any], dict[str, openings.Opening], bytes | None]:
        """The evidence members of an entry, their openings, and the blind index of the raw bytes."""
        raw_index = same = None
        if new.raw is not None and evidence_id is not None:
            raw_index = self.unit.world.vault.index("raw", hashlib.sha256(new.raw).hexdigest())
            same = self._same_raw(new.notice_id, raw_index, evidence_id)
        committed, opened = openings.commit(
            {
                "raw": new.raw,
                "raw_sha256": None if new.raw is None else hashlib.sha256(new.raw).hexdigest(),
                "content_sha256": new.content_sha256,
                "provider_reference": new.provider_reference,
                "claimed_time_raw": new.claimed_time_raw,
            },
            self.unit.tx.salt,
        )
        return (
            {
                "evidence_id": evidence_id,
                "kind": new.kind,
                "delivery_id": new.delivery_id,
                "attempt": new.attempt,
                "channel": new.channel,
                "contact_id": new.contact_id,
                "provider": new.provider,
                "source": new.source,
                "authenticated": new.authenticated_by is not None,
                "authenticated_by": new.authenticated_by,
                "carries": new.carries,
                "call_started_at": at(new.call_started_at),
                "claimed_at": new.claimed_at,
                "observed_at": at(new.observed_at),
                "confirmation": new.confirmation,
                "contact_in_effect": new.contact_in_effect,
                "part": new.part,
                "parts": new.parts,
                "same_raw_as": same,
                "content_matches": content_matches,
                "refers_to": new.refers_to,
                "proved_at": at(new.proved_at),
                "fault": new.fault,
                "code": new.code,
                "media_type": new.media_type,
                **committed,
            },
            opened,
            raw_index,
        )

    def record(
        self,
        type_: str,
        new: NewEvidence,
        more: Mapping[str, Any],
        *,
        answer: bool = False,
        also: Mapping[str, openings.Opening] | None = None,
        content_matches: bool | None = True,
    ) -> str:
        """Append the entry of one item and keep its row; answers the evidence id.

        `more` are the members that this type has beyond evidence, `also` the openings of those among them.
        """
        evidence_id = self.unit.tx.new_id()
        members, opened, raw_index = self.members(new, evidence_id, content_matches)
        ref = self.unit.append(new.notice_id, type_, members | dict(more))
        sealing = self.unit.key(self.unit.notices[new.notice_id]["subject_id"]) is not None
        row = {
            "notice_id": new.notice_id,
            "id": evidence_id,
            "channel": new.channel,
            "attempt": new.attempt,
            "kind": new.kind,
            "answer": answer,
            "source": new.source,
            "authenticated": new.authenticated_by is not None,
            "authenticated_by": new.authenticated_by,
            "carries": new.carries,
            "call_started_at": new.call_started_at,
            "claimed_at": new.claimed_at,
            "observed_at": new.observed_at,
            "confirmation": new.confirmation,
            "contact_in_effect": new.contact_in_effect,
            "part": new.part,
            "parts": new.parts,
            "provider": new.provider,
            "same_raw_as": members["same_raw_as"],
            "content_matches": content_matches,
            "refers_to": new.refers_to,
            "proved_at": new.proved_at,
            "fault": new.fault,
            "code": new.code,
            "media_type": new.media_type,
            # Of a recipient who was anonymised only this is kept: that there were raw bytes.
            "raw_index": raw_index if sealing or raw_index is None else b"",
            **ref.columns,
            "sealed": self.unit.seal(new.notice_id, opened | dict(also or {}), f"evidence:{evidence_id}"),
        }
        self.rows.append(row)
        self.unit.add_evidence(row)
        if answer and sealing and new.provider_reference and new.provider:
            index = self.unit.world.vault.index("provider_reference", f"{new.provider}\0{new.provider_reference}")
            self._references.append({"reference_index": index, "notice_id": new.notice_id, "channel": new.channel, "attempt": new.attempt})
        return evidence_id

    def save(self) -> None:
        """Insert the rows."""
        tx = self.unit.tx
        tx.insert(t.evidence, self.rows)
        if self._references:
            insert = postgresql.insert(t.provider_reference) if tx.postgresql else sqlite.insert(t.provider_reference)
            tx.execute(insert.on_conflict_do_nothing(), self._references)
            orphans.wake(tx, [r["reference_index"] for r in self._references])
        self.rows, self._references = [], []

    def _same_raw(self, notice_id: str, raw_index: bytes, evidence_id: str) -> str | None:
        """The first evidence of the notice with these raw bytes; null if this one is the first."""
        if self._first is None:
            self._first = {}
            for rows in self.unit.history().evidence.values():
                for row in rows:
                    if row.raw_index is not None and row.same_raw_as is None:
                        self._first.setdefault((row.notice_id, row.raw_index), row.id)
        first = self._first.setdefault((notice_id, raw_index), evidence_id)
        return None if first == evidence_id else first


def item_of(row: Any, delivery_id: str) -> Evidence:
    """An evidence row as the domain's item."""
    content = None if row.content_matches is None else MATCH if row.content_matches else OTHER
    return Evidence(
        id=row.id,
        delivery_id=delivery_id,
        attempt=row.attempt,
        channel=row.channel,
        kind=row.kind,
        source=row.source,
        authenticated=row.authenticated,
        carries=row.carries,
        call_started_at=_time(row.call_started_at),
        claimed_at=_claim(row.claimed_at),
        observed_at=instant.from_micros(row.observed_at),
        content_sha256=content,
        confirmation=row.confirmation,
        contact_in_effect=row.contact_in_effect,
        part=row.part,
        parts=row.parts,
        provider=row.provider,
        raw_sha256=None if row.raw_index is None else row.same_raw_as or row.id,
        refers_to=row.refers_to,
        proved_at=_time(row.proved_at),
        fault=row.fault,
    )


def intended_item(row: Any, delivery_id: str, carries: str) -> Evidence:
    """The `intended` item that an attempt's row stands for."""
    return Evidence(
        id=row.evidence_id,
        delivery_id=delivery_id,
        attempt=row.number,
        channel=row.channel,
        kind="intended",
        source="noticesvc",
        carries=carries,
        observed_at=instant.from_micros(row.intended_at),
        content_sha256=MATCH,
        confirmation=row.confirmation,
        provider=row.provider,
    )


def _time(micros: int | None) -> Any:
    return None if micros is None else instant.from_micros(micros)


def _claim(text: str | None) -> Any:
    if text is None:
        return None
    try:
        return instant.parse(text)
    except ValueError:
        return None
