"""Runs an installation as a process: opens it, starts API and components, says `ready`, stops on SIGTERM or SIGINT.

Called by `noticesvc serve`. Order: everything that can be refused is refused before the process listens; `ready` is
printed when it listens and every component works. On a signal the process takes nothing new, finishes what is in hand
and ends within `worker.stop_grace_s`; a second signal ends the waiting for open connections.
"""

import asyncio
import errno
import fcntl
import gc
import os
import signal
import socket
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import IO

import structlog
import uvicorn
import uvloop

from noticesvc import metrics, tracing
from noticesvc.api import app as api
from noticesvc.api.acceptor import SharedAcceptor
from noticesvc.bootstrap import restored
from noticesvc.bootstrap.components import Component, Role, components
from noticesvc.bootstrap.http_protocol import Protocol
from noticesvc.bootstrap.installation import Installation
from noticesvc.bootstrap.schema import SchemaWatch
from noticesvc.config import Settings
from noticesvc.errors import ConfigurationError, UnavailableError
from noticesvc.storage.sqlite import SQLite

log = structlog.get_logger()
_KEEP_ALIVE_S = 75
_GARBAGE = 20_000  # objects made before the youngest are looked through; a transaction makes thousands that it soon drops
_BACKLOG = 2048
_SHARE = 0.8  # of what is left of the grace, for one component
_LONGEST_DRAIN_S = 8.0  # for requests in hand; streams are told at once (app.state.stopping)


def run(settings: Settings, role: Role, announce: Callable[[str], None]) -> int:
    """Serve until a signal; the exit status. `announce` is given the line `ready <role> <url or ->`.

    Raises ConfigurationError or DatabaseUnavailable if it cannot begin.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(settings, role, announce))


async def _serve(settings: Settings, role: Role, announce: Callable[[str], None]) -> int:
    stopping = asyncio.Event()
    async with AsyncExitStack() as stack:
        # 1. Whatever can be refused.
        listening = stack.enter_context(_bind(settings)) if role != "worker" else None
        installation = await Installation.open(settings)
        stack.push_async_callback(installation.close)
        if settings.telemetry.otlp_url:
            stack.callback(tracing.export(settings.telemetry.otlp_url, "noticesvc"))
        _one_process(installation, role, stack)
        if role == "worker" and settings.telemetry.worker_metrics_port:
            stack.callback(_tell_metrics(settings))
        held = await restored.hold_if_behind(installation)
        # 2. From here on a signal is a wish to stop in order.
        schema = SchemaWatch(installation.database, stopping.set)
        parts = [*components(installation, role, read_only=held is not None), schema]
        installation.house.readiness = lambda: _faults(installation, parts) | ({"signer": held} if held else {})
        if held is not None:
            log.critical("a backup was restored: read-only, nothing is sent; see `noticesvc ledger recover`", says=held)
        server = None if listening is None else _Server(_uvicorn(api.make(installation.house, role, stopping)))
        _on_signals(stopping, server)
        for name, sentence in installation.faults().items():
            log.warning("degraded", what=name, says=sentence)
        # 3. Start, serve, and stop what was started, whatever happens.
        started: list[Component] = []
        serving: asyncio.Task[None] | None = None
        try:
            for part in parts:
                started.append(part)
                await part.start()
            if server is not None and listening is not None:
                serving = await _begin_http(server, listening)
            if not stopping.is_set():
                _ready(role, "-" if listening is None else _url(listening), announce)
            await _until(stopping, serving)
        finally:
            log.info("stopping")
            clean = await _stop(started, server, serving, settings.worker.stop_grace_s)
        return 0 if clean and not schema.outdated else 1


class _Server(uvicorn.Server):
    """uvicorn without its signal handling, which would raise the signal again at the end."""

    async def serve_quietly(self, listening: socket.socket) -> None:
        """Serve until `should_exit`."""
        await self._serve([listening])


def _uvicorn(app: object) -> uvicorn.Config:
    return uvicorn.Config(
        app, http=Protocol, ws="none", lifespan="off", interface="asgi3", log_config=None, access_log=False,  # type: ignore[arg-type]
        server_header=False, date_header=True, proxy_headers=False, backlog=_BACKLOG, timeout_keep_alive=_KEEP_ALIVE_S)


async def _begin_http(server: _Server, listening: socket.socket) -> asyncio.Task[None]:
    serving = asyncio.create_task(server.serve_quietly(listening), name="http")
    while not server.started and not serving.done():  # noqa: ASYNC110 (uvicorn tells by an attribute alone)
        await asyncio.sleep(0.005)
    return serving


async def _until(stopping: asyncio.Event, serving: asyncio.Task[None] | None) -> None:
    """Wait for the signal; an HTTP server that ends by itself is an error of its own."""
    wish = asyncio.create_task(stopping.wait())
    await asyncio.wait({wish, serving} if serving is not None else {wish}, return_when=asyncio.FIRST_COMPLETED)
    wish.cancel()
    if serving is not None and serving.done() and not stopping.is_set():
        raise UnavailableError("The HTTP server ended by itself; the log says why.")


async def _stop(started: list[Component], server: _Server | None, serving: asyncio.Task[None] | None, grace_s: float) -> bool:
    """Stop HTTP and components at the same time, the acceptor last of those that requests in hand still need.

    True if all was finished within the grace; what was cut off is as after a crash: nothing accepted is lost.
    """
    ends = asyncio.get_running_loop().time() + grace_s
    drained = asyncio.create_task(_drain(server, serving, grace_s))
    clean = True
    for part in reversed(started):
        left_s = ends - asyncio.get_running_loop().time()
        if isinstance(part, SharedAcceptor):
            await asyncio.wait({drained}, timeout=max(0.1, left_s))
        try:
            async with asyncio.timeout(max(0.5, left_s - 0.5)):
                await part.stop(max(0.2, _SHARE * left_s))
        except Exception as error:  # the others are to be stopped all the same
            clean = False
            log.error("component did not stop", component=type(part).__name__, error=type(error).__name__)
    await drained
    return clean


async def _drain(server: _Server | None, serving: asyncio.Task[None] | None, grace_s: float) -> None:
    if server is None or serving is None:
        return
    server.config.timeout_graceful_shutdown = max(1, int(min(_LONGEST_DRAIN_S, grace_s / 3)))  # uvicorn takes whole seconds
    server.should_exit = True
    await asyncio.gather(serving, return_exceptions=True)


def _ready(role: Role, url: str, announce: Callable[[str], None]) -> None:
    # What was made until now lives as long as the process: the collector need not look through it again and again.
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GARBAGE, 20, 50)
    metrics.UP_SINCE.set_to_current_time()
    log.info("ready", role=role)
    announce(f"ready {role} {url}")


def _faults(installation: Installation, parts: list[Component]) -> dict[str, str]:
    found = installation.faults()
    for part in parts:
        found.update(part.faults())
    return found


def _on_signals(stopping: asyncio.Event, server: _Server | None) -> None:
    def wish() -> None:
        if stopping.is_set() and server is not None:
            server.force_exit = True
        stopping.set()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, wish)


def _bind(settings: Settings) -> socket.socket:
    """A listening socket. ConfigurationError names server.host or server.port."""
    host, port = settings.server.host, settings.server.port
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except socket.gaierror:
        raise ConfigurationError("server.host is no address of this machine; write for instance 127.0.0.1 or 0.0.0.0.") from None
    made = socket.socket(family, kind, protocol)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
        made.listen(_BACKLOG)
        made.setblocking(False)
    except OSError as error:
        made.close()
        if error.errno == errno.EADDRINUSE:
            raise ConfigurationError(f"server.port {port} is in use by another process; stop it or choose another port.") from None
        reason = os.strerror(error.errno or 0)
        raise ConfigurationError(f"server.host and server.port cannot be listened on ({reason}); correct them.") from None
    return made


def _tell_metrics(settings: Settings) -> Callable[[], None]:
    """Answer Prometheus where there is no API that would; answers how to stop. ConfigurationError if the port cannot be listened on."""
    try:
        server, thread = metrics.serve(settings.server.host, settings.telemetry.worker_metrics_port)
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise ConfigurationError(f"telemetry.worker_metrics_port cannot be listened on ({reason}); correct it.") from None

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join()
    return stop


def _url(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _one_process(installation: Installation, role: Role, stack: AsyncExitStack) -> None:
    """On SQLite one `serve` at a time, with every role in it. The lock goes with the process, however it ends."""
    engine = installation.database.engine
    if not isinstance(engine, SQLite):
        return
    if role != "all":
        raise ConfigurationError(
            "--only splits a service over processes, which needs PostgreSQL; on SQLite run `noticesvc serve` without it.")
    stack.enter_context(_lock(engine.path.with_name(engine.path.name + ".serve-lock")))


def _lock(path: Path) -> IO[bytes]:
    try:
        file = path.open("ab")
    except OSError as error:
        name = type(error).__name__
        raise ConfigurationError(f"The lock beside the database cannot be written ({name}); serve as the folder's owner.") from None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise ConfigurationError(
            "Another `noticesvc serve` runs on this SQLite database; stop it first, or use PostgreSQL for several.") from None
    return file
