"""CSV into rows: RFC 4180, and what spreadsheet programs make of it.

The header is line 1 and names its columns, `recipient_id` among them, in any order; comma, semicolon or tab separates, whichever
finds that name. A quoted field may hold separators, line breaks (told as LF) and doubled quotes; a quote inside an unquoted field
is a quote. Rows whose fields are all empty are passed over, as are columns without a name and without values.
"""

from noticesvc.errors import InputError
from noticesvc.upload.charset import Reading
from noticesvc.upload.lines import Line, Lines
from noticesvc.upload.row import LONGEST, BadLine, Found, Row

KEY = "recipient_id"
MOST_COLUMNS = 256
_SEPARATORS = ",;\t"
_TOO_LONG = f"is longer than {LONGEST} bytes"


class CsvRows:
    """Rows of one upload. `feed` and `finish` raise InputError for a fault that spoils the whole: nothing can be read without a header."""

    def __init__(self, charset: str | None = None) -> None:
        """`charset` is a codec from charset.codec, null where none is declared."""
        self._reading = Reading(charset)
        self._lines = Lines()
        self._found: list[Found] = []
        self.columns: tuple[str, ...] | None = None  # beside recipient_id, once the header was read
        self._names: list[str] = []
        self._key = 0
        self._separator = ""
        self._record = _Record()

    def feed(self, data: bytes) -> list[Found]:
        """What these bytes complete."""
        return self._take(self._lines.feed(self._reading.feed(data)))

    def finish(self) -> list[Found]:
        """What is left at the end."""
        found = self._take(self._lines.feed(self._reading.finish())) + self._take(self._lines.finish())
        if self._record.in_quotes:
            record, self._record = self._record, _Record()
            if self.columns is None:
                raise InputError("The header has a quote that is never closed.")
            found.append(BadLine(record.start, "A quote that opens in this row is never closed; nothing after it was read."))
        if self.columns is None:
            raise InputError("The upload is empty; its first line must be a header with recipient_id.")
        return found

    def _take(self, lines: list[Line]) -> list[Found]:
        for line in lines:
            if line.data is None:
                self._unread(line, odd=bool(line.quotes % 2))
                continue
            text = self._reading.text(line.data)
            if text is None:
                self._garbled(line)
            elif self._record.in_quotes or '"' in text or not self._separator:
                self._scan(line.number, text)
            else:
                self._row(line.number, text.split(self._separator))
        found, self._found = self._found, []
        return found

    def _unread(self, line: Line, *, odd: bool) -> None:
        """A line that was not kept: whether a quote is open after it is known, what it says is not."""
        if self.columns is None:
            raise InputError(f"The header {_TOO_LONG}.")
        record = self._record
        record.begin(line.number)
        record.spoil(f"The line {_TOO_LONG}.")
        if odd:
            record.in_quotes = not record.in_quotes
        if not record.in_quotes:
            self._close()

    def _garbled(self, line: Line) -> None:
        if self.columns is None:
            raise InputError(f"The header is not written in {self._reading.named}; save the file as CSV (UTF-8), "
                             "or declare its charset in Content-Type.")
        record = self._record
        record.begin(line.number)
        record.spoil(f"The line is not written in {self._reading.named}; save the file as CSV (UTF-8), "
                     "or declare its charset in Content-Type.")
        self._scan(line.number, (line.data or b"").decode("latin-1"))  # for its quotes alone

    def _scan(self, number: int, text: str) -> None:
        """A physical line of a row with quotes, or of the header."""
        if not self._separator and not self._record.in_quotes and not self._record.parts:
            self._separator = _separator(text)
        self._record.begin(number)
        if self._record.scan(text, self._separator):
            self._close()

    def _close(self) -> None:
        record, self._record = self._record, _Record()
        if record.fault is not None:
            if self.columns is None:
                raise InputError(f"The header cannot be read. {record.fault}")
            self._found.append(BadLine(record.start, record.fault))
        elif self.columns is None:
            self._header(record.fields)
        else:
            self._row(record.start, record.fields)

    def _header(self, fields: list[str]) -> None:
        names = [one.strip() for one in fields]
        while names and not names[-1]:  # a spreadsheet program writes every column that ever held something
            names.pop()
        if len(names) > MOST_COLUMNS:
            raise InputError(f"The header names more than {MOST_COLUMNS} columns.")
        if KEY not in names:
            raise InputError("The header (the first line) has no column recipient_id; columns are separated by comma, semicolon or tab.")
        twice = next((one for at, one in enumerate(names) if one and one in names[:at]), None)
        if twice is not None:
            place = [at for at, one in enumerate(names, 1) if one == twice]
            raise InputError(f"The header names a column twice: columns {place[0]} and {place[1]}.")
        self._names, self._key = names, names.index(KEY)
        self.columns = tuple(one for one in names if one and one != KEY)

    def _row(self, number: int, fields: list[str]) -> None:
        names = self._names
        if len(fields) != len(names):
            while len(fields) > len(names) and not fields[-1]:
                fields.pop()
            if not any(fields):
                return
            if len(fields) != len(names):
                self._found.append(BadLine(number, f"The row has {len(fields)} fields, the header {len(names)}."))
                return
        elif not fields[self._key] and not any(fields):
            return
        if not self.columns:
            params = {}
            if len(names) > 1 and any(value for at, value in enumerate(fields) if at != self._key):
                self._found.append(BadLine(number, "The row has a value in a column without a name."))
                return
        else:
            params = dict(zip(names, fields, strict=True))
            del params[KEY]
            if "" in params and any(value for name, value in zip(names, fields, strict=True) if not name):
                self._found.append(BadLine(number, "The row has a value in a column without a name."))
                return
            params.pop("", None)
        self._found.append(Row(number, fields[self._key], params))


class _Record:
    """A row as it is being read, over as many physical lines as its quotes span."""

    def __init__(self) -> None:
        self.start = 0
        self.fields: list[str] = []
        self.parts: list[str] = []
        self.in_quotes = False
        self.fault: str | None = None
        self._size = 0

    def begin(self, number: int) -> None:
        """Tell on which line it begins; a second time tells nothing."""
        self.start = self.start or number

    def spoil(self, fault: str) -> None:
        """It is no row; the first reason stays. Nothing of it is kept from here on."""
        self.fault = self.fault or fault
        self.fields.clear()
        self.parts.clear()

    def scan(self, text: str, separator: str) -> bool:
        """Take a physical line; whether the row ends with it."""
        self._size += len(text) + 1
        if self._size > LONGEST + 1:
            self.spoil(f"The row {_TOO_LONG}; perhaps a quote is not closed.")
        at, end = 0, len(text)
        if self.in_quotes:
            self.parts.append("\n")
        while True:
            if self.in_quotes:
                quote = text.find('"', at)
                if quote < 0:
                    self.parts.append(text[at:])
                    if self.fault is not None:
                        self.spoil(self.fault)
                    return False
                self.parts.append(text[at:quote])
                at = quote + 1
                if text.startswith('"', at):
                    self.parts.append('"')
                    at += 1
                    continue
                self.in_quotes = False
                self.fields.append("".join(self.parts))
                self.parts.clear()
                if at < end and text[at] != separator:
                    self.spoil("There is text behind a closing quote; a quote inside a quoted field is written twice.")
                    found = text.find(separator, at)
                    at = end if found < 0 else found
            elif text.startswith('"', at):
                self.in_quotes = True
                at += 1
                continue
            else:
                found = text.find(separator, at)
                self.fields.append(text[at:] if found < 0 else text[at:found])
                at = end if found < 0 else found
            if at >= end:
                return True
            at += 1  # the separator; what follows it is a field, if only an empty one
            if at == end:
                self.fields.append("")
                return True


def _separator(header: str) -> str:
    """The separator under which the header names recipient_id; the comma where none does."""
    def names(separator: str) -> bool:
        return any(one.strip().strip('"').strip() == KEY for one in header.split(separator))
    return next((one for one in _SEPARATORS if names(one)), ",")
