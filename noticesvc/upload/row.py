"""What an upload is made of: rows that can be used, and lines that cannot, each with its number."""

from collections.abc import Mapping
from typing import NamedTuple

LONGEST = 1 << 20  # bytes in a physical line, characters in a row that runs over several


class Row(NamedTuple):
    """A recipient and the values beside it; `line` is the physical line on which the row begins, the first being 1."""

    line: int
    recipient_id: str
    params: Mapping[str, str | int]


class BadLine(NamedTuple):
    """A line that is no row, and why, without its values."""

    line: int
    reason: str


Found = Row | BadLine
