"""Elements of an array in a JSON text with the exact bytes of each, so that each becomes evidence by itself.

Called by the SMS providers whose vendors report on many messages at once: nobody's proof may hold what was said of others.
"""

import json
import re
from typing import Any

_DECODER = json.JSONDecoder()
_BLANK = re.compile(r"[ \t\r\n]*")


def elements(raw: bytes, *path: str) -> list[tuple[dict[str, Any], bytes]] | None:
    """The objects of the array at `path` (members of nested objects; none: the text is the array) with their bytes.

    Null if the bytes are no JSON in UTF-8 or hold no array there; elements that are no objects are left out.
    """
    try:
        text = raw.decode("utf-8")
        json.loads(text)  # whole and valid; what follows may then be simple
        at = _BLANK.match(text, 0).end()  # type: ignore[union-attr]
        for name in path:
            at = _member(text, at, name)
        return _array(text, at)
    except (ValueError, RecursionError, LookupError):
        return None


def _array(text: str, at: int) -> list[tuple[dict[str, Any], bytes]]:
    found: list[tuple[dict[str, Any], bytes]] = []
    if text[at] != "[":
        raise ValueError("no array")
    at = _skip(text, at + 1)
    while text[at] != "]":
        value, end = _DECODER.raw_decode(text, at)
        if isinstance(value, dict):
            found.append((value, text[at:end].encode()))
        at = _skip(text, end)
        if text[at] == ",":
            at = _skip(text, at + 1)
    return found


def _member(text: str, at: int, name: str) -> int:
    if text[at] != "{":
        raise ValueError("no object")
    at = _skip(text, at + 1)
    while text[at] != "}":
        key, end = _DECODER.raw_decode(text, at)
        value_at = _skip(text, _skip(text, end) + 1)  # past the colon
        if key == name:
            return value_at
        _, end = _DECODER.raw_decode(text, value_at)
        at = _skip(text, end)
        if text[at] == ",":
            at = _skip(text, at + 1)
    raise LookupError(name)


def _skip(text: str, at: int) -> int:
    return _BLANK.match(text, at).end()  # type: ignore[union-attr]


def word(value: Any, longest: int = 200) -> str | None:
    """A member that is a text or a number, cut; null for anything else."""
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        return None
    return str(value)[:longest].encode("utf-8", "replace").decode()
