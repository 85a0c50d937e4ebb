"""`make bench`: every measurement in one run, peers beside, the table printed and kept in bench/RESULTS.md.

usage: python -m bench.run [--count N] [--runs R] [--only PART] [--no-peer]

Figures of one run on one machine may be compared with each other, and with nothing else. A part that was measured in this
run already (bench/results/<run>.json) is not measured again, so that a broken run can be resumed with --resume.
"""

import argparse
import json
import os
import platform
import statistics
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from bench import mail
from tests.support.postgres import running

HERE = Path(__file__).parent
RESULTS = HERE / "RESULTS.md"


def parts(count: int, database: Callable[[], str], *, with_peer: bool) -> dict[str, Callable[[], dict[str, float]]]:
    """The measurements by name; each answers its figures."""
    made: dict[str, Callable[[], dict[str, float]]] = {
        "noticesvc, PostgreSQL, worker alone": lambda: {"dispatch": mail.dispatch(database(), count)},
        "noticesvc, PostgreSQL, 2 workers": lambda: {"dispatch": mail.dispatch(database(), count, workers=2)},
        "noticesvc, PostgreSQL, API and worker": lambda: {"together": mail.together(database(), count)},
        "noticesvc, SQLite, API and worker": lambda: {"together": mail.together(None, count)},
    }
    if with_peer:
        made["django-post_office, PostgreSQL, 2 processes"] = lambda: dict(
            zip(("dispatch", "together"), mail.peer(database(), count), strict=True)
        )
    return made


def main() -> None:
    """Measure and write the table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--count", type=int, default=5000, help="e-mails a measurement")
    options.add_argument("--runs", type=int, default=3, help="runs of each; the median is quoted")
    options.add_argument("--only", default="", help="measure only parts whose name holds this")
    options.add_argument("--no-peer", action="store_true", help="leave the peer out (it needs the extra `bench`)")
    options.add_argument("--resume", metavar="RUN", help="go on with an earlier run")
    chosen = options.parse_args()
    run = chosen.resume or datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    kept = HERE / "results" / f"{run}.json"
    kept.parent.mkdir(exist_ok=True)
    figures: dict[str, list[dict[str, float]]] = json.loads(kept.read_text()) if kept.exists() else {}
    with running(durable=True) as postgres:
        for turn in range(chosen.runs):
            for name, measure in parts(chosen.count, postgres.new_database, with_peer=not chosen.no_peer).items():
                if chosen.only not in name or len(figures.setdefault(name, [])) > turn:
                    continue
                figures[name].append(measure())
                kept.write_text(json.dumps(figures))
                print(f"run {turn + 1}: {name}: " + ", ".join(f"{k} {v:,.0f}/s" for k, v in figures[name][-1].items()), flush=True)
    command = f"python -m bench.run --count {chosen.count} --runs {chosen.runs}" + (f" --only {chosen.only!r}" if chosen.only else "")
    text = table(figures, command)
    print(text)
    if not chosen.only:
        write(text)


def table(figures: dict[str, list[dict[str, float]]], command: str) -> str:
    """The figures as Markdown: medians, with the smallest and largest."""
    where = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    lines = [
        f"## E-mail, {datetime.now(UTC):%Y-%m-%d}",
        "",
        f"`{command}` · {where} · e-mails of about 2 KB to Postfix's smtp-sink on loopback, commits flushed to disk",
        "",
        "| | dispatch alone, messages/s | enqueue and dispatch together, messages/s |",
        "|---|---|---|",
    ]
    for name, runs in figures.items():
        if runs:
            cells = [_cell([r[k] for r in runs if k in r]) for k in ("dispatch", "together")]
            lines.append(f"| {name} | {cells[0]} | {cells[1]} |")
    return "\n".join(lines) + "\n"


def _cell(values: list[float]) -> str:
    return f"{statistics.median(values):,.0f} ({min(values):,.0f}–{max(values):,.0f})" if values else ""


def write(text: str) -> None:
    """Replace the section of this title in RESULTS.md, or add it."""
    title = text.splitlines()[0].split(",")[0]
    old = RESULTS.read_text("utf-8") if RESULTS.exists() else "# Results\n\nFigures of one run may be compared with each other only.\n"
    sections = ("\n" + old).split("\n## ")
    kept = [s for s in sections[1:] if not ("## " + s).startswith(title)]
    RESULTS.write_text(
        sections[0].strip("\n") + "\n\n" + "\n".join(("## " + s).strip("\n") + "\n" for s in kept) + ("\n" if kept else "") + text, "utf-8"
    )


if __name__ == "__main__":
    sys.exit(main())
