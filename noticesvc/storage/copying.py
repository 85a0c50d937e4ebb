"""Very many rows in one COPY on PostgreSQL, in its binary format, which asyncpg passes on as it is.

Called by storage.bulk alone. A COPY writes rows a page at a time and calls no expression for any of them, so that PostgreSQL
needs seven tenths of what INSERT … SELECT over arrays costs it; and the bytes are put together here without a call for each
value, ahead of the transaction that sends them. Source: PostgreSQL, documentation of COPY, "Binary Format".
"""

import struct
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import chain, repeat
from typing import Any

from sqlalchemy import BigInteger, Boolean, Connection, Integer, LargeBinary, SmallInteger, Table, Text, Uuid

_BEGIN = b"PGCOPY\n\xff\r\n\0" + bytes(8)  # signature, flags, length of the header's extension
_END = b"\xff\xff"
_NULL = b"\xff\xff\xff\xff"
_NOTHING = "select 1"
_PIECE = 1 << 18  # bytes
Encoded = list[bytes]


class Form:
    """Rows of a table in which the columns `names` differ and the others are the `same` in all."""

    def __init__(self, table: Table, same: Mapping[str, Any], names: Sequence[str]) -> None:
        self._table, self._names, self._varying = table, (*names, *same), tuple(names)
        self._begins = len(self._names).to_bytes(2, "big")
        self._ends = b"".join([_encoded(table, name, [value])[0] for name, value in same.items()])

    def encode(self, columns: Sequence[Sequence[Any]]) -> bytes:
        """Some rows, column by column. ValueError if the columns differ in length."""
        varying = [_encoded(self._table, name, values) for name, values in zip(self._varying, columns, strict=True)]
        if len({len(column) for column in varying}) != 1:
            raise ValueError("the columns of rows to insert have different lengths")
        return b"".join(chain.from_iterable(zip(repeat(self._begins), *varying, repeat(self._ends))))  # those that repeat have no end

    def insert(self, conn: Connection, encoded: Sequence[bytes]) -> None:
        """Insert what was encoded."""
        adapted: Any = conn.connection.dbapi_connection
        if not adapted.driver_connection.is_in_transaction():
            conn.exec_driver_sql(_NOTHING)  # the driver begins a transaction with its first statement, which must not come after this
        adapted.run_async(lambda driver: driver.copy_to_table(self._table.name, source=_pieces((_BEGIN, *encoded, _END)),
                                                              columns=self._names, format="binary"))


async def _pieces(encoded: Iterable[bytes]) -> AsyncIterator[bytes]:
    """As much at a time as the driver's buffer should hold, or a little more. Of a file it would read each piece in a thread."""
    some, size = list[bytes](), 0
    for data in encoded:
        for at in range(0, len(data), _PIECE):
            some.append(data[at:at + _PIECE])
            size += len(some[-1])
            if size >= _PIECE:
                yield b"".join(some)
                some, size = [], 0
    yield b"".join(some)


def _encoded(table: Table, name: str, values: Sequence[Any]) -> Encoded:
    """Each value of a column behind its length in four bytes; a null is the length -1 alone."""
    encode = _encoder(table, name)
    if None not in values:
        return encode(values)
    there = iter(encode([value for value in values if value is not None]))
    return [_NULL if value is None else next(there) for value in values]


@lru_cache(maxsize=512)
def _encoder(table: Table, name: str) -> Callable[[Sequence[Any]], Encoded]:
    for known, encode in _ENCODERS:
        if isinstance(table.c[name].type, known):
            return encode
    raise TypeError(f"{table.name}.{name} cannot be copied: say here how values of its type are encoded")


def _ids(values: Sequence[str]) -> Encoded:
    data = bytes.fromhex("".join(values).replace("-", ""))
    if len(data) != 16 * len(values):
        raise ValueError("one of these ids is no UUID")
    return [b"\0\0\0\x10" + data[at:at + 16] for at in range(0, len(data), 16)]


def _numbers(form: str) -> Callable[[Sequence[int]], Encoded]:
    one = struct.Struct(form)
    length = one.size.to_bytes(4, "big")

    def encode(values: Sequence[int]) -> Encoded:
        return [length + one.pack(value) for value in values]
    return encode


def _bytes(values: Sequence[bytes]) -> Encoded:
    return [len(value).to_bytes(4, "big") + value for value in values]


def _texts(values: Sequence[str]) -> Encoded:
    return _bytes([value.encode() for value in values])


_ENCODERS = ((Uuid, _ids), (SmallInteger, _numbers(">h")), (BigInteger, _numbers(">q")), (Integer, _numbers(">i")),
             (Boolean, _numbers(">?")), (LargeBinary, _bytes), (Text, _texts))
