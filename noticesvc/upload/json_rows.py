"""NDJSON into rows: one object a line, `recipient_id` and its parameters as members side by side."""

import codecs
from typing import Any

import msgspec

from noticesvc.upload.lines import Line, Lines
from noticesvc.upload.row import LONGEST, BadLine, Found, Row

_KEY = "recipient_id"
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class JsonRows:
    """Rows of one upload. An empty upload has none."""

    columns: tuple[str, ...] | None = None  # each line names its own

    def __init__(self) -> None:
        self._lines = Lines(lone_cr=False)

    def feed(self, data: bytes) -> list[Found]:
        """What these bytes complete."""
        return _rows(self._lines.feed(data))

    def finish(self) -> list[Found]:
        """What is left at the end."""
        return _rows(self._lines.finish())


def _rows(lines: list[Line]) -> list[Found]:
    return [found for line in lines if (found := _row(line)) is not None]


def _row(line: Line) -> Found | None:
    if line.data is None:
        return BadLine(line.number, f"The line is longer than {LONGEST} bytes.")
    data = line.data.removeprefix(codecs.BOM_UTF8) if line.number == 1 else line.data
    if not data.strip():
        return None
    try:
        value = _decode(data)
    except msgspec.ValidationError:
        return BadLine(line.number, "The line is no JSON object.")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return BadLine(line.number, "The line is not JSON in UTF-8.")
    recipient_id = value.pop(_KEY, None)
    if not isinstance(recipient_id, str):
        return BadLine(line.number, "/recipient_id: must be there, as a string.")
    for one in value.values():
        if isinstance(one, bool) or not isinstance(one, str | int) or (isinstance(one, int) and abs(one) > 2**53 - 1):
            return BadLine(line.number, "A parameter is neither a string nor a whole number up to 2^53 - 1.")
    return Row(line.number, recipient_id, value)
