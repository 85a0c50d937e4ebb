"""Outgoing events over every database: written with what they tell, signed, repeated until taken, kept out of private networks."""

import hmac
import json
import os
import socket
from base64 import b64decode, b64encode
from dataclasses import replace
from itertools import pairwise

import pytest
from aiohttp.abc import AbstractResolver
from sqlalchemy import update

from noticesvc.dispatch import outside
from noticesvc.dispatch.events import Events
from noticesvc.errors import ConfigurationError
from noticesvc.operations import events
from noticesvc.operations.unit import Unit
from noticesvc.storage import tables as t
from noticesvc.storage.database import Database
from tests.fakes.receiver import Receiver
from tests.support import proofs
from tests.support.ledger import SOURCES
from tests.support.ports import free_port
from tests.support.waiting import PATIENCE_S

SECRET = "whsec_" + b64encode(os.urandom(24)).decode()
DAY = 86_400


@pytest.fixture
async def desk(database_url):
    """A desk on each database in turn, with events."""
    async with proofs.desk(database_url) as made:
        made.house.world = replace(made.house.world, events_enabled=True)
        yield made


@pytest.fixture
async def receiver():
    """A receiver that takes everything until it is told otherwise."""
    async with Receiver() as made:
        yield made


class Turns:
    """The sender, one turn at a time."""

    def __init__(self, desk, url, **more):
        self.sender = Events(desk.house.database, desk.house.world, url, SECRET, **more)
        self.sender._open()

    async def __call__(self):
        await self.sender._once()

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        await self.sender.stop(1)


async def served(desk, **more):
    """A notice that the mail server took for the recipient; its id. One event."""
    await desk.recipient()
    notice_id = await desk.notice(channels=("email",), **more)
    await desk.dispatch({"email"})
    await desk.answer(notice_id, "email", "arrived")
    return notice_id


async def waiting(desk):
    return sorted(await desk.house.rows(t.outgoing_event), key=lambda row: row.id)


async def test_an_event_says_what_happened_and_is_signed(desk, receiver):
    """Its signature verifies with the public library, its members name the notice by our and the caller's ids, and it is sent once."""
    notice_id = await served(desk, reference="R-7")
    async with Turns(desk, receiver.url) as turn:
        await turn()
        await turn()
    (headers, body), = receiver.seen
    assert int(headers["webhook-timestamp"]) == desk.house.clock.micros // 1_000_000
    # The scheme of Standard Webhooks, spelled out.
    content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = b64encode(hmac.digest(b64decode(SECRET.removeprefix("whsec_")), content, "sha256")).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    told = json.loads(body)
    assert (told["type"], told["data"]["notice_id"], told["data"]["recipient_id"], told["data"]["reference"]) == (
        "notice.served", notice_id, "u-1001", "R-7")
    assert (told["data"]["state"], told["data"]["service"]["channel"]) == ("served", "email")
    assert await waiting(desk) == []


async def test_every_change_of_service_is_told(desk, receiver):
    """Served, revised by a bounce, unserved, the contact invalid; served again by a reply: each once."""
    notice_id = await served(desk)
    desk.house.clock.move(1)
    await desk.receipt(notice_id, "email", "failed_permanent", raw=b"DSN", source="dsn")
    desk.house.clock.move(1)
    await desk.receipt(notice_id, "email", "acknowledged", raw=b"reply", source="reply")
    async with Turns(desk, receiver.url) as turn:
        await turn()
    told = [(one["type"], one["data"].get("revision")) for one in sorted(receiver.events(), key=lambda one: one["timestamp"])]
    assert told[0] == ("notice.served", 1)
    assert sorted(told[1:4], key=str) == [("contact.invalid", None), ("notice.unserved", 2), ("service.revised", 2)]
    assert sorted(told[4:]) == [("notice.served", 3), ("service.revised", 3)]


async def test_what_is_undone_is_not_told(desk):
    """An event belongs to the transaction of what it tells: where that fails there is none."""
    await desk.recipient()

    def broken(tx, world):
        unit = Unit(tx, world, ())
        row = tx.rows(t.recipient, "subject_id", [one.subject_id for one in tx.execute(t.recipient.select())])[0]
        unit.load_recipients({row.subject_id})
        events.queue(unit, "contact.invalid", {"contact_id": "x"}, row.subject_id)
        raise ValueError("after the event was queued")
    with pytest.raises(ValueError, match="after the event"):
        await desk.write(broken)
    assert await waiting(desk) == []


@pytest.mark.parametrize("step", [500, 404, 302, 199, "reset", "hang", "http://127.0.0.1:9/elsewhere"])
async def test_what_is_not_taken_is_repeated(desk, receiver, step):
    """The same bytes under the same id, later and later; a redirect is not followed, and a receiver that hangs is not waited for."""
    await served(desk)
    receiver.script = [step, step, 204] if step != 199 else [304, 304, 204]
    async with Turns(desk, receiver.url, timeout_s=2.0 if step == "hang" else PATIENCE_S) as turn:
        await turn()
        row, = await waiting(desk)
        first = row.due_at - desk.house.clock.micros
        assert (row.tries, 2_500_000 <= first <= 5_000_000) == (1, True)
        await turn()
        assert len(receiver.seen) == 1, "not before its time"
        desk.house.clock.micros = row.due_at
        await turn()
        row, = await waiting(desk)
        assert (row.tries, 5_000_000 <= row.due_at - desk.house.clock.micros <= 10_000_000) == (2, True)
        desk.house.clock.micros = row.due_at
    async with Turns(desk, receiver.url, timeout_s=PATIENCE_S) as turn:
        await turn()
    assert await waiting(desk) == []
    assert len({headers["webhook-id"] for headers, _ in receiver.seen}) == 1
    assert len({body for _, body in receiver.seen}) == 1
    assert len(receiver.seen) == 3
    assert len(receiver.taken) == 1


async def test_a_receiver_that_is_down_gets_everything_when_it_is_back(desk, receiver):
    """Nothing is lost while nobody listens; what comes meanwhile waits too."""
    port, first = free_port(), await served(desk)
    async with Turns(desk, f"http://127.0.0.1:{port}/") as turn:
        for _ in range(12):
            await turn()
            desk.house.clock.move(3600)
        second = await served(desk)
        async with Receiver(port=port) as back:
            desk.house.clock.move(3600)
            await turn()
    assert sorted(one["data"]["notice_id"] for one in back.events()) == sorted([first, second])
    assert await waiting(desk) == []


async def test_after_three_days_an_event_is_given_up(desk, receiver):
    """It is repeated at least once an hour until then, and no longer."""
    await served(desk)
    receiver.script = [500] * 1000
    async with Turns(desk, receiver.url) as turn:
        while await waiting(desk):
            await turn()
            desk.house.clock.move(1800)
    days = (desk.house.clock.micros / 1_000_000 - int(receiver.seen[0][0]["webhook-timestamp"])) / DAY
    assert 3 <= days < 3.1
    stamps = [int(headers["webhook-timestamp"]) for headers, _ in receiver.seen]
    assert max(b - a for a, b in pairwise(stamps)) <= 5400
    assert stamps[-1] - stamps[0] > 2.9 * DAY


async def test_a_sender_that_dies_before_it_can_say_so_repeats(desk, receiver):
    """The answer was 200, but nobody recorded it: the event comes again with the same id, which is what receivers go by."""
    await served(desk)
    found, _ = await desk.write(events.due, 50)
    async with Turns(desk, receiver.url) as turn:
        assert await turn.sender._post(found[0]) is True  # and here it dies
        await turn()
        assert len(receiver.seen) == 1, "another sender does not meet it"
        desk.house.clock.micros += events.IN_HAND
        await turn()
    assert [headers["webhook-id"] for headers, _ in receiver.seen] == [found[0].id] * 2


async def test_of_an_erased_recipient_nothing_is_told(desk, receiver):
    """Without the key there is nothing to say; the event goes."""
    await served(desk)
    await desk.house.database.write(lambda tx: tx.execute(update(t.recipient).values(wrapped_key=None)))
    async with Turns(desk, receiver.url) as turn:
        await turn()
    assert (receiver.seen, await waiting(desk)) == ([], [])


class Names(AbstractResolver):
    """Answers each question with the next list of addresses."""

    def __init__(self, *answers):
        self.answers = list(answers)

    async def resolve(self, host, port=0, family=socket.AF_INET):
        found = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return [{"hostname": host, "host": one, "port": port, "family": socket.AF_INET6 if ":" in one else socket.AF_INET, "proto": 0,
                 "flags": socket.AI_NUMERICHOST} for one in found]

    async def close(self):
        pass


async def test_a_name_does_not_lead_into_a_private_network(desk, receiver):
    """Nothing is connected to, whatever the name resolves to and whenever it changes its mind; a setting allows it."""
    await served(desk)
    url = f"http://receiver.example:{receiver.port}/"
    names = Names(["127.0.0.1"], ["::1", "127.0.0.1"], ["::ffff:127.0.0.1"], ["10.1.2.3"], ["127.0.0.1"])
    async with Turns(desk, url, resolver=names) as turn:
        for _ in range(6):
            await turn()
            desk.house.clock.move(3600)
    assert receiver.seen == []
    assert len(await waiting(desk)) == 1
    async with Turns(desk, url, resolver=Names(["127.0.0.1"]), allow_private=True) as turn:
        await turn()
    assert len(receiver.taken) == 1


@pytest.mark.parametrize(("address", "public"), [
    ("8.8.8.8", True), ("2606:4700:4700::1111", True), ("127.0.0.1", False), ("10.0.0.1", False), ("172.31.255.255", False),
    ("192.168.1.1", False), ("169.254.169.254", False), ("100.64.0.1", False), ("0.0.0.0", False), ("224.0.0.1", False), ("::1", False),
    ("fe80::1%eth0", False), ("fd00::1", False), ("::ffff:10.0.0.1", False), ("::ffff:8.8.8.8", True), ("64:ff9b::a00:1", False),
    ("2002:a00:1::", False), ("255.255.255.255", False), ("198.18.0.1", False)])
def test_which_addresses_are_public(address, public):
    """Private, loopback, link-local, shared, multicast and reserved ranges are not, nor IPv6 that carries such an IPv4 address."""
    assert outside.is_public(address) is public


@pytest.mark.parametrize(("url", "named"), [
    ("http://127.0.0.1:8000/x", True), ("http://[::1]/x", True), ("https://10.0.0.9/", True), ("http://localhost:1/", True),
    ("https://hooks.example.com/", False), ("https://127.0.0.1.example.com/", False), ("https://0x7f.1/", False)])
def test_an_address_in_the_configuration_speaks_for_itself(url, named):
    """Whoever writes the address has allowed it; a name is judged by where it leads."""
    assert outside.names_itself(url) is named


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_!!!"])
def test_a_secret_that_cannot_sign_is_refused_at_the_start(desk_database, secret):
    """With the setting's name and the remedy."""
    with pytest.raises(ConfigurationError, match=r"events\.secret"):
        Events(desk_database, None, "https://hooks.example.com/", secret)


@pytest.fixture
def desk_database(sqlite_url):
    """A database that nobody opens."""
    return Database(sqlite_url, SOURCES)
