"""The ways in of a provider's return path (Maildir, listener, IMAP), kept going, and the proof of who wrote what came.

Called by the providers that send mail: `open` begins, `close` ends. Whatever comes is made durable through the provider's
context before it is deleted or answered; reading it is the service's next step. A way in that fails is tried again, and says so.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence

from pydantic import BaseModel, ConfigDict, Field, field_validator

from noticesvc.provider import ProviderContext, Receipt, SettingPath
from providers.shared.dns_lookup import Lookup, split_server
from providers.shared.imap_intake import ImapFault, ImapIntake, ImapSettings
from providers.shared.mail_listener import Listener, ListenerSettings
from providers.shared.mail_trust import Trust, vouched
from providers.shared.maildir import Maildir

MEDIA_TYPE = "message/rfc822"
_AGAIN_S = (0.2, 10.0)


class IntakeSettings(BaseModel):
    """Settings of the return path, shared by the providers that send mail."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    return_path: str = ""
    dsn_maildir: SettingPath = ""
    dsn_listener: ListenerSettings = ListenerSettings()
    dsn_imap: ImapSettings = ImapSettings()
    relay_names: list[str] = []
    relay_hops: int = Field(0, ge=0, le=10)
    authserv_ids: list[str] = []
    dns_servers: list[str] = []

    @field_validator("dns_servers")
    @classmethod
    def _servers(cls, value: list[str]) -> list[str]:
        try:
            for one in value:
                split_server(one)
        except ValueError:
            raise ValueError("must be addresses of DNS servers, such as 192.0.2.53 or 127.0.0.1:5353") from None
        return value


class MailIntake:
    """What comes back to one provider."""

    def __init__(self, settings: IntakeSettings) -> None:
        self._settings = settings
        self._trust = Trust(tuple(settings.relay_names), settings.relay_hops, tuple(settings.authserv_ids))
        self._tasks: list[asyncio.Task[None]] = []
        self._faults: dict[str, str] = {}
        self._lookup: Lookup | None = None
        self.listener: Listener | None = None

    @property
    def lookup(self) -> Lookup:
        """The resolver, made when it is first needed."""
        if self._lookup is None:
            self._lookup = Lookup(self._settings.dns_servers)
        return self._lookup

    def open(self, name: str, context: ProviderContext) -> None:
        """Begin to take in mail in the running loop."""
        settings = self._settings

        async def take_in(raw: bytes) -> None:
            await context.receive(raw, MEDIA_TYPE)

        ways: list[tuple[str, Callable[[], Awaitable[None]], bool]] = []  # the last: whether it says itself when it works
        if settings.dsn_maildir:
            ways.append((f"providers.{name}.dsn_maildir", Maildir(settings.dsn_maildir, take_in).run, False))
        if settings.dsn_listener.host:
            self.listener = Listener(settings.dsn_listener, take_in)
            ways.append((f"providers.{name}.dsn_listener", self.listener.run, False))
        if settings.dsn_imap.host:
            setting = f"providers.{name}.dsn_imap"  # a fault stands until the mailbox is open: connecting may take long
            ways.append((setting, ImapIntake(settings.dsn_imap, take_in, lambda: self._faults.pop(setting, None)).run, True))
        self._tasks = [asyncio.create_task(self._keep(setting, run, tells=tells), name=setting) for setting, run, tells in ways]

    async def close(self) -> None:
        """End; what is in hand is left for the next one. Safe to call twice."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def faults(self) -> Mapping[str, str]:
        """Ways in that do not work now, by setting."""
        return dict(self._faults)

    async def authenticate(self, raw: bytes, receipts: Sequence[Receipt]) -> Sequence[Receipt]:
        """Return the receipts with who vouches for them; see `mail_trust`."""
        return await vouched(raw, receipts, self._trust, self.lookup)

    async def _keep(self, setting: str, run: Callable[[], Awaitable[None]], *, tells: bool) -> None:
        wait_s, longest_s = _AGAIN_S
        while True:
            began = time.monotonic()
            try:
                if not tells:
                    self._faults.pop(setting, None)
                await run()
            except ImapFault as fault:
                self._faults[setting] = str(fault)
            except OSError as error:
                self._faults[setting] = f"Mail cannot be taken in here ({type(error).__name__}); it is tried again."
            except Exception as error:  # the database may be away: the mail stays where it is
                self._faults[setting] = f"Mail cannot be stored ({type(error).__name__}); it is tried again."
            if time.monotonic() - began > longest_s:
                wait_s = _AGAIN_S[0]
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, longest_s)
