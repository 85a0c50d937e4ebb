"""Mails that follow each other on one connection: the next one's commands go with the content before it, and nothing goes twice."""

import asyncio

import pytest

from noticesvc.provider import OutcomeUnknown, PermanentFailure, TemporaryFailure
from providers.shared import smtp_turns
from providers.shared.smtp_conversation import Conversation, Envelope, Route
from tests.fakes.smtp_server import CLOSE, EXTENSIONS, HANG, SmtpServer

OFFERS = (*EXTENSIONS, "PIPELINING")
CONTENT = b"Subject: Notice\r\n\r\nbody\r\n"
GOOD = b"250 2.0.0 Ok\r\n"


def envelope(number):
    return Envelope("notices@example.com", f"r{number}@example.cn", f"d.{number}")


def taken(server):
    return sorted(one.rcpt.partition("<")[2].partition("@")[0] for one in server.contents)


@pytest.fixture(autouse=True)
def _slow_is_swift(monkeypatch):
    monkeypatch.setattr(smtp_turns, "SWIFT_S", 60.0)  # these servers answer at once, and this machine may not


@pytest.fixture
def writes(monkeypatch):
    """What was written on connections, write by write."""
    found = []
    real = smtp_turns.Wire.write

    def write(wire, data):
        found.append(data)
        real(wire, data)

    monkeypatch.setattr(smtp_turns.Wire, "write", write)
    return found


@pytest.fixture
async def one(request):
    """A conversation of one connection with a server that follows a script; its first mail is through, so that others may follow."""
    script, timeout_s = {stage: [_first(stage), *moves] for stage, moves in request.param.items()}, 60
    async with SmtpServer(script, extensions=OFFERS) as server:
        conversation = Conversation(Route("127.0.0.1", server.port, connections=1))
        await conversation.deliver(envelope(0), CONTENT, timeout_s)
        yield server, conversation
        await conversation.close()


def _first(stage):
    return b"354 Go\r\n" if stage == "DATA" else GOOD


async def together(conversation, count, timeout_s=60.0):
    """Deliver mails 1, 2 … at once, each waiting for the one before; what became of each."""
    calls = [asyncio.create_task(conversation.deliver(envelope(n), CONTENT, timeout_s)) for n in range(1, count + 1)]
    return await asyncio.gather(*calls, return_exceptions=True)


@pytest.mark.parametrize("one", [{}], indirect=True)
async def test_content_and_the_next_commands_go_in_one_write(one, writes):
    """RFC 2920 §3.1: a group may begin with a content, and one connection serves them all."""
    server, conversation = one
    assert [reply.code for reply in await together(conversation, 5)] == [250] * 5
    assert taken(server) == ["r0", "r1", "r2", "r3", "r4", "r5"]
    assert len(writes) == 6  # the first one's commands, then five contents, four of them with the commands of the next
    assert all(b"\r\n.\r\nMAIL FROM:" in data for data in writes[1:5])
    assert server.connections == 1


async def test_nobody_follows_where_pipelining_is_not_offered(writes):
    """Each command waits for its answer there."""
    async with SmtpServer(extensions=EXTENSIONS) as server:
        conversation = Conversation(Route("127.0.0.1", server.port, connections=1))
        await together(conversation, 3)
        await conversation.close()
    assert taken(server) == ["r1", "r2", "r3"]
    assert not any(b".\r\nMAIL" in data for data in writes)


@pytest.mark.parametrize("one", [{"CONTENT": [b"554 5.7.1 No\r\n", GOOD]}], indirect=True)
async def test_who_follows_a_refused_content_is_sent(one):
    """The final dot ends the transaction before, however it was answered."""
    server, conversation = one
    first, second = await together(conversation, 2)
    assert type(first).__name__ == "Rejected"
    assert second.code == 250
    assert taken(server) == ["r0", "r2"]
    assert server.connections == 1


@pytest.mark.parametrize("one", [{"RCPT": [GOOD, b"550 5.1.1 No\r\n", GOOD], "DATA": [b"354 Go\r\n", b"503 5.5.1 No\r\n", b"354 Go\r\n"]}],
                         indirect=True)
async def test_a_follower_that_is_refused_gets_no_content(one):
    """And the one after it begins anew on the same connection."""
    server, conversation = one
    first, second, third = await together(conversation, 3)
    assert (first.code, third.code) == (250, 250)
    assert isinstance(second, PermanentFailure)
    assert taken(server) == ["r0", "r1", "r3"]
    assert server.connections == 1


@pytest.mark.parametrize("one", [{"RCPT": [GOOD, b"550 5.1.1 No\r\n", GOOD]}], indirect=True)
async def test_a_follower_that_is_refused_and_told_to_go_ahead_gets_no_content(one):
    """The server waits for a content that must not come, so that connection is left."""
    server, conversation = one
    first, second, third = await together(conversation, 3)
    assert (first.code, third.code) == (250, 250)
    assert isinstance(second, PermanentFailure)
    assert taken(server) == ["r0", "r1", "r3"]


@pytest.mark.parametrize("one", [{"MAIL": [GOOD, CLOSE, GOOD]}, {"MAIL": [GOOD, b"421 4.4.2 Enough\r\n", GOOD]}], indirect=True)
async def test_a_follower_whose_connection_ends_goes_over_a_fresh_one(one):
    """No server has acted on its commands, and it is sent once."""
    server, conversation = one
    assert [reply.code for reply in await together(conversation, 2)] == [250, 250]
    assert taken(server) == ["r0", "r1", "r2"]
    assert server.connections == 2


@pytest.mark.parametrize("one", [{"CONTENT": [CLOSE, GOOD]}], indirect=True)
async def test_a_break_after_the_content_is_unknown_for_that_mail_alone(one):
    """The final dot of the first may have counted; the follower's content was never sent, and is sent once."""
    server, conversation = one
    first, second = await together(conversation, 2)
    assert isinstance(first, OutcomeUnknown)
    assert second.code == 250
    assert [name for name in taken(server) if name == "r2"] == ["r2"]
    assert server.connections == 2


@pytest.mark.parametrize("one", [{"CONTENT": [HANG]}], indirect=True)
async def test_a_follower_behind_a_silent_server_was_not_sent(one):
    """Its time ends while its commands are on the connection: that is no reason to call its outcome unknown."""
    server, conversation = one
    first = asyncio.create_task(conversation.deliver(envelope(1), CONTENT, 60))
    second = asyncio.create_task(conversation.deliver(envelope(2), CONTENT, 3))
    with pytest.raises(TemporaryFailure):
        await second
    assert not first.done()
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    assert "r2" not in taken(server)


async def test_a_follower_leaves_for_a_connection_that_comes_free(monkeypatch):
    """It does not wait behind a mail that is not answered while others go out."""
    monkeypatch.setattr(smtp_turns, "PATIENCE_S", 0.0)
    # Two connections, kept by two mails; then one of the next two hangs, and has a follower when the other connection comes free.
    async with SmtpServer({"CONTENT": [GOOD, GOOD, HANG, GOOD]}, extensions=OFFERS) as server:
        conversation = Conversation(Route("127.0.0.1", server.port, connections=2))
        await asyncio.gather(*(conversation.deliver(envelope(n), CONTENT, 60) for n in (8, 9)))
        calls = [asyncio.create_task(conversation.deliver(envelope(n), CONTENT, 60)) for n in range(1, 5)]
        done, left = set(), set(calls)
        while len(done) < 3:
            ended, left = await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED, timeout=30)
            assert ended
            done |= ended
        assert all(call.result().code == 250 for call in done)
        for call in left:
            call.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await conversation.close()
    assert len(taken(server)) == len(set(taken(server)))


@pytest.mark.parametrize("one", [{}], indirect=True)
async def test_calls_that_are_given_up_leave_the_connection_to_others(one):
    """Cancelled while waiting, or with their commands already on the connection: nothing hangs, and nothing of them is sent after."""
    server, conversation = one
    for _ in range(5):
        calls = [asyncio.create_task(conversation.deliver(envelope(n), CONTENT, 60)) for n in range(1, 7)]
        await server.reached("CONTENT")
        for call in calls[1::2]:
            call.cancel()
        replies = await asyncio.gather(*calls, return_exceptions=True)
        assert [reply.code for reply in replies[::2]] == [250] * 3
    assert (await conversation.deliver(envelope(7), CONTENT, 60)).code == 250
