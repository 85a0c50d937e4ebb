r"""An IMAP mailbox as a way in: fetched by the standard library's imaplib in one thread, deleted once it is committed.

Called by `mail_intake`. One thread has the connection and hands each mail to the event loop, where it is made durable; only
then is the mail marked \\Deleted and expunged. A mail that was committed and not deleted comes again and is a duplicate.
"""

import asyncio
import contextlib
import imaplib
import ssl
import threading
from collections.abc import Awaitable, Callable
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from noticesvc.provider import SettingPath

_TIMEOUT_S = 30.0
_AT_ONCE = 50


class ImapSettings(BaseModel):
    """Which mailbox; an empty host reads none."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    host: str = ""
    port: int = Field(993, ge=1, le=65535)
    tls: Literal["none", "starttls", "implicit"] = "implicit"
    tls_ca_file: SettingPath = ""
    username: str = Field("", repr=False)
    password: str = Field("", repr=False)
    folder: str = "INBOX"
    poll_s: float = Field(30.0, gt=0, le=3600)


class ImapFault(OSError):
    """The mailbox cannot be read now; the text names the setting to look at, and repeats nothing that the server said."""


class _NotStored(Exception):
    """The mail could not be made durable; it stays where it is."""

    def __init__(self, cause: Exception) -> None:
        super().__init__()
        self.cause = cause


class ImapIntake:
    """One mailbox, polled in a thread of its own. `works` is called in the loop once it is open."""

    def __init__(self, settings: ImapSettings, take_in: Callable[[bytes], Awaitable[None]], works: Callable[[], object]) -> None:
        self._settings, self._take_in, self._works = settings, take_in, works
        self._stop = threading.Event()

    async def run(self) -> None:
        """Take in what comes, until cancelled. Raises ImapFault, and whatever `take_in` raises."""
        loop = asyncio.get_running_loop()
        self._stop.clear()
        ended: asyncio.Future[None] = loop.create_future()
        thread = threading.Thread(target=self._thread, args=(loop, ended), name="imap", daemon=True)
        thread.start()
        try:
            await ended
        finally:
            self._stop.set()

    def _thread(self, loop: asyncio.AbstractEventLoop, ended: asyncio.Future[None]) -> None:
        error: BaseException | None = None
        try:
            self._converse(loop)
        except _NotStored as failure:
            error = failure.cause
        except (imaplib.IMAP4.error, OSError, EOFError) as failure:
            error = failure if isinstance(failure, ImapFault) else ImapFault("The connection broke off; it is made again.")
        except BaseException as failure:  # also the end of the loop
            error = failure
        if not loop.is_closed():
            loop.call_soon_threadsafe(_settle, ended, error)

    def _converse(self, loop: asyncio.AbstractEventLoop) -> None:
        client = self._connect()
        try:
            kind, _ = client.select(self._settings.folder)
            if kind != "OK":
                raise ImapFault("There is no such folder; correct dsn_imap.folder.")
            loop.call_soon_threadsafe(self._works)
            while not self._stop.is_set():
                if not self._fetch(client, loop):
                    self._stop.wait(self._settings.poll_s)
                    client.noop()
        finally:
            try:
                client.logout()
            except (imaplib.IMAP4.error, OSError):
                pass  # it is gone already

    def _connect(self) -> imaplib.IMAP4:
        settings = self._settings
        context = ssl.create_default_context(cafile=settings.tls_ca_file or None) if settings.tls != "none" else None
        try:
            client: imaplib.IMAP4 = (
                imaplib.IMAP4_SSL(settings.host, settings.port, ssl_context=context, timeout=_TIMEOUT_S) if settings.tls == "implicit"
                else imaplib.IMAP4(settings.host, settings.port, timeout=_TIMEOUT_S))
        except ssl.SSLError:
            raise ImapFault("No trusted TLS connection; check dsn_imap.tls and tls_ca_file.") from None
        except (imaplib.IMAP4.error, OSError):
            raise ImapFault("The mailbox cannot be reached; check dsn_imap.host, port and tls.") from None
        sentence = "No trusted TLS connection; check dsn_imap.tls and tls_ca_file."
        try:
            if settings.tls == "starttls":
                client.starttls(context)
            sentence = "The log-in was refused; check dsn_imap.username and password."
            client.login(settings.username, settings.password)
        except (imaplib.IMAP4.error, OSError):
            with contextlib.suppress(OSError):  # a refused certificate took the socket away
                client.shutdown()
            raise ImapFault(sentence) from None
        return client

    def _fetch(self, client: imaplib.IMAP4, loop: asyncio.AbstractEventLoop) -> bool:
        """Take in some mails; whether there were any."""
        _, found = client.uid("SEARCH", "UNDELETED")
        uids = (found[0] or b"").split()[:_AT_ONCE] if found else []
        for uid in uids:
            if self._stop.is_set():
                return False
            _, parts = client.uid("FETCH", uid.decode(), "(BODY.PEEK[])")
            raw = next((part[1] for part in parts if isinstance(part, tuple)), None)
            if not isinstance(raw, bytes):
                continue  # gone in between
            try:
                asyncio.run_coroutine_threadsafe(_awaited(self._take_in(raw)), loop).result()
            except Exception as failure:
                raise _NotStored(failure) from failure
            client.uid("STORE", uid.decode(), "+FLAGS.SILENT", r"(\Deleted)")
        if uids:
            client.expunge()
        return bool(uids)


async def _awaited(taking_in: Awaitable[None]) -> None:
    await taking_in


def _settle(ended: asyncio.Future[None], error: BaseException | None) -> None:
    if ended.done():
        return
    if error is None:
        ended.set_result(None)
    else:
        ended.set_exception(error)
