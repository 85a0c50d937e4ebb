"""Examines an installation before it is started, or when something is odd: one finding a question, each with what to do.

Called by `noticesvc doctor`. Changes nothing, sends no message; of the network it asks name servers and opens connections
that it closes again. What could not be examined because something before it failed is said to be skipped.
"""

import asyncio
import shutil
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import httpx
from sqlalchemy import text

from noticesvc import config
from noticesvc.bootstrap import key_sources, plugins, schema
from noticesvc.bootstrap.installation import calendar_fault, load_calendar, load_rules, open_database
from noticesvc.config import ProviderSettings, Settings
from noticesvc.errors import NoticesvcError
from noticesvc.storage.database import Database
from noticesvc.storage.transaction import Tx

State = Literal["ok", "warning", "failed", "skipped"]
PATIENCE_S = 5.0
OFFSET_S = 2.0  # a clock that is further off makes claims fall outside what service time accepts (document tolerance 5 min)
_LEAST_FREE = 1 << 30
_PORTS = {"http": 80, "https": 443}
_OLDEST_POSTGRESQL = 150_000


@dataclass(frozen=True, slots=True)
class Finding:
    """The answer to one question."""

    subject: str
    state: State
    says: str


async def examine(config_file: Path) -> AsyncIterator[Finding]:
    """All findings, in the order in which one would mend them."""
    try:
        settings = config.load(config_file)
        plugins.configure(settings.providers, settings.folder)
        load_rules(settings)
    except NoticesvcError as error:
        yield Finding("configuration", "failed", str(error))
        return
    yield Finding("configuration", "ok", f"{len(settings.providers)} providers, {len(settings.rules)} rules of the operator's own.")
    for finding in _files(settings):
        yield finding
    async for finding in _database(settings):
        yield finding
    yield _calendar(settings)
    yield await _public_url(settings.server.public_url)
    for name, provider in settings.providers.items():
        yield await _provider(name, provider)


def _files(settings: Settings) -> list[Finding]:
    made = []
    questions: dict[str, Callable[[], object]] = {
        "ledger key": lambda: key_sources.log_keys(settings), "vault key": lambda: key_sources.vault(settings)}
    for what, load in questions.items():
        try:
            load()
        except NoticesvcError as error:
            made.append(Finding(what, "failed", str(error)))
        else:
            made.append(Finding(what, "ok", "It can be read, and by its owner alone."))
    free = shutil.disk_usage(settings.folder).free
    low = free < _LEAST_FREE
    made.append(Finding("disk", "warning" if low else "ok", f"{free / (1 << 30):.1f} GiB are free under the installation's folder" + (
        "; free more: journal and database need room." if low else ".")))
    return made


async def _database(settings: Settings) -> AsyncIterator[Finding]:
    database = open_database(settings)
    try:
        clock = await database.read(_clock)
        yield Finding("database", "ok", await database.read(_engine))
        async for finding in _durable(database):
            yield finding
        try:
            await schema.check(database)
        except NoticesvcError as error:
            yield Finding("migrations", "failed", str(error))
        else:
            yield Finding("migrations", "ok", "The tables are fit for this program.")
        if clock is not None:
            off = abs(clock - time.time())
            yield Finding("clock", "warning" if off > OFFSET_S else "ok", f"This machine and the database differ by {off:.1f} s" + (
                "; run an NTP client on both." if off > OFFSET_S else "."))
    except NoticesvcError as error:
        yield Finding("database", "failed", str(error))
        yield Finding("migrations", "skipped", "The database cannot be asked.")
    finally:
        await database.close()


def _clock(tx: Tx) -> float | None:
    return float(tx.conn.execute(text("select extract(epoch from clock_timestamp())")).scalar_one()) if tx.postgresql else None


def _engine(tx: Tx) -> str:
    version = tx.conn.execute(text("show server_version" if tx.postgresql else "select sqlite_version()")).scalar_one()
    return f"{'PostgreSQL' if tx.postgresql else 'SQLite'} {version} answers."


async def _durable(database: Database) -> AsyncIterator[Finding]:
    """Whether a commit is on the disk when it returns; without that no 202 is a promise."""
    if database.is_sqlite:
        return
    shown = await database.read(lambda tx: {name: tx.conn.execute(text(f"show {name}")).scalar_one() for name in (
        "fsync", "synchronous_commit", "server_version_num")})
    if shown["fsync"] != "on" or shown["synchronous_commit"] == "off":
        yield Finding("durability", "failed", "fsync or synchronous_commit is off: what was answered 202 may be lost. Turn both on.")
    else:
        yield Finding("durability", "ok", f"fsync on, synchronous_commit {shown['synchronous_commit']}.")
    if int(shown["server_version_num"]) < _OLDEST_POSTGRESQL:
        yield Finding("version", "warning", "PostgreSQL before 15 is not tested; upgrade it.")


def _calendar(settings: Settings) -> Finding:
    try:
        known = load_calendar(settings)
    except NoticesvcError as error:
        return Finding("calendar", "failed", str(error))
    fault = calendar_fault(known, time.time_ns() // 1000)
    return Finding("calendar", "warning" if fault else "ok",
                   fault.get("calendar", f"Working days are known until the end of {known.last_year}."))


async def _public_url(url: str) -> Finding:
    """Recipients open links there and providers call back; its certificate and its clock are seen on the way."""
    host = urlsplit(url).hostname or ""
    try:
        async with httpx.AsyncClient(timeout=PATIENCE_S, trust_env=False) as client:
            reply = await client.get(f"{url}/healthz")
    except (httpx.HTTPError, ssl.SSLError, OSError) as error:
        return Finding("public_url", "warning", f"{url} does not answer ({type(error).__name__}); right while the service is stopped, "
                       "else recipients cannot open links and providers cannot call back.")
    if reply.status_code != 200:
        return Finding("public_url", "warning", f"{url}/healthz answers {reply.status_code}; something else answers there.")
    if host in {"127.0.0.1", "localhost", "::1"}:
        return Finding("public_url", "warning", f"{url} answers, but only on this machine; recipients and providers need another address.")
    return Finding("public_url", "ok", f"{url} answers.{_offset(reply)}")


async def _provider(name: str, provider: ProviderSettings) -> Finding:
    subject = f"provider {name}"
    if provider.kind == "sandbox":
        return Finding(subject, "warning", "A sandbox: nothing on its channel reaches anybody.")
    place = _place(plugins.own_settings(name, provider).model_dump())
    if place is None:
        return Finding(subject, "skipped", f"A provider of kind {provider.kind} names no host of its own.")
    host, port = place
    try:
        found = await asyncio.wait_for(asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM), PATIENCE_S)
    except (OSError, TimeoutError):
        return Finding(subject, "failed", f"The name {host} is not known to the name servers; correct it or the resolver.")
    try:
        async with asyncio.timeout(PATIENCE_S):
            _, writer = await asyncio.open_connection(host, port)
            writer.close()
    except (OSError, TimeoutError) as error:
        return Finding(subject, "failed", f"{host} port {port} cannot be reached ({type(error).__name__}); is it up, and is the way open?")
    return Finding(subject, "ok", f"{host} port {port} takes connections ({len({one[4][0] for one in found})} addresses).")


def _place(own: dict[str, Any]) -> tuple[str, int] | None:
    """Host and port in a provider's own settings: `host` and `port`, or an address."""
    if isinstance(own.get("host"), str):
        return own["host"], int(own.get("port", 25))
    for name in ("url", "endpoint"):
        value = own.get(name)
        if isinstance(value, str) and value:
            parts = urlsplit(value if "://" in value else f"https://{value}")
            if parts.hostname:
                return parts.hostname, parts.port or _PORTS.get(parts.scheme, 443)
    return None


def _offset(reply: httpx.Response) -> str:
    """How far the other side's Date is from ours, in words; nothing where it has none."""
    try:
        theirs = parsedate_to_datetime(reply.headers["date"])
    except (KeyError, ValueError, TypeError):
        return ""
    off = abs((datetime.now(UTC) - theirs).total_seconds())
    return f" Its clock and ours differ by {off:.0f} s." if off > OFFSET_S else ""
