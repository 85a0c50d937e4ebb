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


def _call(stream, write, importing=4):
    return SimpleNamespace(request=SimpleNamespace(stream=stream), write=write,
                           house=SimpleNamespace(importing=asyncio.Semaphore(importing)))


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

    answer = await import_contacts(_call(stream, write))
    assert answer["accepted"] == LARGEST + 64
    assert portions == [[f"u-{n}" for n in range(LARGEST)], [f"u-{n}" for n in range(LARGEST, LARGEST + 64)]]


def _asked(write, *recipient_ids):
    """An import of a line for each of these, in one piece."""
    async def stream():
        yield b"".join(json.dumps({"recipient_id": one, "source": "crm", "contacts": []}).encode() + b"\n" for one in recipient_ids)
    return import_contacts(_call(stream, write))


async def test_portions_that_share_no_recipient_are_recorded_at_the_same_time():
    """The first one ends only when three more have begun."""
    fourth, begun = asyncio.Event(), 0

    async def write(_, lines):
        nonlocal begun
        begun += 1
        if begun == 4:
            fourth.set()
        async with asyncio.timeout(PATIENCE_S):
            await fourth.wait()
        return Imported(accepted=len(lines))
    answer = await _asked(write, *[f"u-{n}" for n in range(4 * LARGEST)])
    assert (answer["accepted"], begun) == (4 * LARGEST, 4)


async def test_all_imports_together_record_no_more_than_a_few_portions_at_once():
    """Two imports of a process share what there is, and both end."""
    at_once, most = 0, 0

    async def write(_, lines):
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        for _ in range(10):
            await asyncio.sleep(0)
        at_once -= 1
        return Imported(accepted=len(lines))

    async def stream():
        yield b"".join(json.dumps({"recipient_id": f"u-{n}", "source": "crm", "contacts": []}).encode() + b"\n" for n in range(4 * LARGEST))
    first = _call(stream, write)
    second = SimpleNamespace(request=first.request, write=write, house=first.house)
    answers = await asyncio.gather(import_contacts(first), import_contacts(second))
    assert [answer["accepted"] for answer in answers] == [4 * LARGEST] * 2
    assert most == 4


@pytest.mark.parametrize("again", [LARGEST, 2 * LARGEST])
async def test_a_recipient_named_again_is_recorded_after_the_first_time(again):
    """In the next portion or in the one after it, what stands later in the list is begun when what stands before is recorded."""
    there, recorded = set(), []

    async def write(_, lines):
        named = {line.recipient_id for line in lines}
        assert there.isdisjoint(named)
        there.update(named)
        for _ in range(10):
            await asyncio.sleep(0)
        there.difference_update(named)
        recorded.extend(line.number for line in lines if line.recipient_id == "u-0")
        return Imported(accepted=len(lines))
    names = [f"u-{n}" for n in range(3 * LARGEST)]
    names[again] = "u-0"
    assert (await _asked(write, *names))["accepted"] == 3 * LARGEST
    assert recorded == [1, again + 1]


async def test_what_a_portion_postponed_comes_before_what_stands_later():
    """The last line of each portion is postponed once; a later line for the same recipient is recorded after it, and nothing twice."""
    postponed, recorded = set(), []

    async def write(_, lines):
        for _ in range(10):
            await asyncio.sleep(0)
        late = [line for line in lines[-1:] if line.number not in postponed]
        postponed.update(line.number for line in late)
        done = lines[:len(lines) - len(late)]
        recorded.extend((line.recipient_id, line.number) for line in done)
        return Imported(accepted=len(done), postponed=late)
    names = [f"u-{n}" for n in range(4 * LARGEST)]
    names[LARGEST] = names[2 * LARGEST] = names[3 * LARGEST] = names[LARGEST - 1]
    assert (await _asked(write, *names))["accepted"] == 4 * LARGEST
    assert sorted(number for _, number in recorded) == list(range(1, 4 * LARGEST + 1))
    mine = [number for name, number in recorded if name == names[LARGEST]]
    assert mine == [LARGEST, LARGEST + 1, 2 * LARGEST + 1, 3 * LARGEST + 1]


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
        await import_contacts(_call(stream, write))
    go_on.set()
    async with asyncio.timeout(PATIENCE_S):
        await recorded.wait()
