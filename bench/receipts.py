"""The receipt storm at length: two thousand sequences of receipts on each database, and what they amount to in the end.

`python -m bench.receipts [--sequences N] [--seed N] [--database KIND]`, also part of `make soak`. The engine and the short form are
tests/support/storm.py and tests/acceptance/test_receipt_storm.py. Exit status 0: nothing found. A result is added to RESULTS.md.
"""

import argparse
import asyncio
import random
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from tests.support import postgres
from tests.support.process import running
from tests.support.storm import Storm
from tests.support.storm_vendors import vendors

RESULTS = Path(__file__).with_name("RESULTS.md")
_HEAD = "\n## Receipt storm (`python -m bench.receipts`)\n\n"
_TABLE = ("| day | database | seed | sequences | callbacks | statements | struck | conflict | rebutted | duplicates | set aside "
          "| several parts | found wrong | s |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n")


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m bench.receipts", description="Throw receipts at the service; compare what it says.")
    parser.add_argument("--sequences", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--database", choices=["sqlite", "postgresql", "both"], default="both")
    asked = parser.parse_args()
    seed = asked.seed if asked.seed is not None else random.SystemRandom().randrange(10**9)
    wrong = 0
    for kind in ("sqlite", "postgresql"):
        if asked.database not in (kind, "both"):
            continue
        _say(f"seed {seed}, {kind}")
        with tempfile.TemporaryDirectory(prefix="noticesvc-storm-") as folder:
            if kind == "sqlite":
                wrong += asyncio.run(_one(kind, None, Path(folder), seed, asked.sequences))
            else:
                with postgres.running(durable=False) as server:
                    wrong += asyncio.run(_one(kind, server.new_database(), Path(folder), seed, asked.sequences))
    return 1 if wrong else 0


async def _one(kind: str, url: str | None, folder: Path, seed: int, sequences: int) -> int:
    began = time.monotonic()
    async with running(folder, url, sms={"unknown_subscriber_errors": ["001"]}) as run, vendors(run, seed, sequences) as others:
        await run.service.start()
        storm = Storm(run, seed, sequences, others)
        await storm.blow()
    took = time.monotonic() - began
    for sentence in storm.wrong[:20]:
        _say(f"wrong: {sentence}")
    _say(f"{kind}: {dict(storm.seen)} {dict(storm.shares)}, {len(storm.wrong)} wrong, {took:.0f} s")
    callbacks = sum(count for what, count in storm.seen.items() if what.startswith("callback"))
    statements = sum(count for what, count in storm.seen.items() if what.startswith("statement"))
    share = [f"{100 * storm.shares[name] / sequences:.0f} %" for name in
             ("struck", "conflict", "rebutted", "duplicates", "set aside", "several parts")]
    _append(f"| {datetime.now(UTC):%Y-%m-%d} | {kind} | {seed} | {sequences} | {callbacks} | {statements} | {' | '.join(share)} "
           f"| {len(storm.wrong) or 'nothing'} | {took:.0f} |\n")
    return len(storm.wrong)


def _append(row: str) -> None:
    """Add a row to the results, under a head of their own."""
    text = RESULTS.read_text("utf-8") if RESULTS.exists() else "# Results\n"
    before, head, after = text.partition(_HEAD)
    if not head:
        RESULTS.write_text(text.rstrip("\n") + "\n" + _HEAD + _TABLE + row, "utf-8")
        return
    ours, sep, rest = after.partition("\n## ")
    RESULTS.write_text(before + head + ours.rstrip("\n") + "\n" + row + sep + rest, "utf-8")


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
