"""The table of a run as Markdown: each row's goal beside what was measured, what it cost, and how cost grows with what is stored."""

import os
import platform
import statistics
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

Runs = Mapping[str, Sequence[Mapping[str, float]]]
_ELSEWHERE = (("proof in a ledger of 10⁷ entries", "≤ 50 ms", "`python -m bench.proof`"),)

_GROWING = (  # what is told of each size: title, key, form
    ("POST/s", "enqueue", "{:,.0f}"), ("POST: API, CPU ms", "api_ms", "{:.3f}"),
    ("PostgreSQL, CPU ms", "enqueue_database_ms", "{:.3f}"), ("e-mail dispatch/s", "dispatch", "{:,.0f}"),
    ("worker, CPU ms", "worker_ms", "{:.3f}"), ("PostgreSQL, CPU ms", "database_ms", "{:.3f}"), ("GET, ms", "get_ms", "{:.1f}"),
    ("GET: API, CPU ms", "get_api_ms", "{:.2f}"))


def _median(figures: Runs, name: str, key: str) -> float | None:
    values = [one[key] for one in figures.get(name, ()) if key in one]
    return statistics.median(values) if values else None


def _shown(figures: Runs, name: str, key: str = "rate", unit: str = "/s") -> str:
    values = [one[key] for one in figures.get(name, ()) if key in one]
    if not values:
        return "not measured"
    middle = f"{statistics.median(values):,.0f}{unit}"
    return middle if len(values) == 1 else f"{middle} ({min(values):,.0f}–{max(values):,.0f})"


def _of(figures: Runs, name: str, base: str, key: str = "rate", base_key: str = "rate") -> str:
    """How many times as fast as the base, pair by pair in the order of the runs, so that both met the same hour."""
    pairs = [one[key] / other[base_key] for one, other in zip(figures.get(name, ()), figures.get(base, ()), strict=False)
             if key in one and base_key in other]
    return f"{statistics.median(pairs):.2f}×" if pairs else "–"


def _bulk(figures: Runs) -> str:
    value = _median(figures, "urgent", "bulk")
    return "many" if value is None else f"{value:,.0f}"


def table(figures: Runs, command: str, run: str, took_s: float) -> str:
    """Everything that was measured."""
    where = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    how = ("e-mails of about 2 KB to Postfix's smtp-sink on loopback, SMS to a local HTTP gateway, PostgreSQL with fsync; medians of the "
           "runs, smallest and largest behind them")
    lines = [
        f"## Speed, {datetime.now(UTC):%Y-%m-%d}", "", f"`{command}` · run {run}, {took_s:,.0f} s · {where} · {how}", "",
        "| work | goal | measured | against the peer of the same run |", "|---|---|---|---|"]
    rows: list[tuple[str, str, Callable[[], str], Callable[[], str]]] = [
        ("e-mail dispatch, one worker", "≥ 2× the peer", lambda: _shown(figures, "email, dispatch"),
         lambda: _of(figures, "email, dispatch", "peer")),
        ("the peer: django-post_office, 2 processes", "", lambda: _shown(figures, "peer"), lambda: "1"),
        ("the peer until its results are stored", "", lambda: _shown(figures, "peer", "recorded"), lambda: ""),
        ("e-mail, first POST to last evidence", "≥ 2× the peer", lambda: _shown(figures, "email, together"),
         lambda: _of(figures, "email, together", "peer", base_key="together")),
        ("the same on SQLite, one process", "", lambda: _shown(figures, "email, together, SQLite"),
         lambda: _of(figures, "email, together, SQLite", "peer", base_key="together")),
        ("the peer's enqueue and dispatch", "", lambda: _shown(figures, "peer", "together"), lambda: "1"),
        ("SMS through an HTTP gateway, first POST to last evidence", "≥ 1,000/s", lambda: _shown(figures, "SMS, together"), lambda: ""),
        ("SMS dispatch, one worker", "", lambda: _shown(figures, "SMS, dispatch"), lambda: ""),
        ("in-site dispatch, one worker", "≥ 3,000/s", lambda: _shown(figures, "in-site, dispatch"), lambda: ""),
        ("POST /v1/notices, 64 connections, each durable", "≥ 3,000/s", lambda: _shown(figures, "enqueue"), lambda: ""),
        ("the same, 99th percentile", "≤ 50 ms", lambda: _shown(figures, "enqueue", "p99", " ms"), lambda: ""),
        (f"urgent notice while {_bulk(figures)} bulk ones go out, 99th percentile", "≤ 1 s",
         lambda: _shown(figures, "urgent", "p99", " ms"), lambda: ""),
        ("e-mail dispatch, two workers", "≥ 1.7× one", lambda: _shown(figures, "email, dispatch, 2 workers"),
         lambda: _of(figures, "email, dispatch, 2 workers", "email, dispatch") + " of one worker"),
        ("recipients/import", "≥ 5,000/s", lambda: _shown(figures, "import"), lambda: ""),
        ("broadcast expansion", "≥ 20,000 recipients/s", lambda: _shown(figures, "broadcast"), lambda: ""),
        ("urgent notice while a broadcast runs, 99th percentile", "≤ 1 s", lambda: _shown(figures, "broadcast", "p99", " ms"), lambda: ""),
        ("full audit, by the command", "≥ 100,000 entries/s", lambda: _shown(figures, "growth, audit", "audit"), lambda: ""),
    ]
    lines += [f"| {work} | {goal} | {measured()} | {ratio()} |" for work, goal, measured, ratio in rows]
    lines += [f"| {work} | {goal} | not here: {where} | |" for work, goal, where in _ELSEWHERE]
    return "\n".join([*lines, "", *_costs(figures), *_growth(figures)]) + "\n"


def _costs(figures: Runs) -> list[str]:
    lines = ["What one notice costs:", "",
             "| | worker, CPU ms | PostgreSQL, CPU ms | log bytes | row writes | worker's memory, MiB |", "|---|---|---|---|---|---|"]
    for name in ("email, dispatch", "SMS, dispatch", "in-site, dispatch", "peer"):
        if figures.get(name):
            values = [_median(figures, name, key) for key in ("worker_ms", "database_ms", "log_bytes", "row_writes", "rss_mib")]
            formats = ("{:.3f}", "{:.3f}", "{:,.0f}", "{:.1f}", "{:.0f}")
            shown = [form.format(value) if value is not None else "" for form, value in zip(formats, values, strict=True)]
            lines.append(f"| {name} | {' | '.join(shown)} |")
    api = _median(figures, "enqueue", "api_ms")
    before, after = (_median(figures, "import", key) for key in ("rss_before_mib", "rss_mib"))
    if api is not None:
        lines += ["", f"A POST costs the API {api:.3f} ms of CPU."]
    if before is not None and after is not None:
        lines += ["", f"The importing process had {before:.0f} MiB after a tenth of the recipients and {after:.0f} MiB after all."]
    small, large = (_median(figures, "broadcast", key) for key in ("small_mib", "rss_mib"))
    if small is not None and large is not None:
        lines += ["", f"The worker had at most {small:.0f} MiB with a tenth of the broadcast and {large:.0f} MiB with all of it."]
    return [*lines, ""]


def _growth(figures: Runs) -> list[str]:
    sizes = sorted(int(name.split()[1]) for name in figures if name.startswith("growth "))
    if not sizes:
        return []
    how = ("The same work on databases that hold more (in-site notices made by /batch and delivered; a recipient for each ten), measured "
           "in turns, medians; behind each the factor over the smallest, turn by turn:")
    lines = [how, "",
             "| stored notices | " + " | ".join(title for title, _, _ in _GROWING) + " |", "|---" * (len(_GROWING) + 1) + "|"]
    for size in sizes:
        cells = []
        for _, key, form in _GROWING:
            value = _median(figures, f"growth {size}", key)
            ratio = "" if size == sizes[0] else f" ({_of(figures, f'growth {size}', f'growth {sizes[0]}', key, key)})"
            cells.append("" if value is None else form.format(value) + ratio)
        lines.append(f"| {size:,} | {' | '.join(cells)} |")
    if audited := figures.get("growth, audit"):
        entries, proofs = audited[0]["entries"], audited[0]["proofs"]
        lines += ["", f"At the end `ledger audit` found nothing in {entries:,.0f} entries; the proofs of a random {proofs:.0f} hold."]
    return [*lines, ""]


def write(path: Path, text: str) -> None:
    """Replace the section of this title in the results, or add it."""
    title = text.splitlines()[0].split(",")[0]
    old = path.read_text("utf-8") if path.exists() else "# Results\n\nFigures of one run may be compared with each other only.\n"
    sections = ("\n" + old).split("\n## ")
    kept = [s for s in sections[1:] if not ("## " + s).startswith(title)]
    path.write_text(
        sections[0].strip("\n") + "\n\n" + text + "".join("\n" + ("## " + s).strip("\n") + "\n" for s in kept), "utf-8")
