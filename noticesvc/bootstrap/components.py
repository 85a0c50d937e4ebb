"""What runs in a process beside the API: each component is started, watched and stopped by `serving`.

The list is made here, once, from the open installation and the role of the process.
"""

import asyncio
from typing import TYPE_CHECKING, Literal, Protocol

import structlog

from noticesvc.api.acceptor import SharedAcceptor
from noticesvc.dispatch.asking import Asking
from noticesvc.dispatch.broadcasts import Broadcasts
from noticesvc.dispatch.housekeeping import Housekeeping
from noticesvc.dispatch.ledger_memory import LedgerMemory
from noticesvc.dispatch.providers import Providers
from noticesvc.dispatch.self_audit import SelfAudit
from noticesvc.dispatch.sequencer import Sequencer
from noticesvc.dispatch.watch import Watch
from noticesvc.dispatch.worker import Worker
from noticesvc.errors import ConfigurationError, NoteError, NoticesvcError
from noticesvc.ledger.key import COSIGNATURE, Verifier
from noticesvc.storage.database import Database

if TYPE_CHECKING:
    from noticesvc.bootstrap.installation import Installation

Role = Literal["all", "api", "worker"]
log = structlog.get_logger()


class Component(Protocol):
    """A part of a process with a life of its own."""

    async def start(self) -> None:
        """Begin; when this returns the part works. An error here stops the process before it says `ready`."""

    async def stop(self, grace_s: float) -> None:
        """Take nothing new, finish what is in hand within `grace_s` seconds, and end."""

    def faults(self) -> dict[str, str]:
        """What is wrong now: a name and a sentence each; empty when all is well.

        The names `database`, `migrations`, `signer` and `disk` make `/readyz` answer 503; others are listed as degraded.
        """


class Listening:
    """Hears the commits of other processes (PostgreSQL); a lost connection is made again, and meanwhile pollers poll."""

    _FIRST_WAIT_S = 0.2
    _LONGEST_WAIT_S = 5.0

    def __init__(self, database: Database) -> None:
        self._database = database
        self._task: asyncio.Task[None] | None = None
        self._hears = True

    async def start(self) -> None:
        """Begin to listen in the background."""
        self._task = asyncio.create_task(self._run(), name="listen")

    async def stop(self, grace_s: float) -> None:
        """End at once: there is nothing to finish."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    def faults(self) -> dict[str, str]:
        """Degraded while other processes are not heard."""
        return {} if self._hears else {"listening": "Commits of other processes are not heard; polling goes on."}

    async def _run(self) -> None:
        wait_s = self._FIRST_WAIT_S
        while True:
            try:
                lost = await self._database.listen()
                if lost is None:
                    return
                self._hears, wait_s = True, self._FIRST_WAIT_S
                await lost
            except (OSError, TimeoutError, NoticesvcError) as error:
                log.warning("listening failed", error=type(error).__name__)
            except Exception as error:  # a driver's own error; without this task nobody would try again
                log.warning("listening failed", error=type(error).__name__)
            self._hears = False
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, self._LONGEST_WAIT_S)


def _anchors(installation: "Installation", sequencer: Sequencer) -> Component:
    """Whoever is configured to vouch for checkpoints. ConfigurationError names the setting that cannot be used."""
    from noticesvc.dispatch.anchors import Anchors  # with an HTTP client that nothing else here loads

    settings = installation.settings.anchors
    made = Anchors(installation.database, [installation.signer.verifier, *installation.retired], lambda: sequencer.leads)
    if settings.tsa_urls:
        for url in settings.tsa_urls:
            made.add_tsa(url, installation.world.tsa_roots, 60.0 * settings.tsa_every_min)
    for url, vkey in zip(settings.witness_urls, settings.witness_keys, strict=True):
        try:
            key = Verifier.parse(vkey)
        except NoteError as error:
            raise ConfigurationError(f"anchors.witness_keys: {error}") from None
        if key.key_type != COSIGNATURE:
            raise ConfigurationError("anchors.witness_keys: a key is a ledger's, not a witness's (type 0x04); copy the witness's.")
        made.add_witness(url, key)
    return made


def components(installation: "Installation", role: Role, *, read_only: bool = False) -> list[Component]:
    """The components of a process of this role, in the order in which they start; they stop in the opposite order.

    `read_only`: whatever dispatches, signs or keeps house stays away.
    """
    made: list[Component] = []
    if not installation.database.is_sqlite:
        made.append(LedgerMemory(installation.database, installation.settings.path(installation.settings.ledger.checkpoint_copy)))
        made.append(Listening(installation.database))
    if role in ("all", "api"):
        acceptor = SharedAcceptor(installation.database, installation.world)
        installation.house.acceptor = acceptor
        made.append(acceptor)
    if role in ("all", "worker") and not read_only:
        database, world, settings, providers = installation.database, installation.world, installation.settings, installation.providers
        sequencer = Sequencer(database, installation.signer, settings.path(settings.ledger.checkpoint_copy), settings.ledger.max_delay_s,
                              installation.retired)
        made.append(sequencer)
        if settings.ledger.self_audit_every_h:
            made.append(SelfAudit(database, settings.file, 3600 * settings.ledger.self_audit_every_h, lambda: sequencer.leads))
        if settings.anchors.tsa_urls or settings.anchors.witness_urls:
            made.append(_anchors(installation, sequencer))
        made.append(Providers(database, world, providers))
        made.append(Housekeeping(database, world, providers))
        if any(provider.can_be_asked for provider in providers.values()):
            made.append(Asking(database, world, providers, settings.providers))
        broadcasts = Broadcasts(database, world)
        made.append(Worker(settings, database, world, providers, lambda: broadcasts.making))
        made.append(broadcasts)
        made.append(Watch(database))
        if settings.events.url:
            from noticesvc.dispatch.events import Events  # with an HTTP client that nothing else here loads
            made.append(Events(database, world, settings.events.url, settings.events.secret.get_secret_value(),
                               allow_private=settings.events.allow_private))
    return made
