"""Makes a new installation, step by step: configuration, keys, tables, the first API key. Never overwrites anything.

Called by `noticesvc init` and `noticesvc migrate`. Each step leaves what is there, so an init that was interrupted is
completed by the next one. A key file that is missing beside a database that was already founded is never made anew:
what was sealed or signed with the old one would be lost silently.
"""

import os
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from noticesvc import config, vault
from noticesvc.bootstrap import key_sources, schema, template
from noticesvc.bootstrap.installation import SYSTEM_KEY, SYSTEM_KEY_PLACE, open_database
from noticesvc.config import Settings
from noticesvc.domain.access import SCOPES
from noticesvc.errors import ConfigurationError
from noticesvc.ledger import key as ledger_keys
from noticesvc.operations import keys
from noticesvc.storage import migrate
from noticesvc.storage import tables as t
from noticesvc.storage.transaction import Tx
from noticesvc.vault import Vault

ROOT_KEY = "root"
_SECTIONS = ("database", "ledger", "vault")


@dataclass(slots=True)
class Founded:
    """What `init` made, what was there before, and the first API key if it was made now."""

    config_file: Path
    made: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    secret: str | None = None


async def found(folder: Path, database_url: str | None) -> Founded:
    """Make what is missing of an installation in `folder`. ConfigurationError says what stands in the way."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)  # noqa: ASYNC240 (a short command; nobody waits)
    done = Founded(folder / "config.toml")
    # 1. The configuration. It holds the database's password, so it is its owner's alone.
    _write_new(done, done.config_file, template.configuration(normal_url(database_url), config.Ledger().origin))
    settings = _what_it_needs(done.config_file)
    database = open_database(settings)
    try:
        # 2. The keys, unless the database was founded with others.
        founded_before = await database.read(migrate.current) is not None and await database.read(_system_key_exists)
        signer, master = settings.path(settings.ledger.key_file), settings.path(settings.vault.key_file)
        signer_text = ledger_keys.generate(settings.ledger.origin, os.urandom(32)).private_text() + "\n"
        for section, path, text in (("ledger", signer, signer_text), ("vault", master, vault.new_key_file(os.urandom))):
            if not key_sources.in_file(settings, section):
                continue  # it is kept elsewhere, and must be there already
            if founded_before and not path.exists():
                raise ConfigurationError(
                    f"The {section} key file {path.name} is missing, but the database was founded with one; restore it from its copy.")
            _write_new(done, path, text)
        # 3. Tables, system key and first API key, in one transaction.
        before = await database.read(migrate.current)
        done.secret = await database.write(_lay, key_sources.vault(settings))
        after = migrate.head()
        (done.kept if before == after else done.made).append(f"database at version {after}")
    finally:
        await database.close()
    return done


def _what_it_needs(config_file: Path) -> Settings:
    """The settings of database and keys alone: a fault elsewhere is for `serve` to refuse, not for `init`."""
    try:
        data = tomllib.loads(config_file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"{config_file} cannot be read as TOML ({type(error).__name__}); correct it or choose another folder.") from None
    prefixes = tuple(f"NOTICESVC_{section.upper()}__" for section in _SECTIONS)
    overrides = {name: value for name, value in os.environ.items() if name.startswith(prefixes)}
    return config.build({name: data[name] for name in _SECTIONS if name in data}, overrides, config_file.resolve().parent)


async def upgrade(settings: Settings, say: Callable[[str], None] = lambda _: None) -> tuple[str | None, str | None]:
    """Bring the database to this program's version; answers the versions before and after. `say` is told what it waits for."""
    master = key_sources.vault(settings)
    database = open_database(settings, statement_s=None)  # an index over many rows takes its time
    try:
        before = await database.read(migrate.current)
        await schema.bring_up(database, say)
        await database.write(_make_system_key, master)
        return before, await database.read(migrate.current)
    finally:
        await database.close()


def normal_url(given: str | None) -> str:
    """The database URL as the configuration spells it; common short forms get their driver."""
    if given is None:
        return template.SQLITE
    for short, full in (("postgresql://", "postgresql+asyncpg://"), ("postgres://", "postgresql+asyncpg://"),
                        ("sqlite://", "sqlite+aiosqlite://")):
        if given.startswith(short):
            return full + given.removeprefix(short)
    return given


def _lay(tx: Tx, master: Vault) -> str | None:
    migrate.upgrade(tx)
    _make_system_key(tx, master)
    if not tx.execute(select(func.count()).select_from(t.api_key)).scalar():
        return keys.create(tx, ROOT_KEY, SCOPES)
    return None


def _make_system_key(tx: Tx, master: Vault) -> None:
    if not _system_key_exists(tx):
        _, wrapped = master.new_key(SYSTEM_KEY_PLACE)
        tx.insert(t.vault_key, [{"name": SYSTEM_KEY, "wrapped": wrapped}])


def _system_key_exists(tx: Tx) -> Any:
    return tx.execute(select(t.vault_key.c.name).where(t.vault_key.c.name == SYSTEM_KEY)).scalar()


def _write_new(done: Founded, path: Path, text: str) -> None:
    """Create a file for its owner alone, whole and durable or not at all; one that exists is left as it is."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)  # unlike a rename, refuses to replace
            done.made.append(path.name)
        except FileExistsError:
            done.kept.append(path.name)
        finally:
            draft.unlink()
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written ({type(error).__name__}); choose another folder.") from None
