"""Reads entries of the known types straight into the members that the audit looks at, far quicker than as dictionaries.

Called by audit_entries for every entry of a log. An entry that comes out has exactly the members of its type and exactly the
bytes that ledger.entry writes; whatever this cannot tell at once is read and judged the slow way, which also finds the words.
"""

from collections.abc import Callable, Sequence
from operator import attrgetter
from types import SimpleNamespace
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, UnsetType

from noticesvc.ledger.entry import MAX_ENTRY_BYTES
from noticesvc.operations.audit_reader import Value
from noticesvc.proof.entry_types import ENTRY_TYPES, SCOPE_MEMBERS

SINGLE: Final = frozenset({"in_site", "announcement"})  # channels whose one entry holds intent and answer
NAMES: Final = {  # entries that each speak of one row: its kind, and the member that is its id
    "attempt.intended": ("intent", "evidence_id"),
    "notice.accepted": ("notice", "notice_id"),
    "content.shared": ("content", "content_id"),
    "cure.begun": ("cure", "cure_id"),
    "broadcast.approved": ("broadcast", "broadcast_id"),
    "announcement.published": ("announcement", "announcement_id"),
}
_TYPE: Final = b'"type":"'
_WORD = Annotated[str, msgspec.Meta(min_length=1)]
_KNOWN: Final = {"at": _WORD, "notice_id": str, "subject_id": str, "seq": int, "subject_seq": int, "delivery_id": str, "attempt": int,
                 "v": Literal[1]}

_encode = msgspec.json.Encoder().encode
_encode_nested = msgspec.json.Encoder(order="sorted").encode


def hexadecimal(identity: str) -> str:
    """An id as SQLite keeps it and as both sides are compared: 32 digits. ValueError if it is none."""
    made = identity.replace("-", "")
    if len(made) != 32:
        raise ValueError
    return made


def facts_of(entry: Any) -> Sequence[tuple[str, str]]:
    """What an entry says of rows: kind and id of each row that must name it. ValueError, TypeError or AttributeError for bad ids."""
    named = NAMES.get(entry.type)
    if named is not None:
        return ((named[0], hexadecimal(getattr(entry, named[1]))),)
    if not hasattr(entry, "kind") or getattr(entry, "evidence_id", None) is None:
        return ()
    evidence = ("evidence", hexadecimal(entry.evidence_id))
    if entry.type == "attempt.answered" and entry.intended_id is not None and entry.channel in SINGLE:
        return (evidence, ("intent", hexadecimal(entry.intended_id)))
    return (evidence,)


def plain(members: dict[str, Any]) -> Any:
    """Members that were read as a dictionary, in the form that `read` gives."""
    return SimpleNamespace(**members)


class _Form:
    """How entries of one type are read."""

    def __init__(self, name: str) -> None:
        known = ENTRY_TYPES[name]
        fields: dict[str, Any] = {"v": Literal[1], "type": Literal[name]}
        for member in ("at", *known.open, *SCOPE_MEMBERS[known.scope]):
            fields[member] = _KNOWN.get(member, Value)
        commitments = tuple(f"{member}_commit" for member in known.committed)
        optional = dict.fromkeys(known.committed, UnsetType | None) | dict.fromkeys(commitments, str | UnsetType)
        made = msgspec.defstruct("Entry", [
            (member, fields[member]) if member in fields else (member, optional[member], UNSET) for member in sorted(fields | optional)],
            kw_only=True, forbid_unknown_fields=True, gc=False)
        self.decode = msgspec.json.Decoder(made).decode
        self.nulls, self.commitments = _attributes(known.committed), _attributes(commitments)
        self.pairs: dict[tuple[Any, ...], tuple[type, ...]] = {}  # nulls -> what their commitments must be


def read(data: bytes) -> Any | None:
    """The entry, with its members as attributes; null for whatever must be read the slow way."""
    if not data.isascii() or b"\\" in data or len(data) > MAX_ENTRY_BYTES:
        return None
    at = data.rfind(_TYPE) + len(_TYPE)
    form = _FORMS.get(data[at:data.find(b'"', at)])
    if form is None:
        return None
    try:
        found = form.decode(data)
    except (msgspec.DecodeError, RecursionError):
        return None
    nulls = form.nulls(found)
    pairs = form.pairs.get(nulls)
    if pairs is None:  # a field stands either open as null or as a commitment
        pairs = form.pairs[nulls] = tuple(str if null is UNSET else UnsetType for null in nulls)
    if pairs != tuple(map(type, form.commitments(found))):
        return None
    # Fields are declared in the order that RFC 8785 demands; of what lies deeper the order is looked at too.
    return found if (_encode(found) if data.find(b"{", 1) < 0 else _encode_nested(found)) == data else None


def _attributes(names: tuple[str, ...]) -> Callable[[Any], tuple[Any, ...]]:
    """These attributes of an object, as a tuple however few they are."""
    if len(names) > 1:
        return attrgetter(*names)
    return lambda found: tuple(getattr(found, name) for name in names)


_FORMS: Final = {name.encode(): _Form(name) for name, known in ENTRY_TYPES.items() if known.scope != "either"}
