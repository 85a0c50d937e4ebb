"""`python -m bench.broadcast`: broadcasts at full size, on a PostgreSQL of its own with fsync on. Part of `make soak`.

(a) RECIPIENTS (10⁶) imported, uploaded, approved, expanded and delivered in-site: once at a hundredth of the size and once at full size
without kills, for rates, memory and urgent notices beside it; then with KILLS, of which nothing may be lost or doubled.
(b) 50,000 recipients over mail and SMS, some unreachable: the report against the sinks. (c) Pause and cancel under load. (d) Notices
made while none is due, RECIPIENTS of them.
The seed is printed and makes the same run again; an interrupted run goes on with --resume DIR. Results go to bench/RESULTS.md. Exit
status 0: nothing found wrong.
"""

import argparse
import os
import platform
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.broadcast import exactly_once, hold, making, results, unserved
from bench.broadcast.audience import imported
from bench.broadcast.house import Kept, opened
from bench.service import POSTGRESQL
from tests.support import postgres

ROLES = ("api", "worker")
PARTS = ("a", "b", "c", "d")


def main() -> int:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m bench.broadcast", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipients", type=int, default=1_000_000, help="of (a)")
    parser.add_argument("--reached", type=int, default=50_000, help="recipients of (b)")
    parser.add_argument("--held", type=int, default=20_000, help="recipients of (c)")
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--proofs", type=int, default=100, help="notices of (a) whose proofs are verified")
    parser.add_argument("--only", choices=PARTS, default=None)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--resume", type=Path, default=None, metavar="DIR", help="go on with the run in DIR")
    parser.add_argument("--results", type=Path, default=results.RESULTS, help="where the rows go")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what was started ends with us, as on Ctrl-C
    folder = asked.resume or Path(tempfile.mkdtemp(prefix="noticesvc-broadcast-"))
    folder.chmod(0o711)  # PostgreSQL runs as somebody else and must find its home in it
    kept = Kept(folder / "run.json")
    seed = kept.once("seed", lambda: asked.seed if asked.seed is not None else random.SystemRandom().randrange(10**9))
    sizes = kept.once("sizes", lambda: {"recipients": asked.recipients, "reached": asked.reached, "held": asked.held, "kills": asked.kills,
                                        "proofs": asked.proofs})
    print(f"seed {seed}, records in {folder}; goes on after an interruption with --resume {folder}", flush=True)
    port = kept.once("port", postgres.free_port)
    with postgres.running(durable=True, home=folder / "postgres", port=port, settings=POSTGRESQL) as server:
        run = Run(folder, kept, seed, sizes, server)
        for part in PARTS:
            if asked.only in (None, part):
                getattr(run, part)()
    command = (f"python -m bench.broadcast --recipients {sizes['recipients']} --reached {sizes['reached']} --held {sizes['held']} "
               f"--kills {sizes['kills']} --seed {seed}")
    where = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    results.append(asked.results, command, where, run.done)
    return 1 if any(wrong for _, wrong in run.done.values()) else 0


class Run:
    """The parts, each kept when it is whole."""

    def __init__(self, folder: Path, kept: Kept, seed: int, sizes: dict[str, int], server: postgres.PrivatePostgres) -> None:
        self._folder, self._kept, self._seed, self._sizes, self._server = folder, kept, seed, sizes, server
        self.done: dict[str, Any] = {}

    def _once(self, name: str, measure: Callable[[], tuple[dict[str, float], list[str]]]) -> None:
        began = time.monotonic()

        def whole() -> Any:
            figures, wrong = measure()
            return figures | {"took_s": time.monotonic() - began}, wrong
        self.done[name] = figures, wrong = self._kept.once(name, whole)
        print(f"{name}: " + ", ".join(f"{key} {value:,.2f}" for key, value in figures.items()), flush=True)
        for finding in wrong:
            print(f"{name}: FOUND {finding}", flush=True)

    def _database(self, name: str) -> str:
        return str(self._kept.once(f"database {name}", self._server.new_database))

    def a(self) -> None:
        """Exactly once."""
        count = self._sizes["recipients"]
        small, whole = range(max(1, count // 100)), range(count)
        for name, numbers in (("small", small), ("large", whole)):
            self._once(f"a {name}", lambda name=name, numbers=numbers: self._quiet(name, numbers))  # type: ignore[misc]
        self._once("a killed", lambda: self._killed(whole))

    def _quiet(self, name: str, numbers: range) -> tuple[dict[str, float], list[str]]:
        with opened(self._folder / name, self._database(name), ROLES) as house:
            began = time.monotonic()
            imported(house, numbers)
            took = time.monotonic() - began
            figures, wrong = exactly_once.quiet(house, numbers, urgent=name == "large")
            return figures | {"import": len(numbers) / took}, wrong

    def _killed(self, numbers: range) -> tuple[dict[str, float], list[str]]:
        kept = Kept(self._folder / "killed.json")
        with opened(self._folder / "large", self._database("large"), ROLES) as house:
            if self._kept.get("a large") is None:
                imported(house, numbers)
            figures, wrong = exactly_once.killed(house, numbers, kept, seed=self._seed, kills=self._sizes["kills"])
            wrong += exactly_once.stored_once(self._database("large"), kept.get("broadcast"), len(numbers))
            wrong += exactly_once.proved(house, kept.get("broadcast"), numbers, self._folder, seed=self._seed, proofs=self._sizes["proofs"])
        return figures, wrong

    def b(self) -> None:
        """The report against the sinks."""
        count = self._sizes["reached"]
        self._once("b", lambda: unserved.measure(self._folder / "b", self._database("b"), ROLES, recipients=count, seed=self._seed))

    def c(self) -> None:
        """Pause and cancel."""
        self._once("c", lambda: hold.measure(self._folder / "c", self._database("c"), ROLES, recipients=self._sizes["held"]))

    def d(self) -> None:
        """Expansion with nothing beside it."""
        numbers = range(self._sizes["recipients"])

        def made() -> tuple[dict[str, float], list[str]]:
            with opened(self._folder / "d", self._database("d"), ROLES) as house:
                imported(house, numbers)
                return making.measure(house, self._database("d"), numbers)
        self._once("d", made)


if __name__ == "__main__":
    sys.exit(main())
