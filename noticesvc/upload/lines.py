"""Bytes into physical lines: CRLF, LF or a lone CR ends one. A line over the limit is told but not kept."""

from typing import NamedTuple

from noticesvc.upload.row import LONGEST


class Line(NamedTuple):
    """A physical line without its end. `data` is null for one over the limit, of which only the quotes were counted."""

    number: int
    data: bytes | None
    quotes: int = 0


class Lines:
    """Cuts what it is fed; never holds more than the limit."""

    def __init__(self, *, lone_cr: bool = True) -> None:
        self._lone_cr = lone_cr
        self._held = bytearray()
        self._number = 1
        self._quotes = 0
        self._too_long = False
        self._after_cr = False

    def feed(self, data: bytes) -> list[Line]:
        """The lines that end in these bytes."""
        if self._lone_cr:
            data = self._one_end(data)
        first, *more = data.split(b"\n")
        self._keep(first)
        found = []
        for piece in more:
            found.append(self._end())
            self._keep(piece)
        return found

    def finish(self) -> list[Line]:
        """The last line, if it has no end; nothing for an empty one."""
        return [self._end()] if self._held or self._too_long else []

    def _one_end(self, data: bytes) -> bytes:
        """The same with LF alone; an LF that follows the CR of the bytes before belongs to it."""
        if self._after_cr and data:
            data = data.removeprefix(b"\n")
            self._after_cr = False
            if not data:  # it was the LF alone
                return data
        if b"\r" in data:
            self._after_cr = data.endswith(b"\r")
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        return data

    def _keep(self, piece: bytes) -> None:
        if not self._too_long and len(self._held) + len(piece) > LONGEST:
            self._too_long = True
            self._quotes = self._held.count(b'"')
            self._held.clear()
        if self._too_long:
            self._quotes += piece.count(b'"')
        else:
            self._held += piece

    def _end(self) -> Line:
        line = Line(self._number, None, self._quotes) if self._too_long else Line(self._number, bytes(self._held))
        self._number += 1
        self._held.clear()
        self._too_long, self._quotes = False, 0
        return line
