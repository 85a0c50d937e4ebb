"""What an upload is written in: what is declared, else a byte order mark, else UTF-8 where the first bytes are, else GB18030.

A spreadsheet program in China writes CSV in GB18030 (or GBK, a part of it), or in UTF-8 with a mark, or in UTF-16 with a mark. Some
GB18030 texts are valid UTF-8 by chance, the fewer the longer they are; therefore the decision is made over the first 64 KiB, and
over the first line that is not ASCII only where all of these are ASCII. A line that does not fit the decision is a bad line.
"""

import codecs
from typing import Final

from noticesvc.errors import InputError

SAMPLE: Final = 64 << 10
# The names by which the charsets that are taken are declared (IANA), and the codec of each.
_DECLARED: Final = {"utf-8": "utf-8", "utf8": "utf-8", "us-ascii": "utf-8", "ascii": "utf-8", "gb18030": "gb18030", "gbk": "gb18030",
                    "gb2312": "gb18030", "cp936": "gb18030", "utf-16": "utf-16", "utf-16le": "utf-16-le", "utf-16be": "utf-16-be"}
_MARKS: Final = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_BOOKS: Final = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0", b"\x1f\x8b", b"%PDF", b"7z\xbc\xaf", b"Rar!")


def codec(declared: str | None) -> str | None:
    """The codec of a declared charset; null for none declared. Raises LookupError for one that is not taken."""
    return None if declared is None else _DECLARED[declared.strip().strip('"').lower()]


class Reading:
    """Brings an upload into bytes whose lines can be cut and told one by one, and then tells what each line says."""

    def __init__(self, declared: str | None = None) -> None:
        """`declared` is a codec that `codec` gave."""
        self._codec = declared
        self._started = False
        self._held = bytearray()
        self._wide: codecs.IncrementalDecoder | None = None

    def feed(self, data: bytes) -> bytes:
        """Bytes to cut into lines: in an encoding in which ASCII bytes mean themselves. Raises InputError for what is no text at all."""
        if not self._started:
            self._held += data
            if len(self._held) < SAMPLE:
                return b""
            data = self._start()
        return data if self._wide is None else self._narrow(data)

    def finish(self) -> bytes:
        """The rest."""
        data = b"" if self._started else self._start()
        return data if self._wide is None else self._narrow(data) + self._narrow(b"", final=True)

    def text(self, line: bytes) -> str | None:
        """What a line says; null if it is not written in what the upload is written in."""
        if self._codec is None and not line.isascii():
            self._codec = next((one for one in ("utf-8", "gb18030") if _fits(line, one)), None)
        try:
            return line.decode(self._codec or "ascii")
        except UnicodeDecodeError:
            return None

    @property
    def named(self) -> str:
        """What the lines are taken for, for people."""
        if self._wide is not None:
            return "UTF-16"
        return {"utf-8": "UTF-8", "gb18030": "GB18030"}.get(self._codec or "", "UTF-8 or GB18030")

    def _start(self) -> bytes:
        self._started = True
        data = bytes(self._held)
        self._held = bytearray()
        if data.startswith(_BOOKS):
            raise InputError("The upload is a workbook or an archive, not text: save the sheet as CSV (UTF-8) and upload that.")
        for mark, name in _MARKS:
            if data.startswith(mark) and self._codec in {None, name, name[:6]}:
                self._codec, data = name, data[len(mark):]
                break
        if self._codec is not None and self._codec.startswith("utf-16"):
            # Without a mark it is read as Windows writes it, little end first.
            self._wide = codecs.getincrementaldecoder("utf-16-le" if self._codec == "utf-16" else self._codec)("surrogatepass")
            self._codec = "utf-8"
        elif b"\x00" in data[:SAMPLE].partition(b"\n")[0]:
            raise InputError("The upload is not text (or UTF-16 without a byte order mark): save it as CSV (UTF-8).")
        elif self._codec is None:
            self._codec = _decided(data[:SAMPLE])
        return data

    def _narrow(self, data: bytes, *, final: bool = False) -> bytes:
        """UTF-16 as UTF-8. Half a character becomes bytes that are no UTF-8, so that its line is a bad one."""
        assert self._wide is not None  # noqa: S101 (asked only where there is one)
        try:
            return self._wide.decode(data, final).encode("utf-8", "surrogatepass")
        except UnicodeDecodeError:  # the upload ends within a character
            return b"\xff"


def _decided(sample: bytes) -> str | None:
    """UTF-8 or GB18030 by whole lines of a sample; null if it is ASCII, or neither."""
    end = max(sample.rfind(b"\n"), sample.rfind(b"\r"))
    whole = sample[:end] if len(sample) == SAMPLE and end >= 0 else sample
    if whole.isascii():
        return None
    return next((one for one in ("utf-8", "gb18030") if _fits(whole, one)), None)


def _fits(data: bytes, name: str) -> bool:
    try:
        data.decode(name)
    except UnicodeDecodeError:
        return False
    return True
