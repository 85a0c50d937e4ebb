"""Opens an installation: settings, database, vault, rules, calendar, providers and signer, checked against each other.

Called by `serving` and by every command that needs an installation. Everything that cannot be used raises
ConfigurationError with the setting and the remedy, before anything is sent.
"""

import json
import os
import time
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Self, cast

from cryptography.x509 import Certificate
from sqlalchemy import select

from noticesvc import vault as vault_files
from noticesvc.api.context import Acceptor, House
from noticesvc.bootstrap import key_sources, plugins, schema
from noticesvc.config import Settings
from noticesvc.domain import calendar, instant, quiet, rules
from noticesvc.errors import ConfigurationError, VerificationError
from noticesvc.ledger.key import Signer, Verifier
from noticesvc.operations.world import World
from noticesvc.proof import timestamps
from noticesvc.provider import Provider
from noticesvc.storage import tables as t
from noticesvc.storage.database import Database
from noticesvc.storage.transaction import Sources, Tx
from noticesvc.vault import DataKey, Vault

SYSTEM_KEY = "system"
SYSTEM_KEY_PLACE = "vault_key:system"
_CALENDAR_WARNING = timedelta(days=60)


def sources() -> Sources:
    """The real clock and the operating system's randomness."""
    return Sources(lambda: time.time_ns() // 1000, os.urandom, os.urandom(8).hex())


def software() -> str:
    """The name and version that stand on proofs."""
    try:
        return f"noticesvc {version('noticesvc')}"
    except PackageNotFoundError:  # run from a checkout that was never installed
        return "noticesvc (not installed)"


def open_database(settings: Settings, *, statement_s: float | None = 60.0) -> Database:
    """The configured database; nothing is read yet. ConfigurationError for a URL that cannot be used."""
    return Database(settings.database.url.get_secret_value(), sources(), settings.folder, statement_s=statement_s)


def check_origin(tx: Tx, origin: str) -> None:
    """Raise ConfigurationError if this ledger has signed checkpoints under another origin."""
    note = tx.execute(select(t.ledger_checkpoint.c.note).order_by(t.ledger_checkpoint.c.size.desc()).limit(1)).scalar()
    if note is not None and str(note).partition("\n")[0] != origin:
        raise ConfigurationError(
            "ledger.origin differs from the origin in this ledger's last checkpoint; a log cannot be renamed, set it back.")


def load_calendar(settings: Settings) -> calendar.Calendar:
    """The built-in calendar with the operator's file, if one is configured."""
    if not settings.calendar.file:
        return calendar.BUILT_IN
    path = settings.path(settings.calendar.file)
    try:
        text = path.read_text("utf-8")
        mapping = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"calendar.file cannot be read ({type(error).__name__}); check the path.") from None
    except (tomllib.TOMLDecodeError, ValueError):
        raise ConfigurationError("calendar.file is neither TOML nor (named .json) JSON; see the manual for its form.") from None
    return calendar.BUILT_IN.extended(mapping, path.name)


def load_tsa_roots(settings: Settings) -> tuple[Certificate, ...]:
    """The authorities that the certificates of time-stamping services must lead to; none if none are configured."""
    if not settings.anchors.tsa_roots:
        return ()
    try:
        return tuple(timestamps.roots(settings.path(settings.anchors.tsa_roots).read_bytes()))
    except (OSError, VerificationError) as error:
        raise ConfigurationError(f"anchors.tsa_roots cannot be used ({type(error).__name__}); name a PEM file of authorities.") from None


def load_pdf_signer(settings: Settings) -> Callable[[bytes, str], bytes] | None:
    """What signs certificates; null where none is configured. ConfigurationError says what is wrong with it."""
    given = settings.certificate
    if not given.pkcs12_file:
        return None
    from noticesvc.certificate import signing  # pyHanko takes a while to import, and few commands sign
    path = settings.path(given.pkcs12_file)
    vault_files.check_secret_file(path, "certificate.pkcs12_file")
    return signing.load(path, given.passphrase.get_secret_value(), given.tsa_url).sign


def load_rules(settings: Settings) -> Mapping[str, rules.Rule]:
    """The built-in service rules and the configured ones, by id."""
    return {**rules.BUILT_IN, **{name: rules.configured(name, table) for name, table in settings.rules.items()}}


async def load_system_key(database: Database, vault: Vault) -> DataKey:
    """The key of what belongs to no single recipient. ConfigurationError if it was never made."""
    wrapped = await database.read(_wrapped_system_key)
    if wrapped is None:
        raise ConfigurationError("The database holds no system key; run `noticesvc migrate --config FILE`.")
    return vault.unwrap(wrapped, SYSTEM_KEY_PLACE)


def _wrapped_system_key(tx: Tx) -> bytes | None:
    found: bytes | None = tx.execute(select(t.vault_key.c.wrapped).where(t.vault_key.c.name == SYSTEM_KEY)).scalar()
    return found


def calendar_fault(known: calendar.Calendar, now: int) -> dict[str, str]:
    """Degraded when the working-day data ends within sixty days of `now` (microseconds)."""
    soon = instant.shanghai_date(instant.from_micros(now) + _CALENDAR_WARNING)
    if soon.year <= known.last_year:
        return {}
    return {"calendar": f"Working days are known until the end of {known.last_year}; later deadlines are provisional. Set calendar.file."}


@dataclass(slots=True)
class Installation:
    """An open installation. Close it when done; `house` is what the API is given."""

    settings: Settings
    database: Database
    world: World
    providers: dict[str, Provider]
    signer: Signer
    retired: tuple[Verifier, ...]  # keys that the signer replaced
    house: House

    @classmethod
    async def open(cls, settings: Settings) -> Self:
        """Open and check everything that needs no network but the database's.

        Raises ConfigurationError for what is wrong, DatabaseUnavailable if the database cannot be reached.
        """
        vault = key_sources.vault(settings)
        signer, retired = key_sources.log_keys(settings)
        known_calendar, known_rules = load_calendar(settings), load_rules(settings)
        providers = plugins.configure(settings.providers, settings.folder)
        database = open_database(settings)
        try:
            await schema.check(database)
            await database.read(check_origin, settings.ledger.origin)
            system_key = await load_system_key(database, vault)
        except BaseException:
            await database.close()
            raise
        world = World(
            vault=vault, system_key=system_key, rules=known_rules, calendar=known_calendar, issuer=settings.issuer.name,
            service_mailbox=settings.issuer.service_mailbox,
            software=software(), origin=settings.ledger.origin, public_url=settings.server.public_url,
            channels_served=frozenset(p.channel for p in settings.providers.values()),
            sandbox=has_sandbox(settings), sms_templates=sms_templates(settings, providers), events_enabled=bool(settings.events.url),
            witnesses=tuple(settings.anchors.witness_keys), tsa_roots=load_tsa_roots(settings),
            quiet=quiet.hours(settings.quiet.from_, settings.quiet.to), retention_days=settings.vault.retention_days,
            sms_price_per_part=settings.broadcasts.sms_price_per_part, currency=settings.broadcasts.currency,
            sign_pdf=load_pdf_signer(settings), credit_code=settings.issuer.credit_code)
        house = House(settings, database, world, providers, cast("Acceptor", None), dict)
        return cls(settings, database, world, providers, signer, retired, house)

    def faults(self) -> dict[str, Any]:
        """What is degraded by the configuration itself."""
        found: dict[str, Any] = {}
        if self.world.sandbox:
            found["sandbox"] = "A sandbox provider is configured: nothing on its channels reaches anybody."
        return found | calendar_fault(self.world.calendar, self.database.sources.clock())

    async def close(self) -> None:
        """Finish what the database was given and close it."""
        await self.database.close()


def sms_templates(settings: Settings, providers: Mapping[str, Provider]) -> frozenset[str] | None:
    """Our templates that some SMS provider can send; null where one sends any text, or there is none at all."""
    found = [provider.templates for name, provider in providers.items() if settings.providers[name].channel == "sms"]
    if not found or None in found:
        return None
    return frozenset().union(*(templates for templates in found if templates is not None))


def has_sandbox(settings: Settings) -> bool:
    """Whether any configured provider is a sandbox."""
    return any(provider.kind == "sandbox" for provider in settings.providers.values())
