"""Whether stored notices make work slower: the same work on databases that hold 10⁴, 10⁵, 10⁶ of them, in turns, on one PostgreSQL.

One database grows by the public ways alone: recipients by the import (one for each ten notices), in-site notices by /batch, delivered by
a worker. At each size it is copied with its installation; then all sizes are measured in turns, on copies of the copies, so that a busy
moment of the machine meets all of them. At the end the largest is audited by the command, and the proofs of a random hundred of its
notices are fetched and verified. Called by bench.run; everything lies in a folder, and a run that was
interrupted goes on from there.
"""

import contextlib
import random
import shutil
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bench import mail, meters, rows
from bench import sink as sinks
from bench.service import Service
from noticesvc.ledger.key import Verifier
from noticesvc.proof import verify
from tests.support.postgres import ROLE, PrivatePostgres

NOTICES_EACH = 10  # of a recipient
PORTION = 5000  # notices posted before it is looked whether the worker keeps up
READ = 300  # notices
PROVED = 100
COPY_S = 1800.0  # a database of a million notices is some gigabytes
MAIN, TURN = "grown", "turn"


class Growth:
    """The databases and installations of one run. `count`: notices of a kind that each measurement makes."""

    def __init__(self, folder: Path, server: PrivatePostgres, count: int, say: Callable[[str], None]) -> None:
        self.folder, self.server, self.count, self.say = folder, server, count, say

    def grow(self, sizes: list[int]) -> None:
        """Make the copies that are missing."""
        for size in sorted(sizes):
            if not self._marker(size).exists():
                with self._opened(MAIN) as (service, database):
                    self._fill(service, database, size)
                self._copy(MAIN, _name(size))
                self._marker(size).touch()

    def measure(self, size: int, turn: int) -> rows.Figures:
        """What POST, a mail and a GET cost on a fresh copy of the one of this size; `turn` is the seed of who is met.

        All is done twice for the same recipients, and the second time counts: after a checkpoint PostgreSQL logs a page whole when it is
        first changed, which in a copy would be every page, and at work is one in many.
        """
        self._copy(_name(size), TURN)
        people = self._people(size)
        met = random.Random(f"{size} {turn}").sample(range(people), k=self.count)  # as many recipients at every size
        with sinks.running() as sink, self._opened(TURN, **mail.settings(sink.port)) as (service, database), \
                meters.watching(database) as watch:
            server = meters.server_pid(self.server.port)
            found: rows.Figures = {}
            for _ in range(2):
                with service.run("api") as api:
                    rows.load(service, rows.CONNECTIONS, people)  # connections of the pool, prepared statements
                    own, theirs = meters.cpu_s(api.pid), meters.cpu_s(server)
                    posted = rows.load(service, self.count, people)
                    found = {"enqueue": posted["rate"], "p99": posted["p99"], "api_ms": (meters.cpu_s(api.pid) - own) / self.count * 1e3,
                             "enqueue_database_ms": (meters.cpu_s(server) - theirs) / self.count * 1e3}
                    found |= _read(service, watch, api.pid, f"{turn}")
                    with service.run("worker"):  # the posted ones are in-site: deliver them, so that mail alone is measured
                        _settled(watch)
                    service.post_batches(self.count, mail.BODY, recipient=met.__getitem__)
                worked = rows.worked(service, database, self.count)
            if sink.count != 2 * self.count:
                raise SystemExit(f"the sink took {sink.count} of {2 * self.count} messages")
        return found | {"dispatch": worked["rate"], **{name: worked[name] for name in ("worker_ms", "database_ms", "log_bytes")}}

    def audit(self, size: int) -> rows.Figures:
        """Audit the copy of this size and prove a random hundred of its notices; a finding ends the run."""
        with self._opened(_name(size)) as (service, database), meters.watching(database) as watch:
            with service.run("worker"):
                _settled(watch)
            entries, began = watch.value("select size from ledger_head"), time.monotonic()
            service.cli("ledger", "audit", "--config", str(service.folder / "config.toml"))
            took = time.monotonic() - began
            with service.run("api"), service.run("worker"):
                key = Verifier.parse(service.client.get("/v1/ledger/key").text.splitlines()[0])
                for one in _some(watch, PROVED, "proofs"):
                    bundle = service.client.get(f"/v1/notices/{one}/proof", params={"reason": "bench"})
                    if bundle.status_code != 200 or not verify.verify(bundle.content, [key]).ok:
                        raise SystemExit(f"the proof of {one} does not hold: {bundle.status_code} {bundle.text[:300]}")
        return {"audit": entries / took, "entries": float(entries), "proofs": float(PROVED)}

    @contextlib.contextmanager
    def _opened(self, name: str, **settings: str) -> Iterator[tuple[Service, str]]:
        """An installation and its database; the one that grows is made if it is not there."""
        home = self.folder / name
        if name == MAIN and not (home / "bench.json").exists():
            shutil.rmtree(home, ignore_errors=True)
            self.server.execute(f"drop database if exists {MAIN} with (force)")
            self.server.execute(f"create database {MAIN}")
        url = f"postgresql+asyncpg://{ROLE}@127.0.0.1:{self.server.port}/{name}"
        own = {"WORKER__CONCURRENCY": "256", "QUIET__FROM": "00:00", "QUIET__TO": "00:00"}
        with contextlib.closing(Service(home, url, **own | settings)) as service:
            yield service, url

    def _fill(self, service: Service, database: str, size: int) -> None:
        """Bring the growing database to a size, all of it delivered and under a checkpoint."""
        people, chance = self._people(size), random.Random(size)
        with meters.watching(database) as watch, service.run("api"), service.run("worker"):
            if watch.value("select count(*) from recipient") < people:
                service.load_recipients(people)
            stored, began, made = watch.value("select count(*) from notice"), time.monotonic(), 0
            while stored < size:
                some = min(PORTION, size - stored)
                service.post_batches(some, rows.IN_SITE, recipient=lambda _: chance.randrange(people))
                stored, made = stored + some, made + some
                if made % (4 * PORTION) == 0:
                    self.say(f"growth: {stored:,} of {size:,} stored, {made / (time.monotonic() - began):,.0f}/s")
            _settled(watch)
            watch.execute("vacuum analyze")

    def _copy(self, source: str, name: str) -> None:
        """Copy a database and its installation, which nothing uses now."""
        shutil.rmtree(self.folder / name, ignore_errors=True)
        self.server.execute(f"drop database if exists {name} with (force)")
        self.server.execute(f"create database {name} template {source} strategy file_copy", timeout_s=COPY_S)
        shutil.copytree(self.folder / source, self.folder / name)

    def _marker(self, size: int) -> Path:
        return self.folder / f"{_name(size)}.made"

    def _people(self, size: int) -> int:
        return max(self.count, size // NOTICES_EACH)


def _name(size: int) -> str:
    return f"size_{size}"


def _settled(watch: meters.Watch, limit_s: float = 900.0) -> None:
    """Wait until nothing is to do and the ledger has sequenced all."""
    ends = time.monotonic() + limit_s
    while watch.to_do or watch.value("select count(*) from ledger_pending"):
        if time.monotonic() > ends:
            raise SystemExit("the workers do not come to an end")
        time.sleep(0.1)


def _some(watch: meters.Watch, count: int, seed: str) -> list[str]:
    """So many random notices that are served."""
    return watch.ids(f"select id::text from notice where served order by md5(id::text || '{seed}') limit {count}")


def _read(service: Service, watch: meters.Watch, api: int, seed: str) -> rows.Figures:
    """A notice's GET: the median time, and the CPU time of the API, in milliseconds, over notices spread over all."""
    times, own = [], 0.0
    for one in _some(watch, READ, seed):
        if not times:
            own = meters.cpu_s(api)
        began = time.perf_counter()
        if service.client.get(f"/v1/notices/{one}").status_code != 200:
            raise SystemExit("a notice cannot be read")
        times.append((time.perf_counter() - began) * 1e3)
    return {"get_ms": statistics.median(times), "get_api_ms": (meters.cpu_s(api) - own) / len(times) * 1e3}
