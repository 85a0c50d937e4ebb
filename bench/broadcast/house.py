"""The service under a broadcast: its processes, which are killed and come again, their memory, and a caller who never gives up.

Every request is repeated while nobody answers, as a caller would; `Memory` keeps the highest VmHWM of each role over all its
processes, those that were killed included.
"""

import contextlib
import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import psutil

from bench.service import Service, kill

_AGAIN_S = 0.1
_GIVE_UP_S = 180.0
_HIGH = re.compile(r"VmHWM:\s+(\d+) kB")


class Memory:
    """The highest resident memory of each role, in MiB."""

    def __init__(self) -> None:
        self.high: dict[str, float] = {}
        self._watched: dict[int, str] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def watch(self, pid: int, role: str) -> None:
        """Look at this process and all below it from now on."""
        self._watched[pid] = role

    def look(self) -> None:
        """Look now: before a kill nothing may be missed."""
        for pid, role in list(self._watched.items()):
            with contextlib.suppress(psutil.Error, OSError):
                root = psutil.Process(pid)
                for one in (root, *root.children(recursive=True)):
                    found = _HIGH.search(Path(f"/proc/{one.pid}/status").read_text())
                    if found:
                        name = role if one.pid == pid else f"{role}, below it"
                        self.high[name] = max(self.high.get(name, 0.0), int(found[1]) / 1024)

    def _run(self) -> None:
        while not self._over.wait(0.2):
            self.look()

    def close(self) -> None:
        """Stop to look."""
        self._over.set()
        self._thread.join()


class House:
    """One installation with its processes in these `roles`, and two keys: the creator's and the approver's."""

    def __init__(self, folder: Path, database: str | None, roles: Sequence[str | None], **settings: str) -> None:
        own = {"WORKER__CONCURRENCY": "256", "QUIET__FROM": "00:00", "QUIET__TO": "00:00"}
        self.service = Service(folder, database, **own | settings)
        self.roles, self.memory = tuple(roles), Memory()
        self.processes: dict[str | None, Any] = {}
        self._approver = folder / "approver"

    @property
    def approver(self) -> str:
        """The key of the second person, who may approve and nothing else."""
        if not self._approver.exists():
            made = self.service.cli("keys", "create", "--config", str(self.service.folder / "config.toml"), "--name", "approver",
                                    "--scope", "broadcasts:approve").stdout
            self._approver.write_text(made.strip().splitlines()[-1])
        return self._approver.read_text()

    def start(self) -> None:
        """Start whatever does not run."""
        launched = [(role, *self.service.launch(role)) for role in self.roles if role not in self.processes]
        for role, process, log in launched:
            self.processes[role] = process
            self.memory.watch(process.pid, role or "all")
            self.service.ready(process, log)

    def kill(self, roles: Sequence[str | None]) -> None:
        """SIGKILL to these, at once."""
        self.memory.look()
        gone = [self.processes.pop(role) for role in roles if role in self.processes]
        for process in gone:
            process.kill()
        for process in gone:
            process.wait()

    def ask(self, method: str, path: str, *, key: str | None = None, **more: Any) -> httpx.Response:
        """One request, repeated while nobody answers; the first answer that is no 503."""
        until = time.monotonic() + _GIVE_UP_S
        headers = more.pop("headers", {}) | ({"Authorization": f"Bearer {key}"} if key else {})
        while True:
            with contextlib.suppress(httpx.TransportError):
                answer = self.service.client.request(method, path, headers=headers, **more)
                if answer.status_code != 503:
                    return answer
            if time.monotonic() > until:
                raise SystemExit(f"{method} {path} was not answered")
            time.sleep(_AGAIN_S)

    def must(self, method: str, path: str, **more: Any) -> Any:
        """The parsed answer of a request that must succeed."""
        answer = self.ask(method, path, **more)
        if not answer.is_success:
            raise SystemExit(f"{method} {path} was answered with {answer.status_code}: {answer.text[:500]}")
        return answer.json()

    def command(self, *words: str) -> str:
        """A command of the installation; what it printed. It must succeed."""
        return self.service.cli(*words, "--config", str(self.service.folder / "config.toml")).stdout

    def close(self) -> None:
        """Kill what still runs and hang up."""
        for process in self.processes.values():
            kill(process)
        self.processes.clear()
        self.memory.close()
        self.service.close()


@contextlib.contextmanager
def opened(folder: Path, database: str | None, roles: Sequence[str | None], **settings: str) -> Iterator[House]:
    """A started installation for the block."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    house = House(folder, database, roles, **settings)
    try:
        house.start()
        yield house
    finally:
        house.close()


class Kept:
    """What a run has done so far, in a file: a run that was interrupted goes on after the last whole step."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}

    def get(self, name: str, default: Any = None) -> Any:
        """What was kept under this name."""
        return self._known.get(name, default)

    def put(self, name: str, value: Any) -> Any:
        """Keep it; the value."""
        self._known[name] = value
        fresh = self._path.with_suffix(".new")
        fresh.write_text(json.dumps(self._known))
        fresh.replace(self._path)
        return value

    def once(self, name: str, make: Callable[[], Any]) -> Any:
        """What was kept, or else what is made now."""
        return self._known[name] if name in self._known else self.put(name, make())
