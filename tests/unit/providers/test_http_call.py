"""One exchange with a vendor: what is too long, and what cannot be written at all."""

import pytest

from noticesvc.provider import OutcomeUnknown, ProviderUnavailable
from providers.shared.http_call import LONGEST_ANSWER, HttpCalls
from tests.fakes.door import Door


async def exchange(size, headers=None, path="/"):
    """Send one request to a server on loopback that answers `size` bytes; the reply or what was raised, and how many connected."""
    taken = []

    async def answer(reader, writer):
        taken.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 400 No\r\nContent-Type: text/x\r\nContent-Length: %d\r\n\r\n" % size + b"a" * size)
        writer.close()
        await writer.wait_closed()

    calls = HttpCalls(20)
    await calls.open()
    door = Door(answer)
    port = await door.open("127.0.0.1", 0)
    try:
        result = await calls.send("POST", f"http://127.0.0.1:{port}{path}", headers or {})
    except (OutcomeUnknown, ProviderUnavailable) as error:
        result = error
    await calls.close()
    await door.close()
    return result, len(taken)


async def test_an_answer_that_was_cut_decides_nothing():
    """At 1 MiB it is whole; one byte more and the outcome is unknown, whatever the status, with what was read."""
    whole, _ = await exchange(LONGEST_ANSWER)
    assert (whole.status, len(whole.body)) == (400, LONGEST_ANSWER)
    cut, _ = await exchange(LONGEST_ANSWER + 1)
    assert (type(cut), cut.code, len(cut.raw), cut.media_type) == (OutcomeUnknown, "too-long", LONGEST_ANSWER, "text/x")


@pytest.mark.parametrize("headers", [
    {"X-Key": "schlüssel"}, {"X-Key": "a\r\nX-Other: b"}, {"X-Key": "\ud800"}, {"X Key": "zq9"}, {"": "zq9"}])
async def test_what_cannot_be_a_header_is_not_sent(headers):
    """Nothing was taken, and the sentence shows nothing of the value, which may be a key."""
    refused, taken = await exchange(0, headers)
    assert (type(refused), refused.code, taken) == (ProviderUnavailable, "header", 0)
    assert next(iter(headers.values())) not in str(refused)


async def test_what_cannot_be_an_address_is_not_called():
    """Nothing was taken either."""
    refused, taken = await exchange(0, path="/\0")
    assert (type(refused), refused.code, taken) == (ProviderUnavailable, "address", 0)


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "POST"])
@pytest.mark.parametrize("kept", [False, True])
async def test_nothing_is_sent_twice(method, kept):
    """Where the other side takes a request and closes, on a new connection or a kept one, no second one follows, whatever the method."""
    taken = []

    async def lose(reader, writer):
        if kept:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        taken.append((await reader.readuntil(b"\r\n\r\n")).split(b" ")[0].decode())

    calls = HttpCalls(60)
    await calls.open()
    door = Door(lose)
    url = f"http://127.0.0.1:{await door.open('127.0.0.1', 0)}/"
    if kept:
        assert (await calls.send("GET", url, {})).body == b"ok"
    with pytest.raises(OutcomeUnknown):
        await calls.send(method, url, {})
    await calls.close()
    await door.close()
    assert taken == [method]


async def test_what_is_not_open_sends_nothing():
    """A call before `open` is certainly not taken."""
    with pytest.raises(ProviderUnavailable):
        await HttpCalls(1).send("GET", "http://127.0.0.1:9/", {})
