"""noticesvc.api.recipient_import: lines of a stream, however it is cut, in bounded memory, judged while others are recorded."""

import asyncio
import json
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import ClientDisconnect

from noticesvc.api import recipient_import
from noticesvc.api.recipient_import import import_contacts
from noticesvc.operations.recipient_import import LARGEST, Imported
from noticesvc.upload.row import LONGEST
from tests.support.waiting import PATIENCE_S


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


async def test_lines_are_judged_while_those_before_are_recorded():
    """Even where they come in one piece: recording begins before its last line is judged, and the next piece is read before it ends."""
    begun, asked, portions = asyncio.Event(), asyncio.Event(), []
    written = {"source": "crm", "contacts": []}

    async def stream():
        yield b"".join(json.dumps({"recipient_id": f"u-{n}"} | written).encode() + b"\n" for n in range(LARGEST + 64))
        assert begun.is_set()
        asked.set()

    async def write(_, lines):
        begun.set()
        async with asyncio.timeout(PATIENCE_S):
            await asked.wait()
        portions.append([line.recipient_id for line in lines])
        return Imported(accepted=len(lines))

    answer = await import_contacts(SimpleNamespace(request=SimpleNamespace(stream=stream), write=write))
    assert answer["accepted"] == LARGEST + 64
    assert portions == [[f"u-{n}" for n in range(LARGEST)], [f"u-{n}" for n in range(LARGEST, LARGEST + 64)]]


async def test_a_caller_who_hangs_up_breaks_off_nothing():
    """What is being recorded by then ends by itself."""
    begun, go_on, recorded = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def stream():
        yield b"".join(json.dumps({"recipient_id": f"u-{n}", "source": "crm", "contacts": []}).encode() + b"\n" for n in range(LARGEST))
        await begun.wait()
        raise ClientDisconnect

    async def write(_, lines):
        begun.set()
        await go_on.wait()
        recorded.set()
        return Imported(accepted=len(lines))

    with pytest.raises(ClientDisconnect):
        await import_contacts(SimpleNamespace(request=SimpleNamespace(stream=stream), write=write))
    go_on.set()
    async with asyncio.timeout(PATIENCE_S):
        await recorded.wait()
