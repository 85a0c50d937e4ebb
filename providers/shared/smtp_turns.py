"""Whose turn it is on the connections to one mail server, when more mails are to go than there are connections.

Called by `smtp_conversation` alone. While mails wait, the one whose content goes out takes the next one's commands along in the
same write (RFC 2920 §3.1) and, once its own final dot is answered, hands the connection over to it: one write and one read a
mail instead of two. A follower's commands name it and no more: its content is sent by itself, after its own 354, so that nothing
of it can have been taken before. It follows only where the last mail on that connection was answered swiftly, and leaves for any
connection that comes free when it has waited too long all the same.
"""

import asyncio
from collections import deque

from noticesvc.provider import Rejected
from providers.shared.smtp_envelope import Envelope, commands
from providers.shared.smtp_wire import Wire

SWIFT_S = 0.25
"""Seconds from content to reply, up to which the next mail may follow on the same connection."""
PATIENCE_S = 1.0
"""Seconds after which a follower takes a free connection instead."""
_MOST_FAULTS, SHY_S = 3, 60.0
"""Followers in a row that were not answered, after which nobody follows for so many seconds: perhaps the server only says it can."""


class Mail:
    """One mail on its way: what is sent, how far it came, and who follows it on its connection."""

    __slots__ = ("body", "content", "content_sent", "envelope", "follower", "named", "sent_at", "turn")

    def __init__(self, envelope: Envelope, content: bytes, body: bytes) -> None:
        self.envelope, self.content, self.body = envelope, content, body
        self.content_sent = False
        self.named = False  # its commands are already on the connection that it is given
        self.follower: Mail | None = None
        self.sent_at = 0.0  # when its own content was sent
        self.turn: asyncio.Future[Wire | None] | None = None


class Turns:
    """So many connections, and the mails that wait for one, first come first served."""

    def __init__(self, connections: int) -> None:
        self._free = connections
        self._waiting: deque[Mail] = deque()
        self._following: dict[Mail, float] = {}  # since when, oldest first
        self._faults, self._shy_until = 0, 0.0
        self._loop = asyncio.get_running_loop()

    async def mine(self, mail: Mail) -> Wire | None:
        """Wait for a turn, which ends with `over`; the answer is a connection that carries the mail's commands, or null."""
        if self._free > 0:
            self._free -= 1
            return None
        turn: asyncio.Future[Wire | None] = self._loop.create_future()
        mail.turn = turn
        self._waiting.append(mail)
        try:
            return await turn
        except BaseException:
            if mail in self._following:
                self._fault()
            elif turn.done() and not turn.cancelled():  # it came at the very moment at which nobody waited for it any more
                wire = turn.result()
                if wire is not None:
                    wire.abort()
                self._next()
            raise

    def over(self, mail: Mail) -> None:
        """The turn has ended, unless it was handed on to a follower."""
        if mail.follower is None:
            self._next()

    def follower(self, mail: Mail, wire: Wire) -> bytes:
        """The commands of a mail that is to follow this one on its connection; nothing where none should or waits."""
        mail.sent_at = self._loop.time()
        if not wire.swift or self._shy_until > mail.sent_at or "pipelining" not in wire.extensions:
            return b""
        while self._waiting:
            one = self._waiting[0]
            if one.turn is None or one.turn.done():
                self._waiting.popleft()
                continue
            try:
                mail_command, rcpt = commands(one.envelope, one.content, wire.extensions)
            except Rejected:
                return b""  # it hears that when its own turn comes
            self._waiting.popleft()
            self._following[one] = mail.sent_at
            mail.follower, one.named = one, True
            return mail_command + rcpt + b"DATA\r\n"
        return b""

    def follow(self, mail: Mail, wire: Wire, *, usable: bool) -> None:
        """Hand connection and turn over to the follower; one that left has had its commands read for nothing."""
        one = mail.follower
        if one is None or one.turn is None:
            return
        self._following.pop(one, None)
        if not usable or wire.ended or one.turn.done():
            wire.abort()
        if one.turn.done():
            mail.follower = None  # the turn goes to whoever is next
        elif wire.ended:
            one.named = False
            self._fault()
            one.turn.set_result(None)
        else:
            self._faults = 0
            one.turn.set_result(wire)

    def answered(self, mail: Mail, wire: Wire) -> None:
        """The final dot was answered."""
        wire.swift = self._loop.time() - mail.sent_at <= SWIFT_S

    def _fault(self) -> None:
        self._faults += 1
        if self._faults >= _MOST_FAULTS:
            self._faults, self._shy_until = 0, self._loop.time() + SHY_S

    def _next(self) -> None:
        """A connection is free: for a follower that waits in vain, else for whoever came first."""
        if self._following:
            one, since = next(iter(self._following.items()))
            if self._loop.time() - since > PATIENCE_S and one.turn is not None and not one.turn.done():
                del self._following[one]
                one.named = False
                one.turn.set_result(None)
                return
        while self._waiting:
            one = self._waiting.popleft()
            if one.turn is not None and not one.turn.done():
                one.turn.set_result(None)
                return
        self._free += 1
