"""What a run of broadcasts found, as a section of bench/RESULTS.md: goals beside figures, and what was found wrong."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from bench import report

RESULTS = Path(__file__).parents[1] / "RESULTS.md"
Done = Mapping[str, tuple[Mapping[str, float], list[str]]]


def _of(done: Done, part: str, key: str) -> float | None:
    return done[part][0].get(key) if part in done else None


def _shown(value: float | None, form: str) -> str:
    return "not measured" if value is None else form.format(value)


def _found(done: Done, part: str) -> str:
    return "not measured" if part not in done else "; ".join(done[part][1]) or "nothing"


def table(command: str, where: str, done: Done) -> str:
    """The section."""
    small, large = _of(done, "a small", "worker_mib"), _of(done, "a large", "worker_mib")
    api_small, api_large = _of(done, "a small", "api_mib"), _of(done, "a large", "api_mib")
    below_small, below_large = _of(done, "a small", "worker, below it_mib"), _of(done, "a large", "worker, below it_mib")

    def grown(before: float | None, after: float | None) -> str:
        return "not measured" if before is None or after is None else f"{before:.0f} → {after:.0f} MiB, {after / before:.2f}×"

    def last(what: str) -> str:
        return _shown(_of(done, "c", f"{what}_last_s"), "{:.2f} s")
    rows = [
        ("expansion, nothing killed, beside delivery", "≥ 20,000 recipients/s", _shown(_of(done, "a large", "expansion"), "{:,.0f}/s")),
        ("the same while nothing is due yet, so that nothing is delivered beside it", "≥ 20,000 recipients/s",
         _shown(_of(done, "d", "making"), "{:,.0f}/s")),
        ("what a notice costs then: CPU of the worker, of PostgreSQL", "",
         _shown(_of(done, "d", "worker_us"), "{:.0f} µs") + ", " + _shown(_of(done, "d", "postgresql_us"), "{:.0f} µs")),
        ("expansion beside delivery, at a hundredth of the size", "", _shown(_of(done, "a small", "expansion"), "{:,.0f}/s")),
        ("approval to the last notice delivered in-site", "", _shown(_of(done, "a large", "whole"), "{:,.0f}/s")),
        ("recipients/import before it", "≥ 5,000/s", _shown(_of(done, "a large", "import"), "{:,.0f}/s")),
        ("upload as CSV", "", _shown(_of(done, "a large", "upload"), "{:,.0f}/s")),
        ("single urgent notice while it runs, 99th percentile", "≤ 1 s", _shown(_of(done, "a large", "urgent_p99"), "{:,.0f} ms")),
        ("highest memory of the worker, a hundredth → full size", "≤ 1.2×", grown(small, large)),
        ("highest memory of the worker's second process", "≤ 1.2×", grown(below_small, below_large)),
        ("highest memory of the API", "≤ 1.2×", grown(api_small, api_large)),
        ("kills, of them on the way to the last notice", "", _shown(_of(done, "a killed", "kills"), "{:.0f}") + ", "
         + _shown(_of(done, "a killed", "on_the_way"), "{:.0f}")),
        ("polls whose counts were checked", "", _shown(_of(done, "a killed", "polls"), "{:,.0f}")),
        ("found wrong: not killed, small and full; killed; while nothing is due", "nothing",
         f"{_found(done, 'a small')}, {_found(done, 'a large')}; {_found(done, 'a killed')}; {_found(done, 'd')}"),
        ("recipients over mail and SMS, unserved", "as the sinks say",
         f"{_shown(_of(done, 'b', 'recipients'), '{:,.0f}')}, {_shown(_of(done, 'b', 'unserved'), '{:,.0f}')}; wrong: {_found(done, 'b')}"),
        ("last dispatch after the answer to pause, to cancel", "≤ 2 s",
         f"{last('pause')}, {last('cancel')}; wrong: {_found(done, 'c')}"),
    ]
    lines = [f"## Broadcasts, {datetime.now(UTC):%Y-%m-%d}", "",
             f"`{command}` · {where} · PostgreSQL with fsync; API and worker a process each; mail and SMS to local sinks", "",
             "| what | goal | measured |", "|---|---|---|", *(f"| {what} | {goal} | {measured} |" for what, goal, measured in rows)]
    return "\n".join(lines) + "\n"


def append(path: Path, command: str, where: str, done: Done) -> None:
    """Write the section, in place of that of an earlier run."""
    text = table(command, where, done)
    print(text)
    report.write(path, text)
