"""Entries as the verifier and the assembler see them: position in the bundle, index in the ledger, members; and opened values.

An entry is read only if its bytes are canonical and its members are exactly those of its type, so that everything after this may
rely on their presence and form. The check follows the same JSON Schemas that the service publishes.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from noticesvc.domain import instant
from noticesvc.errors import LedgerError, VerificationError
from noticesvc.ledger import entry as ledger_entry
from noticesvc.proof.entry_types import ENTRY_TYPES, SCOPE_MEMBERS, TIME, json_schemas

_SCHEMAS: Final[Mapping[str, Any]] = json_schemas()
_SUFFIX = "_commit"
_TYPES: Final[Mapping[str, type]] = {"string": str, "integer": int, "boolean": bool, "array": list, "object": dict, "null": type(None)}

Values = Mapping[tuple[int, str], bytes]
"""Opened values by position of the entry and field."""


@dataclass(frozen=True)  # without slots, which cached_property needs
class Entry:
    """One entry of a bundle: `position` in it, `index` in the ledger."""

    position: int
    index: int
    members: Mapping[str, Any]

    def __getitem__(self, name: str) -> Any:
        return self.members[name]

    def get(self, name: str) -> Any:
        """A member, null where this type has none of the name."""
        return self.members.get(name)

    @property
    def type(self) -> str:
        """The type of the entry."""
        return str(self.members["type"])

    @cached_property
    def commitments(self) -> dict[str, str]:
        """What it commits to, by field."""
        return {name.removesuffix(_SUFFIX): value for name, value in self.members.items() if name.endswith(_SUFFIX)}

    @property
    def is_evidence(self) -> bool:
        """Whether it holds an item of evidence (document: `evidence_id` and `kind`)."""
        return self.type in EVIDENCE_TYPES and self.members["evidence_id"] is not None


EVIDENCE_TYPES: Final = frozenset({"attempt.intended", "attempt.answered", "receipt.observed", "evidence.stated"})


def read(data: bytes) -> dict[str, Any]:
    """The members of an entry. Raises VerificationError unless it is canonical, of a known type, and exactly of its form."""
    try:
        members = ledger_entry.decode(data)
    except LedgerError as error:
        raise VerificationError(str(error)) from None
    if members["type"] not in ENTRY_TYPES:
        raise VerificationError("It is of a type that this version does not know; use a newer noticesvc.")
    if not conforms(members, _SCHEMAS[members["type"]]):
        raise VerificationError(f"It does not have exactly the members of {members['type']}.")
    open_ = {"at": TIME, **ENTRY_TYPES[members["type"]].open}
    for name, schema in open_.items():
        if TIME in (schema, *schema.get("anyOf", ())) and members[name] is not None and not _is_time(members[name]):
            raise VerificationError(f"Its {name} is no instant.")
    scopes = [scope for scope in ("notice", "subject") if set(SCOPE_MEMBERS[scope]) <= set(members)]
    if len(scopes) > 1:
        raise VerificationError("It says to belong to a notice and to a recipient at once.")
    return members


def _is_time(value: str) -> bool:
    try:
        return instant.text(instant.parse(value)) == value
    except ValueError:
        return False


def conforms(value: Any, schema: Mapping[str, Any]) -> bool:
    """Whether a value satisfies a JSON Schema, as far as the keywords that our own schemas use."""
    if "const" in schema and not _same(value, schema["const"]):
        return False
    if "enum" in schema and not any(_same(value, one) for one in schema["enum"]):
        return False
    if "type" in schema and (not isinstance(value, _TYPES[schema["type"]]) or (schema["type"] == "integer" and isinstance(value, bool))):
        return False
    if "anyOf" in schema and not any(conforms(value, one) for one in schema["anyOf"]):
        return False
    if "oneOf" in schema and sum(conforms(value, one) for one in schema["oneOf"]) != 1:
        return False
    if not all(conforms(value, one) for one in schema.get("allOf", ())):
        return False
    match value:
        case str():
            return len(value) <= schema.get("maxLength", len(value)) and (
                "pattern" not in schema or re.fullmatch(schema["pattern"], value, re.ASCII) is not None)
        case bool():
            return True
        case int():
            return "minimum" not in schema or value >= int(schema["minimum"])
        case list():
            return all(conforms(item, schema.get("items", {})) for item in value)
        case dict():
            known = schema.get("properties", {})
            return (all(name in value for name in schema.get("required", ()))
                    and (schema.get("additionalProperties", True) or set(value) <= set(known))
                    and all(conforms(item, known.get(name, {})) for name, item in value.items()))
    return True


def _same(value: Any, other: Any) -> bool:
    return type(value) is type(other) and value == other


def opened_text(values: Values, entry: Entry, field: str) -> str | None:
    """A committed string; null where it stands open as null and where it was destroyed. ValueError if it is not UTF-8."""
    found = values.get((entry.position, field))
    return None if found is None else found.decode()


def of_notice(entries: Iterable[Entry]) -> list[Entry]:
    """The entries about the notice, in their own order."""
    return sorted((one for one in entries if "notice_id" in one.members), key=lambda one: one["seq"])
