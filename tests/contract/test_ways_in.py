"""The ways in for mail that comes back: nothing is deleted or answered before it is committed, and whatever fails is tried again."""

import asyncio
import os
import smtplib
import time
from contextlib import asynccontextmanager

import pytest

from providers.shared import maildir
from providers.shared.imap_intake import ImapFault, ImapIntake, ImapSettings
from providers.shared.mail_intake import IntakeSettings, MailIntake
from providers.shared.mail_listener import Listener, ListenerSettings
from providers.shared.maildir import CLAIMED, Maildir
from tests.fakes.provider_peers import Context
from tests.support.dovecot import PASSWORD, USER, running_dovecot
from tests.support.ports import free_port
from tests.support.waiting import until

MAILS = [b"Subject: %d\r\n\r\nbody\r\n" % n for n in range(5)]


class Store:
    """Where mail is made durable, or is not: `down` refuses, `gate` holds."""

    def __init__(self):
        self.kept, self.down, self.gate = [], False, None
        self.begun = asyncio.Event()

    async def take_in(self, raw):
        self.begun.set()
        if self.gate is not None:
            await self.gate.wait()
        if self.down:
            raise ConnectionError
        self.kept.append(raw)


@pytest.fixture
def store():
    return Store()


@pytest.fixture
def box(tmp_path):
    for name in ("new", "cur", "tmp"):
        (tmp_path / name).mkdir()
    return tmp_path


def names(box):
    return {folder: sorted(path.name for path in (box / folder).glob("*") if path.name != ".hidden") for folder in ("new", CLAIMED)}


def put(box, *mails):
    for number, raw in enumerate(mails):
        (box / "new" / f"{number}.here").write_bytes(raw)


# --- Maildir ----------------------------------------------------------------------------------------------------------


async def test_mails_of_a_maildir_are_taken_in_and_deleted(box, store):
    """Every mail once, as its bytes stand; hidden files and folders are none."""
    put(box, *MAILS)
    (box / "new" / ".hidden").write_bytes(b"x")
    (box / "new" / "folder").mkdir()
    assert await Maildir(box, store.take_in).once()
    assert sorted(store.kept) == MAILS
    assert names(box) == {"new": ["folder"], CLAIMED: []}


async def test_a_mail_is_kept_until_it_is_committed(box, store):
    """While it is being stored the file is claimed and there; only afterwards is it gone."""
    put(box, MAILS[0])
    store.gate = asyncio.Event()
    working = asyncio.create_task(Maildir(box, store.take_in).once())
    await store.begun.wait()
    assert names(box) == {"new": [], CLAIMED: ["0.here"]}
    assert (box / CLAIMED / "0.here").read_bytes() == MAILS[0]
    store.gate.set()
    await working
    assert names(box) == {"new": [], CLAIMED: []}


async def test_what_cannot_be_stored_stays_in_the_maildir(box, store):
    """A database that is away loses nothing."""
    put(box, *MAILS)
    store.down = True
    with pytest.raises(ConnectionError):
        await Maildir(box, store.take_in).once()
    assert names(box) == {"new": [f"{n}.here" for n in range(5)], CLAIMED: []}
    store.down = False
    await Maildir(box, store.take_in).once()
    assert sorted(store.kept) == MAILS


async def test_of_two_readers_one_takes_each_mail(box, store):
    """Claiming is a rename, which succeeds once."""
    put(box, *MAILS)
    await asyncio.gather(*(Maildir(box, store.take_in).once() for _ in range(4)))
    assert sorted(store.kept) == MAILS


async def test_what_a_dead_process_had_claimed_is_taken_up_later(box, store, monkeypatch):
    """A claim lapses after a minute; a fresh one belongs to somebody who may live."""
    put(box, MAILS[0])
    (box / CLAIMED).mkdir()
    (box / "new" / "0.here").rename(box / CLAIMED / "0.here")
    assert not await Maildir(box, store.take_in).once()
    now = time.time()
    monkeypatch.setattr(maildir.time, "time", lambda: now + 61)
    assert await Maildir(box, store.take_in).once()
    assert store.kept == [MAILS[0]]


async def test_a_maildir_that_is_not_there_yet_is_empty(tmp_path, store):
    """A mail system makes it with the first mail."""
    assert not await Maildir(tmp_path / "later", store.take_in).once()


# --- listener ---------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def listening(store, **settings):
    listener = Listener(ListenerSettings(host="127.0.0.1", port=0, **settings), store.take_in)
    running = asyncio.create_task(listener.run())
    await until(lambda: asyncio.sleep(0, listener.port), lambda port: port != 0)
    try:
        yield listener.port
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def client(protocol, port):
    return smtplib.LMTP("127.0.0.1", port) if protocol == "lmtp" else smtplib.SMTP("127.0.0.1", port, local_hostname="relay.example")


@pytest.mark.parametrize("protocol", ["lmtp", "smtp"])
async def test_250_is_said_only_after_the_commit(store, protocol):
    """The relay hears nothing while the mail is being stored, then 250; the envelope stands above the mail."""
    store.gate = asyncio.Event()

    def send(port):
        with client(protocol, port) as relay:
            return relay.sendmail("", ["bounces+x@example.com"], MAILS[0])

    async with listening(store, protocol=protocol) as port:
        sending = asyncio.create_task(asyncio.to_thread(send, port))
        await store.begun.wait()
        assert not sending.done()
        store.gate.set()
        assert await sending == {}
    assert store.kept == [b"Return-Path: <>\r\nDelivered-To: bounces+x@example.com\r\n" + MAILS[0]]


async def test_what_cannot_be_stored_is_refused_for_now(store):
    """The relay keeps the mail and tries again."""
    store.down = True

    def send(port):
        with client("lmtp", port) as relay:
            relay.sendmail("", ["bounces@example.com"], MAILS[0])

    async with listening(store) as port:
        with pytest.raises(smtplib.SMTPDataError) as caught:
            await asyncio.to_thread(send, port)
    assert caught.value.smtp_code == 451
    assert store.kept == []


async def test_strangers_and_second_recipients_are_refused(store):
    """Whoever is no relay of ours could write its own trace; one answer cannot speak for two recipients."""
    def refused(port, *recipients):
        with client("lmtp", port) as relay:
            relay.ehlo()
            return relay.mail("")[0], [relay.rcpt(to)[0] for to in recipients]

    async with listening(store, peers=["192.0.2.1"]) as port:
        assert (await asyncio.to_thread(refused, port))[0] == 554
    async with listening(store) as port:
        assert await asyncio.to_thread(refused, port, "a@example.com", "b@example.com") == (250, [250, 452])


# --- IMAP -------------------------------------------------------------------------------------------------------------


@pytest.fixture
async def dovecot(needs):
    """A private Dovecot."""
    async with running_dovecot(needs("dovecot")) as running:
        yield running


def imap(dovecot, store, **settings):
    chosen = dict(host="127.0.0.1", port=dovecot.port, tls="none", username=USER, password=PASSWORD, poll_s=0.1) | settings
    return ImapIntake(ImapSettings(**chosen), store.take_in, lambda: None)


@pytest.mark.real_peer
async def test_mails_of_an_imap_mailbox_are_taken_in_and_deleted(dovecot, store):
    """What is there and what comes later, each once, as its bytes stand; deleted only when committed."""
    dovecot.put("1.a", MAILS[1])
    store.gate = asyncio.Event()
    running = asyncio.create_task(imap(dovecot, store).run())
    await store.begun.wait()
    assert len(dovecot.left()) == 1
    store.gate.set()
    dovecot.put("2.a", MAILS[2])
    await until(lambda: asyncio.sleep(0, (len(dovecot.left()), len(store.kept))), lambda seen: seen == (0, 2))
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert store.kept == [MAILS[1], MAILS[2]]


@pytest.mark.real_peer
async def test_an_imap_mail_that_cannot_be_stored_stays(dovecot, store):
    """The failure ends the turn, the mail is there for the next one."""
    dovecot.put("1.a", MAILS[1])
    store.down = True
    with pytest.raises(ConnectionError):
        await imap(dovecot, store).run()
    assert len(dovecot.left()) == 1


@pytest.mark.real_peer
@pytest.mark.parametrize(("settings", "named"), [({"password": "wrong"}, "password"), ({"folder": "None"}, "folder"),
                                                 ({"port": 1}, "port"), ({"tls": "starttls"}, "tls")], ids=str)
async def test_an_imap_setting_that_cannot_be_used_is_named(dovecot, store, settings, named):
    """The sentence names the setting and repeats neither password nor what the server said."""
    with pytest.raises((ImapFault, OSError)) as caught:
        await imap(dovecot, store, **settings).run()
    assert named in str(caught.value)
    assert PASSWORD not in str(caught.value)


# --- kept going -------------------------------------------------------------------------------------------------------


async def test_a_way_in_that_fails_is_named_and_tried_again(box):
    """A mailbox that cannot be read is a fault by its setting, while the others go on; `close` ends all and may be called twice."""
    context = Context()
    intake = MailIntake(IntakeSettings(dsn_maildir=os.fspath(box), dsn_imap=ImapSettings(host="127.0.0.1", port=1, tls="none")))
    put(box, *MAILS)
    intake.open("mail", context)
    await until(lambda: asyncio.sleep(0, dict(intake.faults())), lambda found: list(found) == ["providers.mail.dsn_imap"])
    await until(lambda: asyncio.sleep(0, names(box)), lambda found: found == {"new": [], CLAIMED: []})
    await intake.close()
    await intake.close()
    assert sorted(context.received) == [(raw, "message/rfc822") for raw in MAILS]


async def test_a_mailbox_that_fails_stays_named_until_it_is_open():
    """While the next try waits for a server that says nothing, the fault stands: connecting may take half a minute."""
    port, silent, held = free_port(), [], asyncio.Event()

    def says_nothing(_reader, writer):
        silent.append(writer)
        held.set()
    intake = MailIntake(IntakeSettings(dsn_imap=ImapSettings(host="127.0.0.1", port=port, tls="none")))
    intake.open("mail", Context())
    await until(lambda: asyncio.sleep(0, dict(intake.faults())), lambda found: list(found) == ["providers.mail.dsn_imap"])
    server = await asyncio.start_server(says_nothing, "127.0.0.1", port)
    await held.wait()
    assert list(intake.faults()) == ["providers.mail.dsn_imap"]
    await intake.close()
    server.close()
    for writer in silent:
        writer.close()
        await writer.wait_closed()
    await server.wait_closed()


@pytest.mark.real_peer
async def test_a_mailbox_that_opens_is_no_fault_any_more(dovecot):
    """What was wrong is forgotten as soon as the folder is open."""
    intake = MailIntake(IntakeSettings(dsn_imap=ImapSettings(
        host="127.0.0.1", port=dovecot.port, tls="none", username=USER, password=PASSWORD, poll_s=0.1)))
    intake._faults["providers.mail.dsn_imap"] = "The connection broke off; it is made again."
    intake.open("mail", Context())
    await until(lambda: asyncio.sleep(0, dict(intake.faults())), lambda found: found == {})
    await intake.close()
