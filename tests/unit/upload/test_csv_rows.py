"""noticesvc.upload: rows from CSV and NDJSON, whatever wrote them and however the bytes are cut."""

import codecs
import csv
import io
import json
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noticesvc.errors import InputError
from noticesvc.upload import charset
from noticesvc.upload.csv_rows import CsvRows
from noticesvc.upload.json_rows import JsonRows
from noticesvc.upload.row import LONGEST, BadLine, Row


def read(reader, data, cuts=()):
    """Everything that a reader finds in these bytes, cut into pieces of these lengths."""
    found, start = [], 0
    for cut in cuts:
        found += reader.feed(data[start:start + cut])
        start += cut
    return found + reader.feed(data[start:]) + reader.finish()


def rows(data, *, declared=None):
    return read(CsvRows(charset.codec(declared)), data)


CELL = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\x00"), max_size=6) | st.sampled_from(
    ['"', '""', ",", ";", "\t", "\r", "\n", "\r\n", "a\r\nb", "张三", "\u2028", " x ", "\ufeff", "=1+1"])
ID = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=5)
CUTS = st.lists(st.integers(1, 7), max_size=60)


def written(table, separator, ending, quoting):
    out = io.StringIO(newline="")
    if ending != "\r\n":  # the writer quotes only what holds a character of its own line end
        quoting = csv.QUOTE_ALL
    csv.writer(out, delimiter=separator, lineterminator=ending, quoting=quoting).writerows(table)
    return out.getvalue()


@given(st.lists(st.tuples(ID, CELL, CELL), max_size=8), st.sampled_from(",;\t"), st.sampled_from(["\r\n", "\n", "\r"]),
       st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]), st.integers(0, 2),
       st.sampled_from([("utf-8", b"", None), ("utf-8", codecs.BOM_UTF8, None), ("utf-16-le", codecs.BOM_UTF16_LE, None),
                        ("utf-16-be", codecs.BOM_UTF16_BE, None), ("gb18030", b"", "gb18030"), ("gb18030", b"", "GBK"),
                        ("utf-16-le", b"", "utf-16"), ("utf-16-be", codecs.BOM_UTF16_BE, "UTF-16")]), CUTS)
def test_what_a_csv_writer_wrote_is_read_back(table, separator, ending, quoting, place, written_in, cuts):
    """Python's own writer, every separator, line end, quoting and encoding; lines are physical lines; cuts do not matter."""
    encoding, mark, declared = written_in
    names = ["name", "city"]
    names.insert(place, "recipient_id")
    shown = [[*cells[1:1 + place], cells[0], *cells[1 + place:]] for cells in table]
    text = written([names, *shown], separator, ending, quoting)
    found = read(CsvRows(charset.codec(declared)), mark + text.encode(encoding), cuts)
    expected, line = [], 2
    for cells, row in zip(table, shown, strict=True):
        one_end = [cell.replace("\r\n", "\n").replace("\r", "\n") for cell in cells]
        expected.append(Row(line, one_end[0], {"name": one_end[1], "city": one_end[2]}))
        record = written([row], separator, ending, quoting)
        line += record.replace("\r\n", "\n").replace("\r", "\n").count("\n")
    assert found == expected


@given(st.binary(max_size=200), CUTS, st.sampled_from([None, "utf-8", "gb18030", "utf-16"]))
def test_whatever_the_bytes_the_cuts_do_not_matter_and_nothing_breaks(data, cuts, declared):
    """Any bytes behind a header or not: rows, bad lines, or one refusal of the whole; the same however they come."""
    for spoilt in (data, b"recipient_id,a\n" + data, b'recipient_id,a\n"x' + data):
        outcomes = []
        for pieces in ((), cuts):
            try:
                outcomes.append(read(CsvRows(charset.codec(declared)), spoilt, pieces))
            except InputError as error:
                outcomes.append(error.detail)
        assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize(("data", "says"), [
    (b"", "is empty"),
    (codecs.BOM_UTF8, "is empty"),
    (b"\r\n\r\n", "no column recipient_id"),
    (b"name,city\nu-1,x\n", "no column recipient_id"),
    (b"Recipient_ID\nu-1\n", "no column recipient_id"),
    (b"recipient_id|name\nu-1|x\n", "no column recipient_id"),
    (b"recipient_id,name,name\nu-1,a,b\n", "twice: columns 2 and 3"),
    (b"recipient_id,recipient_id\nu-1,u-2\n", "twice: columns 1 and 2"),
    (b'recipient_id,"name\nu-1,x\n', "never closed"),
    (b'recipient_id,"na"me"\nu-1,x\n', "closing quote"),
    (b"PK\x03\x04" + b"\x00" * 40, "workbook"),
    (b"\x1f\x8b\x08\x00" + b"\x00" * 40, "archive"),
    (b"\x7fELF\x00\x00", "not text"),
    ("recipient_id\nu-1\n".encode("utf-16-le"), "UTF-16 without"),
    (b"recipient_id,\xff\xff\nu-1,x\n", "header is not written in"),
    (b"recipient_id," + b"x" * LONGEST + b"\nu-1,x\n", "header is longer"),
    (b"recipient_id" + b",a" * 300, "more than 256 columns"),
])
def test_a_fault_of_the_header_refuses_the_whole(data, says):
    """Nothing below can be understood without it; the answer says what is wrong and never repeats a name."""
    with pytest.raises(InputError, match=says):
        rows(data)


def test_a_fault_of_a_row_rejects_that_line_alone():
    """Ragged rows, text behind a quote, bytes that are no text: named by line, and the next row is read."""
    data = (b'recipient_id,name\r\nu-1,a\r\nu-2\r\nu-3,a,b\r\n"u-4"x,a\r\nu-5,\xe5\xbc\xa0\r\nu-6,\xff\r\n'
            b'"u-7","a\r\nb"\r\nu-8,"\xff\r\n"\r\nu-9,5" pipe\r\n\r\n,\r\nu-10,\r\nu-11,z')
    assert rows(data) == [
        Row(2, "u-1", {"name": "a"}),
        BadLine(3, "The row has 1 fields, the header 2."),
        BadLine(4, "The row has 3 fields, the header 2."),
        BadLine(5, "There is text behind a closing quote; a quote inside a quoted field is written twice."),
        Row(6, "u-5", {"name": "张"}),
        BadLine(7, "The line is not written in UTF-8; save the file as CSV (UTF-8), or declare its charset in Content-Type."),
        Row(8, "u-7", {"name": "a\nb"}),
        BadLine(10, "The line is not written in UTF-8; save the file as CSV (UTF-8), or declare its charset in Content-Type."),
        Row(12, "u-9", {"name": '5" pipe'}),
        Row(15, "u-10", {"name": ""}),
        Row(16, "u-11", {"name": "z"}),
    ]


def test_a_quote_that_is_never_closed_is_named_where_it_opens():
    """Nothing behind it can be trusted, so nothing behind it is a row."""
    found = rows(b'recipient_id,name\nu-1,a\nu-2,"b\nu-3,c\n')
    assert found == [Row(2, "u-1", {"name": "a"}), BadLine(3, "A quote that opens in this row is never closed; nothing after it was read.")]


def test_columns_without_a_name_are_passed_over_unless_they_hold_something():
    """A spreadsheet program writes columns and rows that were emptied."""
    assert rows(b"recipient_id,,name,,\nu-1,,a,,\n,,,,\nu-2,x,a,,\nu-3,,a\nu-4,,a,,y\n") == [
        Row(2, "u-1", {"name": "a"}), BadLine(4, "The row has a value in a column without a name."), Row(5, "u-3", {"name": "a"}),
        BadLine(6, "The row has 5 fields, the header 3.")]
    assert rows(b"recipient_id,,\nu-1,,\n") == [Row(2, "u-1", {})]


def test_gb18030_is_recognised_without_being_declared():
    """The first bytes decide: valid UTF-8 is UTF-8; otherwise GB18030, which a spreadsheet program writes in China."""
    text = "recipient_id,姓名\r\nu-1,一\r\nu-2,张三\r\nu-3,𠮷\r\n"
    expected = [Row(2, "u-1", {"姓名": "一"}), Row(3, "u-2", {"姓名": "张三"}), Row(4, "u-3", {"姓名": "𠮷"})]
    for encoding in ("gb18030", "utf-8"):
        assert rows(text.encode(encoding)) == expected, encoding


def test_the_encoding_is_decided_late_where_everything_was_ascii():
    """A million plain rows, and then one with a name: the first line that is not ASCII decides, and a later misfit is a bad line."""
    plain = b"recipient_id,name\n" + b"".join(b"u-%d,x\n" % n for n in range(10_000))
    found = rows(plain + "g-1,张三\ng-2,李四\n".encode("gb18030") + b"g-3,\xff\n")
    assert found[10_000:] == [Row(10_002, "g-1", {"name": "张三"}), Row(10_003, "g-2", {"name": "李四"}), BadLine(
        10_004, "The line is not written in GB18030; save the file as CSV (UTF-8), or declare its charset in Content-Type.")]
    found = rows(plain + "g-1,张三\n".encode() + "g-2,李四\n".encode("gb18030") + "g-3,王五\n".encode())
    assert [one.line for one in found if isinstance(one, BadLine)] == [10_003]


def test_half_a_character_at_the_end_of_utf_16_is_a_bad_line():
    """Nothing is guessed."""
    data = codecs.BOM_UTF16_LE + "recipient_id\nu-1\nu-2".encode("utf-16-le") + b"\x31"
    assert rows(data) == [Row(2, "u-1", {}), BadLine(
        3, "The line is not written in UTF-16; save the file as CSV (UTF-8), or declare its charset in Content-Type.")]


def test_long_lines_and_rows_are_named_and_not_kept():
    """A 10 MB line, a 10 MB field over many lines, and one inside quotes: a bad line each, and the rows between are read."""
    tracemalloc.start()
    reader, found = CsvRows(), []
    long = b"x" * 65536
    found += reader.feed(b"recipient_id,name\nu-1,a\nu-2,")
    for _ in range(160):
        found += reader.feed(long)
    found += reader.feed(b'\nu-3,c\nu-4,"')
    for _ in range(160):
        found += reader.feed(long + b"\n")
    found += reader.feed(b'"\nu-5,e\nu-6,"')
    for _ in range(160):
        found += reader.feed(long)
    found += reader.feed(b'\n,"\nu-7,g\n') + reader.finish()
    assert tracemalloc.get_traced_memory()[1] < 8 * LONGEST
    tracemalloc.stop()
    assert [one.line for one in found if isinstance(one, Row)] == [2, 4, 166, 169]
    assert [one.line for one in found if isinstance(one, BadLine)] == [3, 5, 167]
    assert all("longer than 1048576 bytes" in one.reason for one in found if isinstance(one, BadLine))


def test_a_charset_that_is_not_taken_is_said():
    """Declared names are those of IANA, in any case, with quotes or without."""
    assert [charset.codec(one) for one in (None, "UTF-8", '"gb2312"', "Utf-16LE")] == [None, "utf-8", "gb18030", "utf-16-le"]
    for one in ("latin1", "shift_jis", "", "utf-32"):
        with pytest.raises(LookupError):
            charset.codec(one)


PARAMS = st.dictionaries(st.text(max_size=4), st.text(max_size=6) | st.integers(-9, 9), max_size=3)


@given(st.lists(st.tuples(ID, PARAMS), max_size=6), st.sampled_from(["\n", "\r\n"]), CUTS)
def test_ndjson_is_read_back(table, ending, cuts):
    """One object a line; cuts do not matter."""
    text = "".join(json.dumps({"recipient_id": one, **params}, ensure_ascii=False) + ending for one, params in table)
    found = read(JsonRows(), text.encode("utf-8", "surrogatepass"), cuts)
    assert found == [Row(at, one, params) for at, (one, params) in enumerate(table, 1)]


def test_lines_of_ndjson_that_cannot_be_taken_are_named():
    """Blank lines are none; everything else that is no row is named by its line."""
    lines = [b'\xef\xbb\xbf{"recipient_id": "u-1", "n": 3}', b"", b"[1]", b'{"recipient_id": 5}', b"{}", b"{", b'{"recipient_id": "\xff"}',
             b'{"recipient_id": "u-2", "a": null}', b'{"recipient_id": "u-2", "a": NaN}', b'{"recipient_id": "u-2", "a": 1.5}',
             b'{"recipient_id": "u-2", "a": true}', b'{"recipient_id": "\\ud800"}', b"[" * 100_000, b'"' + b"x" * LONGEST,
             b'{"recipient_id": "u-3", "a": 9007199254740992}', b'{"recipient_id": "u-4"}']
    found = read(JsonRows(), b"\n".join(lines))
    assert [one.line for one in found if isinstance(one, Row)] == [1, 16]
    assert [one.line for one in found if isinstance(one, BadLine)] == [3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]
