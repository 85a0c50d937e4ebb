"""The benchmark's own code at a tiny size: it measures what it says it measures. How long anything took is nobody's business here."""

import re

import pytest

from bench import report, rows
from bench import run as bench_run
from tests.support.needs import needs


@pytest.mark.postgres
def test_dispatch_is_counted_in_the_sink_and_costed(postgres_url):
    """Every message reaches smtp-sink, all evidence is durable, and what it cost is told: some CPU, log bytes and row writes for each."""
    needs("smtp-sink", "install the package postfix")
    figures = rows.email_dispatch(postgres_url, 30)
    assert figures["rate"] > 0
    assert figures["worker_ms"] > 0
    assert figures["log_bytes"] > 100
    assert figures["row_writes"] >= 4  # attempt, evidence, and an update of the notice and of the delivery at the least


@pytest.mark.postgres
def test_posts_over_many_connections_are_all_accepted(postgres_url):
    """The load really comes over many connections, and a run in which one POST is refused is no run."""
    figures = rows.enqueue(postgres_url, 200)
    assert 0 < figures["p50"] <= figures["p99"]


def test_the_table_has_a_row_for_every_goal_and_compares_runs_of_one_hour():
    """Ratios are taken pair by pair and then the median of them; what was not measured says so, or where it is."""
    figures = {"peer": [{"rate": 100.0, "together": 50.0}, {"rate": 10.0, "together": 5.0}, {"rate": 40.0, "together": 20.0}],
               "email, dispatch": [{"rate": 200.0}, {"rate": 25.0}, {"rate": 60.0}]}
    table = report.table(figures, "command", "name", 1.0)
    shown = {line.split(" | ")[0].strip("| "): line for line in table.splitlines() if line.startswith("| ")}
    assert "| 60/s (25–200) | 2.00× |" in shown["e-mail dispatch, one worker"]
    assert "not measured" in shown["recipients/import"]
    assert "not measured" in shown["broadcast expansion"]
    assert "bench.proof" in shown["proof in a ledger of 10⁷ entries"]


def test_a_section_is_replaced_and_the_others_stay(tmp_path):
    """Writing the results again changes this table alone."""
    path = tmp_path / "RESULTS.md"
    path.write_text("# Results\n\n## Speed, 2026-01-01\n\nold\n\n## Kill test\n\nkept\n", "utf-8")
    report.write(path, "## Speed, 2026-02-02\n\nnew\n")
    text = path.read_text("utf-8")
    assert re.findall(r"^## .*$", text, re.MULTILINE) == ["## Speed, 2026-02-02", "## Kill test"]
    assert "old" not in text
    assert "kept" in text


def test_an_interrupted_run_goes_on_with_its_options_and_measures_only_what_is_missing(tmp_path, monkeypatch):
    """What was measured is kept after each measurement; the same name takes up the options and the figures."""
    monkeypatch.setattr(bench_run, "HERE", tmp_path)
    assert bench_run.Run("r", ["--count", "7"]).figures == {}
    run = bench_run.Run("r", [])  # interrupted before anything was measured
    run.once("a", 0, lambda: {"rate": 1.0})

    def interrupted():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run.once("a", 1, interrupted)
    again = bench_run.Run("r", [])
    asked = []
    for turn in range(2):
        again.once("a", turn, lambda turn=turn: asked.append(turn) or {"rate": 2.0})
    assert (again.options, asked, again.figures) == (["--count", "7"], [1], {"a": [{"rate": 1.0}, {"rate": 2.0}]})


def test_growth_is_told_turn_by_turn_against_the_smallest_size():
    """The factor is that of measurements of one turn, and the audit stands in its row."""
    figures = {"growth 10": [{"enqueue": 100.0, "api_ms": 1.0}, {"enqueue": 10.0, "api_ms": 2.0}],
               "growth 1000": [{"enqueue": 90.0, "api_ms": 1.5}, {"enqueue": 9.0, "api_ms": 3.0}],
               "growth, audit": [{"audit": 5000.0, "entries": 3000.0, "proofs": 100.0}]}
    table = report.table(figures, "command", "name", 1.0)
    assert re.search(r"^\| 1,000 \| 50 \(0\.90×\) \| 2\.250 \(1\.50×\) \|", table, re.MULTILINE)
    assert "`ledger audit` found nothing in 3,000 entries; the proofs of a random 100 hold." in table
    assert "| full audit, by the command | ≥ 100,000 entries/s | 5,000/s |" in table
