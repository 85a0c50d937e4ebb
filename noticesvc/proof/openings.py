"""Openings of commitments: salt and value of each committed field, as they are kept (sealed) beside the row of the entry."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from noticesvc.ledger.entry import commitment, value_bytes


class Opening(NamedTuple):
    """What opens one commitment."""

    salt: bytes
    value: bytes


def commit(values: Mapping[str, Any], salt: Callable[[], bytes]) -> tuple[dict[str, Any], dict[str, Opening]]:
    """Entry members and openings for values: `<field>_commit` with a fresh salt each; a null stands open as null."""
    members: dict[str, Any] = {}
    opened: dict[str, Opening] = {}
    for name, value in values.items():
        if value is None:
            members[name] = None
            continue
        opening = Opening(salt(), value_bytes(value))
        members[f"{name}_commit"] = commitment(name, opening.salt, opening.value)
        opened[name] = opening
    return members, opened


def pack(openings: Mapping[str, Opening]) -> bytes:
    """Openings as bytes, to be sealed: for each, one length byte and the name, the salt, four length bytes and the value."""
    parts = []
    for name, opening in openings.items():
        parts += [head(name), opening.salt, len(opening.value).to_bytes(4, "big"), opening.value]
    return b"".join(parts)


def unpack(data: bytes) -> dict[str, Opening]:
    """The openings again. ValueError if the bytes are not what `pack` made."""
    found: dict[str, Opening] = {}
    at = 0
    while at < len(data):
        name_end = at + 1 + data[at]
        value_at = name_end + 36
        end = value_at + int.from_bytes(data[name_end + 32:value_at], "big")
        if end > len(data):
            raise ValueError("truncated openings")
        found[data[at + 1:name_end].decode()] = Opening(data[name_end:name_end + 32], data[value_at:end])
        at = end
    return found


def head(name: str) -> bytes:
    """How `pack` begins the opening of a field: one length byte and the name. A salt follows, then length and value."""
    raw = name.encode()
    return bytes([len(raw)]) + raw


def only(data: bytes, begins: bytes) -> bytes:
    """The value in openings that are just one, whose `head` is given; in a third of the time. ValueError if they are anything else."""
    name_end = len(begins)
    value_at = name_end + 36
    if data[:name_end] != begins or value_at + int.from_bytes(data[value_at - 4:value_at], "big") != len(data):
        raise ValueError("these openings hold something else")
    return data[value_at:]
