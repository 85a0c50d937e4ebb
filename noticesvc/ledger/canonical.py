"""Canonical JSON after RFC 8785 (JCS): one value, one spelling in bytes.

Called by entry for the ledger's entries and for values that are committed to. Members are sorted by the UTF-16 code
units of their names, nothing is escaped that need not be, numbers are written as ECMAScript does. Most values hold
no fraction and no name outside the Basic Multilingual Plane; for them msgspec's encoder with sorted names gives
exactly these bytes, several times faster than the standard library's, so it is used.
"""

import json
from math import isfinite

import msgspec

from noticesvc.errors import EntryError

MAX_INT = 2**53 - 1
MAX_DEPTH = 64

_PLAIN = frozenset({str, bool, type(None)})  # most members: known by their exact type at once
_fast = msgspec.json.Encoder(order="sorted").encode
_string = json.JSONEncoder(ensure_ascii=False).encode


def canonical(value: object, *, floats: bool = True) -> bytes:
    """The canonical JSON of None, bool, int, float, str, list or tuple, and dict with str names.

    Raises EntryError for other types, NaN and infinities, integers beyond ±(2^53-1), half surrogate pairs, nesting
    deeper than 64, and for every float if `floats` is false.
    """
    plain = _inspect(value, 0, floats)
    try:
        if plain:
            try:
                return _fast(value)
            except TypeError:  # of a subclass of str, int, dict or list, which _inspect lets through
                pass
        return _slow(value).encode()
    except UnicodeEncodeError:
        raise EntryError("A text holds half of a surrogate pair, which has no UTF-8; remove it.") from None


def _inspect(value: object, depth: int, floats: bool) -> bool:
    """Whether the fast encoder writes this canonically. Raises EntryError for what has no canonical form."""
    if type(value) in _PLAIN or isinstance(value, (str, bool)):
        return True
    if type(value) is int or isinstance(value, int):
        if not -MAX_INT <= value <= MAX_INT:
            raise EntryError("A number is beyond 2^53-1, where JSON readers lose digits; write it as a string.")
        return True
    if isinstance(value, float):
        if not floats:
            raise EntryError("An entry holds a number with a fraction; write whole numbers or strings.")
        if not isfinite(value):
            raise EntryError("A number is not finite, which JSON cannot write.")
        return False
    if depth == MAX_DEPTH:
        raise EntryError("A value is nested more than 64 levels deep.")
    plain = True
    if isinstance(value, dict):
        try:
            if not all(map(str.isascii, value)):
                # Only beyond the Basic Multilingual Plane does code unit order differ from code point order.
                plain = all(name.isascii() or max(name) <= "\uffff" for name in value)
        except (TypeError, AttributeError):
            raise EntryError("A member's name is not a string.") from None
        for member in value.values():
            kind = type(member)
            if kind not in _PLAIN and not (kind is int and -MAX_INT <= member <= MAX_INT):
                plain &= _inspect(member, depth + 1, floats)
    elif isinstance(value, (list, tuple)):
        for item in value:
            plain &= _inspect(item, depth + 1, floats)
    else:
        raise EntryError("A value is of a type that JSON does not have.")
    return plain


def _slow(value: object) -> str:
    """Writes what _inspect has let through, in RFC 8785's own order."""
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, dict):
        names = sorted(value, key=lambda name: name.encode("utf-16-be", "surrogatepass"))
        return "{" + ",".join(f"{_string(name)}:{_slow(value[name])}" for name in names) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(_slow(item) for item in value) + "]"
    return _string(value)


def _number(value: float) -> str:
    """ECMA-262 Number::toString: the shortest digits that read back the same, which `repr` has too, laid out anew."""
    if value == 0:
        return "0"
    sign = "-" if value < 0 else ""
    mantissa, _, exponent = repr(abs(value)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    significant = (whole + fraction).lstrip("0")
    # The value is 0.DIGITS times ten to the power `point`.
    point = len(whole) + int(exponent or 0) - (len(whole + fraction) - len(significant))
    digits = significant.rstrip("0")
    if len(digits) <= point <= 21:
        return sign + digits + "0" * (point - len(digits))
    if 0 < point <= 21:
        return f"{sign}{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    tail = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{sign}{digits[0]}{tail}e{point - 1:+d}"
