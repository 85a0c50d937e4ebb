"""Strict readers for JSON that a stranger gave: one form for each value, everything else one sentence.

Called by proof.bundle. Every function raises VerificationError; `where` names the place in that sentence, never the value.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from noticesvc.errors import LedgerError, VerificationError
from noticesvc.ledger.text import from_base64

MAX_BYTES: Final = 64 << 20
MAX_ITEMS: Final = 20_000
_MAX_TEXT = 1 << 20
_MAX_DIGITS = 16


def load(data: bytes) -> Any:
    """The JSON value of a file, with unique names and whole numbers only."""
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


def _no_fraction(_digits: str) -> Any:
    raise VerificationError("The file holds a number with a fraction or an exponent; bundles have whole numbers only.")


def _whole(digits: str) -> int:
    if len(digits) > _MAX_DIGITS or digits == "-0":
        raise VerificationError("The file holds a number beyond 2^53-1 or a negative zero.")
    return int(digits)


def members(value: Any, names: Sequence[str], where: str) -> Mapping[str, Any]:
    """An object with exactly these members."""
    if not isinstance(value, dict):
        raise VerificationError(f"{where} is no JSON object.")
    if missing := [name for name in names if name not in value]:
        raise VerificationError(f"{where} lacks {', '.join(missing)}.")
    if len(value) != len(names):
        raise VerificationError(f"{where} has a member that is not known; a verifier cannot say what it claims.")
    return value


def items(value: Any, name: str) -> list[Any]:
    """A list of at most MAX_ITEMS."""
    if not isinstance(value, list):
        raise VerificationError(f"The member {name} is no list.")
    if len(value) > MAX_ITEMS:
        raise VerificationError(f"The member {name} has more than {MAX_ITEMS} items.")
    return value


def numbered(found: Mapping[str, Any], name: str) -> list[tuple[int, Any]]:
    """The items of a member that is a list, with their positions."""
    return list(enumerate(items(found[name], name)))


def text(value: Any, where: str) -> str:
    """A string of at most a megabyte."""
    if not isinstance(value, str) or len(value) > _MAX_TEXT:
        raise VerificationError(f"{where} is no string, or is too long.")
    return value


def text_or_null(value: Any, where: str) -> str | None:
    """A string or null."""
    return None if value is None else text(value, where)


def octets(value: Any, where: str, length: int | None = None, most: int = MAX_BYTES) -> bytes:
    """The bytes behind canonical base64, of exactly `length` or at most `most`."""
    if not isinstance(value, str):
        raise VerificationError(f"{where} is no string.")
    try:
        found = from_base64(value, LedgerError, "it")
    except LedgerError:
        raise VerificationError(f"{where} is not base64 in its one canonical spelling.") from None
    if len(found) > most or (length is not None and len(found) != length):
        raise VerificationError(f"{where} has a length that it cannot have.")
    return found


def position(value: Any, count: int, where: str) -> int:
    """A position in a list of `count` items."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < count:
        raise VerificationError(f"{where} is no position in entries.")
    return value
