"""noticesvc.api.recipient_import: lines of a stream, however it is cut, in bounded memory."""

from hypothesis import given
from hypothesis import strategies as st

from noticesvc.api import recipient_import
from noticesvc.upload.row import LONGEST


async def _found(chunks):
    async def stream():
        for chunk in chunks:
            yield chunk
    return [one async for one in recipient_import.lines(stream())]


LINE = st.binary(max_size=8).map(lambda b: b.replace(b"\n", b"x"))


@given(st.lists(LINE, max_size=6), st.booleans(), st.lists(st.integers(1, 5), max_size=20))
async def test_lines_do_not_depend_on_how_the_stream_is_cut(written, ended, cuts):
    """Whatever the chunks, line n is what stood between the newlines; a last line needs none."""
    data = b"\n".join(written) + (b"\n" if ended and written else b"")
    chunks, start = [], 0
    for cut in cuts:
        chunks.append(data[start:start + cut])
        start += cut
    chunks.append(data[start:])
    expected = list(enumerate(data.split(b"\n"), 1))
    if not expected[-1][1]:
        expected.pop()
    assert await _found(chunks) == expected


async def test_a_line_over_the_limit_is_named_and_the_next_one_is_read():
    """One byte more than the limit is too long, in one piece or in many; the limit itself is not."""
    limit = LONGEST
    over, exact = b"x" * (limit + 1), b"y" * limit
    pieces = [over[:limit // 2], over[limit // 2:] + b"\n", exact + b"\n" + b"z"]
    assert await _found(pieces) == [(1, None), (2, exact), (3, b"z")]
    assert await _found([over]) == [(1, None)]
