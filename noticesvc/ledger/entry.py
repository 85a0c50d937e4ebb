"""Ledger entries as bytes: canonical JSON, commitments in place of personal data, and bundles of entries.

Called by operations when they append, by the sequencer when it bundles, and by every verifier. An entry is a JSON
object in RFC 8785 form of at most 65,535 bytes (the 16-bit length prefix of C2SP tlog-tiles entry bundles) with `v` 1,
`type` and `at`; what its members mean is not this room's business. Personal data stands in entries only as a salted
commitment, so that destroying plaintext and salt anonymises while the entry and its proof still verify.
"""

import json
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

from noticesvc.errors import EntryError
from noticesvc.ledger.canonical import canonical
from noticesvc.ledger.text import is_bytes, is_text, to_base64

MAX_ENTRY_BYTES = 65_535
BUNDLE_ENTRIES = 256
SALT_BYTES = 32
VERSION = 1

_LENGTH_BYTES = 2
_COMMITMENT = b"noticesvc/commit/v1"
_FIELDS = 256  # a product has some twenty names of fields; who verifies a forged bundle must not fill the memory with others
_STARTS: dict[str, bytes] = {}


def encode(entry: dict[str, Any]) -> bytes:
    """The bytes of an entry. Raises EntryError if it is too long, lacks `v` 1, `type` or `at` (strings that are not
    empty), or holds what canonical JSON in entries does not take: floats, integers beyond ±(2^53-1), half surrogates.
    """
    if not isinstance(entry, dict):
        raise EntryError("An entry is not a JSON object.")
    if type(entry.get("v")) is not int or entry["v"] != VERSION:
        raise EntryError("An entry's v is not 1; this program writes and reads version 1.")
    for member in ("type", "at"):
        if not isinstance(entry.get(member), str) or not entry[member]:
            raise EntryError(f"An entry's {member} is missing or not a string.")
    data = canonical(entry, floats=False)
    if len(data) > MAX_ENTRY_BYTES:
        raise EntryError("An entry is longer than 65,535 bytes; commit to long values instead of holding them.")
    return data


def decode(data: bytes) -> dict[str, Any]:
    """The members of an entry. Raises EntryError unless these are exactly the bytes that `encode` writes, which also
    rules out duplicate names, other spellings of strings and numbers, and blanks.
    """
    if not isinstance(data, bytes):
        raise EntryError("An entry to be read is not bytes.")
    if len(data) > MAX_ENTRY_BYTES:
        raise EntryError("An entry is longer than 65,535 bytes.")
    try:
        entry = json.loads(data.decode())
    except (ValueError, RecursionError):
        raise EntryError("An entry is not JSON in UTF-8.") from None
    if encode(entry) != data:
        raise EntryError("An entry is not in canonical form (RFC 8785); its bytes are not ours.")
    return entry  # type: ignore[no-any-return]  # encode has just refused everything but a dict with str names


def value_bytes(value: object) -> bytes:
    """The bytes of a value to commit to: UTF-8 of a string, bytes as they are, canonical JSON of anything else.

    Raises EntryError for None, which stands open and is never committed to, and for what has no canonical JSON.
    """
    if value is None:
        raise EntryError("A null value stands open in an entry; it has no commitment.")
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        try:
            return value.encode()
        except UnicodeEncodeError:
            raise EntryError("A text holds half of a surrogate pair, which has no UTF-8; remove it.") from None
    return canonical(value)


def commitment(field: str, salt: bytes, value: bytes) -> str:
    """Base64 of SHA-256("noticesvc/commit/v1" ‖ 0x00 ‖ field ‖ 0x00 ‖ salt ‖ value), to stand as `<field>_commit`.

    `salt` is 32 fresh random bytes for each commitment: hashes of telephone numbers without it could be enumerated.
    `value` comes from `value_bytes`. Raises EntryError for another salt length or a field that is empty or holds NUL.
    """
    if not is_bytes(salt, SALT_BYTES):
        raise EntryError("A commitment's salt is not 32 bytes; draw fresh random bytes for each.")
    if not isinstance(value, bytes):
        raise EntryError("A commitment's value is not bytes; use value_bytes first.")
    return to_base64(sha256(commitment_start(field) + salt + value).digest())


def commitment_start(field: str) -> bytes:
    """What stands before salt and value in the bytes that a commitment is the hash of, made once a field."""
    if not is_text(field):
        raise EntryError("A commitment's field is not a name.")
    start = _STARTS.get(field)
    if start is None:
        if "\x00" in field:
            raise EntryError("A commitment's field is not a name.")
        start = b"\x00".join((_COMMITMENT, value_bytes(field), b""))
        if len(_STARTS) < _FIELDS:
            _STARTS[field] = start
    return start


def frame(entries: Sequence[bytes]) -> bytes:
    """One to 256 entries as an entry bundle: each behind its length in two bytes, big end first (C2SP tlog-tiles).

    Raises EntryError for no or too many entries, or one that is not bytes of at most 65,535.
    """
    if not 1 <= len(entries) <= BUNDLE_ENTRIES:
        raise EntryError("A bundle does not hold 1 to 256 entries.")
    parts: list[bytes] = []
    for entry in entries:
        if not isinstance(entry, bytes):
            raise EntryError("An entry for a bundle is not bytes.")
        if len(entry) > MAX_ENTRY_BYTES:
            raise EntryError("An entry for a bundle is longer than 65,535 bytes.")
        parts += (len(entry).to_bytes(_LENGTH_BYTES, "big"), entry)
    return b"".join(parts)


def unframe(data: bytes) -> list[bytes]:
    """The entries of a bundle, in order. Raises EntryError if it is cut short, empty or holds more than 256."""
    if not isinstance(data, bytes):
        raise EntryError("A bundle is not bytes.")
    if not data:
        raise EntryError("A bundle is empty.")
    entries: list[bytes] = []
    at = 0
    while at < len(data):
        start = at + _LENGTH_BYTES
        at = start + int.from_bytes(data[at:start], "big")
        if start > len(data) or at > len(data):
            raise EntryError("A bundle is cut short.")
        entries.append(data[start:at])
    if len(entries) > BUNDLE_ENTRIES:
        raise EntryError("A bundle holds more than 256 entries.")
    return entries
