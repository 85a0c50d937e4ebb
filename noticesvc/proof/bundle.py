"""The proof bundle as data: strict reading of its JSON, and writing it.

Called by the verifier, which trusts nothing that stands here, and by the operations that issue bundles. Strict means: UTF-8 JSON
with unique names, no fractions, exactly the known members, canonical base64, bounded sizes. What the members say is checked by
the verification steps, not here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from noticesvc.errors import LedgerError, VerificationError
from noticesvc.ledger.canonical import MAX_DEPTH, canonical
from noticesvc.ledger.entry import MAX_ENTRY_BYTES, SALT_BYTES
from noticesvc.ledger.text import to_base64
from noticesvc.proof import strict

NOTICE_FORMAT: Final = "noticesvc-proof/1"
CONTACTS_FORMAT: Final = "noticesvc-contacts/1"
MAX_BYTES: Final = strict.MAX_BYTES

_COMMON = ("format", "issued_at", "issuer", "software", "entries", "openings", "raw", "destroyed", "log_key", "timestamps", "cosigners")
_OWN: Final[Mapping[str, tuple[str, ...]]] = {NOTICE_FORMAT: ("notice", "outcomes"), CONTACTS_FORMAT: ("recipient",)}


@dataclass(frozen=True, slots=True)
class ProvedItem:
    """The bytes of an entry, and the tlog-proof that says where it stands."""

    entry: bytes
    tlog_proof: str


@dataclass(frozen=True, slots=True)
class OpeningItem:
    """What opens `<field>_commit` of the entry at a position of `entries`."""

    entry: int
    field: str
    salt: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class RawItem:
    """What opens `raw_commit` of the evidence at a position of `entries`, with two of its members for whoever reads the bytes."""

    entry: int
    evidence_id: str
    media_type: str | None
    salt: bytes
    data: bytes
    authenticated_by: str | None


@dataclass(frozen=True, slots=True)
class DestroyedItem:
    """A commitment whose opening was destroyed, and the position of the entry that says so."""

    entry: int
    field: str
    by: int


@dataclass(frozen=True, slots=True)
class Timestamp:
    """A token of RFC 3161 over a checkpoint's text, and the proof that joins its tree to the entries' tree."""

    checkpoint: str
    consistency: tuple[bytes, ...]
    token: bytes


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle taken apart. `own` are the members of its format: `notice` and `outcomes`, or `recipient`."""

    format: str
    issued_at: str
    issuer: str
    software: str
    own: Mapping[str, Any]
    entries: tuple[ProvedItem, ...]
    openings: tuple[OpeningItem, ...]
    raw: tuple[RawItem, ...]
    destroyed: tuple[DestroyedItem, ...]
    log_key: str
    timestamps: tuple[Timestamp, ...]
    cosigners: tuple[str, ...]


def to_json(bundle: Bundle) -> dict[str, Any]:
    """The bundle as JSON members, in the order in which one reads them."""
    return {
        "format": bundle.format, "issued_at": bundle.issued_at, "issuer": bundle.issuer, "software": bundle.software, **bundle.own,
        "entries": [{"entry": to_base64(one.entry), "tlog_proof": one.tlog_proof} for one in bundle.entries],
        "openings": [{"entry": one.entry, "field": one.field, "salt": to_base64(one.salt), "value": to_base64(one.value)}
                     for one in bundle.openings],
        "raw": [{"entry": one.entry, "evidence_id": one.evidence_id, "media_type": one.media_type, "salt": to_base64(one.salt),
                 "bytes": to_base64(one.data), "authenticated_by": one.authenticated_by} for one in bundle.raw],
        "destroyed": [{"entry": one.entry, "field": one.field, "by": one.by} for one in bundle.destroyed],
        "log_key": bundle.log_key,
        "timestamps": [{"checkpoint": one.checkpoint, "consistency": [to_base64(h) for h in one.consistency], "token": to_base64(one.token)}
                       for one in bundle.timestamps],
        "cosigners": list(bundle.cosigners),
    }


def parse(data: bytes) -> Bundle:
    """Read a bundle. Raises VerificationError with one sentence for the first thing that is not of its one form."""
    found = strict.load(data)
    form = found.get("format") if isinstance(found, dict) else None
    if not isinstance(form, str) or form not in _OWN:
        raise VerificationError(f"The file is no proof bundle of format {NOTICE_FORMAT} or {CONTACTS_FORMAT}.")
    members = strict.members(found, (*_COMMON, *_OWN[form]), "The bundle")
    own = {name: members[name] for name in _OWN[form]}
    try:
        canonical(own, floats=False)
    except LedgerError as error:
        raise VerificationError(f"The bundle's {' or '.join(own)} holds what no bundle of ours can hold. {error}") from None
    count = len(strict.items(members["entries"], "entries"))
    made = Bundle(
        format=form, issued_at=strict.text(members["issued_at"], "The member issued_at"),
        issuer=strict.text(members["issuer"], "The member issuer"),
        software=strict.text(members["software"], "The member software"), own=own,
        entries=tuple(_proved(item, f"Item {at} of entries") for at, item in enumerate(members["entries"])),
        openings=tuple(_opening(item, count, f"Item {at} of openings") for at, item in strict.numbered(members, "openings")),
        raw=tuple(_raw(item, count, f"Item {at} of raw") for at, item in strict.numbered(members, "raw")),
        destroyed=tuple(_destroyed(item, count, f"Item {at} of destroyed") for at, item in strict.numbered(members, "destroyed")),
        log_key=strict.text(members["log_key"], "The member log_key"),
        timestamps=tuple(_timestamp(item, f"Item {at} of timestamps") for at, item in strict.numbered(members, "timestamps")),
        cosigners=tuple(strict.text(item, f"Item {at} of cosigners") for at, item in strict.numbered(members, "cosigners")))
    for name, places in (("openings", [(one.entry, one.field) for one in made.openings]), ("raw", [(one.entry, "") for one in made.raw]),
                         ("destroyed", [(one.entry, one.field) for one in made.destroyed])):
        if any(one >= following for one, following in pairwise(places)):
            raise VerificationError(f"The items of {name} do not stand in the order of entry and field, each once.")
    return made


def _proved(item: Any, where: str) -> ProvedItem:
    found = strict.members(item, ("entry", "tlog_proof"), where)
    return ProvedItem(strict.octets(found["entry"], f"{where}, entry,", most=MAX_ENTRY_BYTES),
                      strict.text(found["tlog_proof"], f"{where}, tlog_proof,"))


def _opening(item: Any, count: int, where: str) -> OpeningItem:
    found = strict.members(item, ("entry", "field", "salt", "value"), where)
    return OpeningItem(strict.position(found["entry"], count, f"{where}, entry,"), strict.text(found["field"], f"{where}, field,"),
                       strict.octets(found["salt"], f"{where}, salt,", SALT_BYTES), strict.octets(found["value"], f"{where}, value,"))


def _raw(item: Any, count: int, where: str) -> RawItem:
    found = strict.members(item, ("entry", "evidence_id", "media_type", "salt", "bytes", "authenticated_by"), where)
    return RawItem(
        entry=strict.position(found["entry"], count, f"{where}, entry,"),
        evidence_id=strict.text(found["evidence_id"], f"{where}, evidence_id,"),
        media_type=strict.text_or_null(found["media_type"], f"{where}, media_type,"),
        salt=strict.octets(found["salt"], f"{where}, salt,", SALT_BYTES), data=strict.octets(found["bytes"], f"{where}, bytes,"),
        authenticated_by=strict.text_or_null(found["authenticated_by"], f"{where}, authenticated_by,"))


def _destroyed(item: Any, count: int, where: str) -> DestroyedItem:
    found = strict.members(item, ("entry", "field", "by"), where)
    return DestroyedItem(strict.position(found["entry"], count, f"{where}, entry,"), strict.text(found["field"], f"{where}, field,"),
                         strict.position(found["by"], count, f"{where}, by,"))


def _timestamp(item: Any, where: str) -> Timestamp:
    found = strict.members(item, ("checkpoint", "consistency", "token"), where)
    hashes = strict.items(found["consistency"], "consistency")
    if len(hashes) > 2 * MAX_DEPTH:
        raise VerificationError(f"{where}, consistency, has more hashes than any tree has levels.")
    return Timestamp(strict.text(found["checkpoint"], f"{where}, checkpoint,"),
                     tuple(strict.octets(one, f"{where}, consistency,", 32) for one in hashes),
                     strict.octets(found["token"], f"{where}, token,"))
