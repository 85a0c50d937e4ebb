"""The proof bundle as data: strict reading of its JSON, and writing it.

Called by the verifier, which trusts nothing that stands here, and by the operations that issue bundles. Strict means: UTF-8 JSON
with unique names, no fractions, exactly the known members, canonical base64, bounded sizes. What the members say is checked by
the verification steps, not here.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from noticesvc.errors import LedgerError, VerificationError
from noticesvc.ledger.canonical import MAX_DEPTH, canonical
from noticesvc.ledger.entry import MAX_ENTRY_BYTES, SALT_BYTES
from noticesvc.ledger.text import from_base64, to_base64

NOTICE_FORMAT: Final = "noticesvc-proof/1"
CONTACTS_FORMAT: Final = "noticesvc-contacts/1"
MAX_BYTES: Final = 64 << 20
MAX_ITEMS: Final = 20_000  # entries, and so what refers to them
_MAX_TEXT = 1 << 20
_MAX_DIGITS = 16

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
    found = _load(data)
    form = found.get("format") if isinstance(found, dict) else None
    if not isinstance(form, str) or form not in _OWN:
        raise VerificationError(f"The file is no proof bundle of format {NOTICE_FORMAT} or {CONTACTS_FORMAT}.")
    members = _object(found, (*_COMMON, *_OWN[form]), "The bundle")
    own = {name: members[name] for name in _OWN[form]}
    try:
        canonical(own, floats=False)
    except LedgerError as error:
        raise VerificationError(f"The bundle's {' or '.join(own)} holds what no bundle of ours can hold. {error}") from None
    count = len(_list(members["entries"], "entries"))
    made = Bundle(
        format=form, issued_at=_text(members["issued_at"], "The member issued_at"), issuer=_text(members["issuer"], "The member issuer"),
        software=_text(members["software"], "The member software"), own=own,
        entries=tuple(_proved(item, f"Item {at} of entries") for at, item in enumerate(members["entries"])),
        openings=tuple(_opening(item, count, f"Item {at} of openings") for at, item in _numbered(members, "openings")),
        raw=tuple(_raw(item, count, f"Item {at} of raw") for at, item in _numbered(members, "raw")),
        destroyed=tuple(_destroyed(item, count, f"Item {at} of destroyed") for at, item in _numbered(members, "destroyed")),
        log_key=_text(members["log_key"], "The member log_key"),
        timestamps=tuple(_timestamp(item, f"Item {at} of timestamps") for at, item in _numbered(members, "timestamps")),
        cosigners=tuple(_text(item, f"Item {at} of cosigners") for at, item in _numbered(members, "cosigners")))
    for name, places in (("openings", [(one.entry, one.field) for one in made.openings]), ("raw", [(one.entry, "") for one in made.raw]),
                         ("destroyed", [(one.entry, one.field) for one in made.destroyed])):
        if any(one >= next_ for one, next_ in zip(places, places[1:], strict=False)):
            raise VerificationError(f"The items of {name} do not stand in the order of entry and field, each once.")
    return made


def _load(data: bytes) -> Any:
    if len(data) > MAX_BYTES:
        raise VerificationError(f"The file is larger than {MAX_BYTES >> 20} MiB, which no bundle is.")
    try:
        return json.loads(data.decode("utf-8"), object_pairs_hook=_unique, parse_float=_no_fraction, parse_constant=_no_fraction,
                          parse_int=_whole)
    except UnicodeDecodeError:
        raise VerificationError("The file is not UTF-8.") from None
    except (ValueError, RecursionError):
        raise VerificationError("The file is not JSON.") from None


def _unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise VerificationError("The file names a JSON member twice; which of the two counts cannot be told.")
    return found


def _no_fraction(_text: str) -> Any:
    raise VerificationError("The file holds a number with a fraction or an exponent; bundles have whole numbers only.")


def _whole(text: str) -> int:
    if len(text) > _MAX_DIGITS or text == "-0":
        raise VerificationError("The file holds a number beyond 2^53-1 or a negative zero.")
    return int(text)


def _object(value: Any, names: Sequence[str], where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise VerificationError(f"{where} is no JSON object.")
    if missing := [name for name in names if name not in value]:
        raise VerificationError(f"{where} lacks {', '.join(missing)}.")
    if len(value) != len(names):
        raise VerificationError(f"{where} has a member that is not known; a verifier cannot say what it claims.")
    return value


def _list(value: Any, name: str) -> list[Any]:
    if not isinstance(value, list):
        raise VerificationError(f"The member {name} is no list.")
    if len(value) > MAX_ITEMS:
        raise VerificationError(f"The member {name} has more than {MAX_ITEMS} items.")
    return value


def _numbered(members: Mapping[str, Any], name: str) -> list[tuple[int, Any]]:
    return list(enumerate(_list(members[name], name)))


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str) or len(value) > _MAX_TEXT:
        raise VerificationError(f"{where} is no string, or is too long.")
    return value


def _text_or_null(value: Any, where: str) -> str | None:
    return None if value is None else _text(value, where)


def _bytes(value: Any, where: str, length: int | None = None, most: int = MAX_BYTES) -> bytes:
    if not isinstance(value, str):
        raise VerificationError(f"{where} is no string.")
    try:
        found = from_base64(value, LedgerError, "it")
    except LedgerError:
        raise VerificationError(f"{where} is not base64 in its one canonical spelling.") from None
    if len(found) > most or (length is not None and len(found) != length):
        raise VerificationError(f"{where} has a length that it cannot have.")
    return found


def _position(value: Any, count: int, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < count:
        raise VerificationError(f"{where} is no position in entries.")
    return value


def _proved(item: Any, where: str) -> ProvedItem:
    found = _object(item, ("entry", "tlog_proof"), where)
    return ProvedItem(_bytes(found["entry"], f"{where}, entry,", most=MAX_ENTRY_BYTES), _text(found["tlog_proof"], f"{where}, tlog_proof,"))


def _opening(item: Any, count: int, where: str) -> OpeningItem:
    found = _object(item, ("entry", "field", "salt", "value"), where)
    return OpeningItem(_position(found["entry"], count, f"{where}, entry,"), _text(found["field"], f"{where}, field,"),
                       _bytes(found["salt"], f"{where}, salt,", SALT_BYTES), _bytes(found["value"], f"{where}, value,"))


def _raw(item: Any, count: int, where: str) -> RawItem:
    found = _object(item, ("entry", "evidence_id", "media_type", "salt", "bytes", "authenticated_by"), where)
    return RawItem(_position(found["entry"], count, f"{where}, entry,"), _text(found["evidence_id"], f"{where}, evidence_id,"),
                   _text_or_null(found["media_type"], f"{where}, media_type,"), _bytes(found["salt"], f"{where}, salt,", SALT_BYTES),
                   _bytes(found["bytes"], f"{where}, bytes,"), _text_or_null(found["authenticated_by"], f"{where}, authenticated_by,"))


def _destroyed(item: Any, count: int, where: str) -> DestroyedItem:
    found = _object(item, ("entry", "field", "by"), where)
    return DestroyedItem(_position(found["entry"], count, f"{where}, entry,"), _text(found["field"], f"{where}, field,"),
                         _position(found["by"], count, f"{where}, by,"))


def _timestamp(item: Any, where: str) -> Timestamp:
    found = _object(item, ("checkpoint", "consistency", "token"), where)
    hashes = _list(found["consistency"], "consistency")
    if len(hashes) > 2 * MAX_DEPTH:
        raise VerificationError(f"{where}, consistency, has more hashes than any tree has levels.")
    return Timestamp(_text(found["checkpoint"], f"{where}, checkpoint,"),
                     tuple(_bytes(one, f"{where}, consistency,", 32) for one in hashes), _bytes(found["token"], f"{where}, token,"))
