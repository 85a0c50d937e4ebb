"""Runs commands of `noticesvc` in processes of their own, without importing everything anew for each.

Called by the acceptance tests that run many commands. A server that has imported the program forks for every command: the
process, its environment, folder, streams, arguments and exit status are as real as ever, in a fifth of the time. How a
process starts from nothing is for the tests that start it with `subprocess`.
"""

import atexit
import functools
import importlib
import json
import os
import pkgutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parents[2]
_ONE_AT_A_TIME = threading.Lock()
_ALSO = ("alembic.command", "asyncpg", "rich.console", "rich.table", "httpx", "sqlalchemy.ext.asyncio")


def run(*args: str, env: Mapping[str, str], cwd: Path | str = "/", stdin: str | None = None,
        timeout_s: float | None = 60) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end, with exactly this environment. Raises TimeoutError after killing it. Threads wait for each other."""
    with _ONE_AT_A_TIME, tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        given.write((stdin or "").encode())
        given.seek(0)
        server = _server()
        socket.send_fds(server, [json.dumps([args, dict(env), os.fspath(cwd)]).encode()], [given.fileno(), out.fileno(), err.fileno()])
        pid = json.loads(server.recv(64))
        server.settimeout(timeout_s)
        try:
            status = json.loads(server.recv(64))
        except TimeoutError:
            os.kill(pid, signal.SIGKILL)
            server.settimeout(None)
            server.recv(64)
            raise
        finally:
            server.settimeout(None)
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(["noticesvc", *args], status, out.read().decode(), err.read().decode())


@functools.cache
def _server() -> socket.socket:
    """The way to this process's server, which ends with us."""
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with its:
        process = subprocess.Popen([sys.executable, "-m", "tests.support.shell", str(its.fileno())], cwd=_ROOT, pass_fds=[its.fileno()],
                                   stdin=subprocess.DEVNULL)

    def end() -> None:
        ours.close()
        process.wait(10)
    atexit.register(end)
    return ours


def _serve(wire: socket.socket) -> None:
    import noticesvc
    for module in pkgutil.walk_packages(noticesvc.__path__, "noticesvc."):
        if ".migrations" not in module.name:
            importlib.import_module(module.name)
    for name in _ALSO:
        importlib.import_module(name)
    assert threading.active_count() == 1
    while True:
        request, streams, _, _ = socket.recv_fds(wire, 1 << 20, 3)
        if not request:
            return
        args, env, cwd = json.loads(request)
        pid = os.fork()
        if pid == 0:
            wire.close()
            _become(args, env, cwd, streams)
        for stream in streams:
            os.close(stream)
        wire.send(json.dumps(pid).encode())
        wire.send(json.dumps(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])).encode())


def _become(args: list[str], env: dict[str, str], cwd: str, streams: Any) -> None:
    """Be the command, and never return."""
    status = 70
    try:
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        os.environ.clear()
        os.environ.update(env)
        os.chdir(cwd)
        sys.argv = ["noticesvc", *args]
        from noticesvc.cli.main import main
        main()
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as end:
        _serve(end)
