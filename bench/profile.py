"""Where the processor time of an e-mail goes: a worker dispatches mails while its own clock interrupts it and notes what it does.

usage: python -m bench.profile [--count N]; prints processor milliseconds a mail by part and by function, those of PostgreSQL and of
the sink beside them, and how many cores were busy. The clock (ITIMER_PROF) runs with the processor time of the process, waiting
does not count; system calls count for the function that makes them. `python -m bench.profile worker FILE …` is that worker.
"""

import argparse
import collections
import json
import signal
import sys
import tempfile
import time
from pathlib import Path
from types import FrameType
from urllib.parse import urlsplit

from bench import mail, meters, rows, service
from bench import sink as sinks
from tests.support import postgres

ROOT = f"{Path(__file__).resolve().parents[1]}/"
OURS = ("providers/", *(f"noticesvc/{room}/" for room in ("dispatch", "domain", "ledger", "operations", "proof", "rendering", "storage")))
EVERY_S = 0.001
# The first of these that is found anywhere in a stack names the part. What an operation asks the database for runs in a greenlet of
# its own, so that waiting for the answer and taking it in is counted for the driver, and only making statements and rows for the
# operation.
PARTS = (
    ("operations/sequence.py", "sequencing"), ("operations/record.py", "recording"), ("operations/seal.py", "sealing intents"),
    ("operations/claim.py", "claiming"), ("providers/", "the call: SMTP"), ("dispatch/call.py", "the call: rendering, journal"),
    ("storage/", "driver, transactions"), ("dispatch/housekeeping.py", "housekeeping"), ("dispatch/", "the worker's loops"),
)


def main() -> int:
    """Measure, and print."""
    if sys.argv[1:2] == ["worker"]:
        return _worker(Path(sys.argv[2]), sys.argv[3:])
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--count", type=int, default=5000, help="mails")
    count = options.parse_args().count
    with (tempfile.TemporaryDirectory() as folder, postgres.running(durable=True, settings=service.POSTGRESQL) as server,
          sinks.running() as sink):
        database, found = server.new_database(), Path(folder) / "samples"
        with rows._installed(database, **mail.settings(sink.port)) as installed:
            with installed.run("api"):
                installed.load_recipients(count)
                installed.post_batches(count, mail.BODY)
            service.NOTICESVC[1:] = ["-m", "bench.profile", "worker", str(found)]
            pids = meters.server_pid(urlsplit(database).port or 0), sink.process.pid
            with meters.watching(database) as watch:
                spent = [meters.cpu_s(pid) for pid in pids]
                with installed.run("worker") as worker:
                    own, began = meters.cpu_s(worker.pid), time.monotonic()
                    rate = watch.rate(count)
                    took, own = time.monotonic() - began, meters.cpu_s(worker.pid) - own
                    spent = [meters.cpu_s(pid) - before for pid, before in zip(pids, spent, strict=True)]
        _print(json.loads(found.read_text()), count, rate, own, spent, took)
    return 0


def _print(samples: dict[str, dict[str, int]], count: int, rate: float, own: float, spent: list[float], took: float) -> None:
    total, a_mail = sum(samples["parts"].values()), own / count * 1e3
    print(f"{count} mails, {rate:,.0f}/s; CPU ms a mail: worker {a_mail:.3f}, PostgreSQL {spent[0] / count * 1e3:.3f}, "
          f"sink {spent[1] / count * 1e3:.3f}; cores busy {(own + sum(spent)) / took:.2f} ({total} samples)")
    for title, names in (("part", samples["parts"]), ("function, with what it calls", samples["functions"])):
        print(f"\n| {title} | share | CPU ms a mail |\n|---|---|---|")
        for name, seen in sorted(names.items(), key=lambda one: -one[1])[:25]:
            print(f"| {name} | {seen / total:.1%} | {seen / total * a_mail:.3f} |")


def _worker(found: Path, arguments: list[str]) -> int:
    """Run the command line with the clock on, and write down what was seen when it ends."""
    parts: collections.Counter[str] = collections.Counter()
    functions: collections.Counter[str] = collections.Counter()

    def note(_number: int, frame: FrameType | None) -> None:
        files, seen = "", set[str]()
        while frame is not None:
            code = frame.f_code
            inside = code.co_filename.removeprefix(ROOT)
            if inside.startswith(OURS):
                files += f" {inside.removeprefix('noticesvc/')}"
                seen.add(f"{inside} {code.co_qualname.replace('.<locals>', '')}")
            frame = frame.f_back
        parts[next((name for path, name in PARTS if f" {path}" in files), "the event loop")] += 1
        functions.update(seen)

    from noticesvc.bootstrap import serving
    ready = serving._ready

    def begin(*given: object) -> None:
        signal.signal(signal.SIGPROF, note)
        signal.setitimer(signal.ITIMER_PROF, EVERY_S, EVERY_S)
        ready(*given)  # type: ignore[arg-type]

    serving._ready = begin  # type: ignore[assignment]
    from noticesvc.cli.main import main as command
    sys.argv[1:] = arguments
    try:
        command()
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        found.write_text(json.dumps({"parts": parts, "functions": functions}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
