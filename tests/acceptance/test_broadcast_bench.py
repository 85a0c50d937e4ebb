"""Broadcasts at small sizes by the engine of `make soak`: killed, partly unreachable, paused and cancelled. How long it takes is nobody's
business here.
"""

import pytest

from bench.broadcast import exactly_once, expected_unserved, hold, making, results, unserved
from bench.broadcast.audience import csv, import_line, imported
from bench.broadcast.house import Kept, opened
from bench.crash.lines import Lines

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]
SEED = 20261126


@pytest.mark.kill
@pytest.mark.postgres
def test_everybody_gets_one_notice_whatever_is_killed(postgres_url, tmp_path):
    """Through five SIGKILLs, in the upload and on the way, 2,000 recipients get one notice each, and every poll's counts add up."""
    numbers, kept = range(2000), Kept(tmp_path / "run.json")
    with opened(tmp_path / "s", postgres_url, (None,)) as house:
        imported(house, numbers)
        figures, wrong = exactly_once.killed(house, numbers, kept, seed=SEED, kills=5)
        wrong += exactly_once.stored_once(postgres_url, kept.get("broadcast"), len(numbers))
        wrong += exactly_once.proved(house, kept.get("broadcast"), numbers, tmp_path, seed=SEED, proofs=2)
    assert wrong == []
    assert (figures["kills"], figures["polls"] > 0) == (5, True)


def test_five_thousand_in_one_process_and_urgent_notices_beside_them(tmp_path):
    """On SQLite everybody is served once, and single notices that come in between are dispatched."""
    with opened(tmp_path / "s", None, (None,)) as house:
        imported(house, range(5000))
        figures, wrong = exactly_once.quiet(house, range(5000), urgent=True)
    assert wrong == []
    assert figures["polls"] > 0
    assert figures["all_mib"] > 0


@pytest.mark.postgres
def test_notices_are_made_although_none_is_due(postgres_url, tmp_path):
    """A worker of its own makes one for each of 10,000, some portions ahead of what is being written."""
    with opened(tmp_path / "d", postgres_url, ("api", "worker")) as house:
        imported(house, range(10_000))
        figures, wrong = making.measure(house, postgres_url, range(10_000))
    assert wrong == []
    assert figures["making_s"] > 0


@pytest.mark.postgres
def test_the_unserved_are_those_whom_the_sinks_could_not_reach(postgres_url, tmp_path):
    """The report names exactly those whose mail bounced and whose SMS were lost, and those without a contact."""
    figures, wrong = unserved.measure(tmp_path / "b", postgres_url, (None,), recipients=600, seed=SEED)
    assert wrong == []
    assert min(figures[fate] for fate in ("dead", "busy", "half", "nobody")) > 0
    assert figures["unserved"] >= figures["dead"] + figures["nobody"]


@pytest.mark.postgres
def test_a_pause_loses_nothing_and_a_cancel_takes_nothing_back(postgres_url, tmp_path):
    """After the answer no more goes out than was in hand; resumed, everybody has one mail; cancelled, what was sent stands."""
    figures, wrong = hold.measure(tmp_path / "c", postgres_url, (None,), recipients=400, concurrency=8, late_is_wrong=False)
    assert wrong == []
    for verb in ("pause", "cancel"):
        assert figures[f"{verb}_after"] <= 8
    assert 0 < figures["sent_before_cancel"] < 400


def test_what_the_sinks_saw_is_judged_without_the_service(tmp_path):
    """A mail that bounced and an SMS that was reported lost reached nobody; whoever was not uploaded is not asked for."""
    people = [["ok", "97"], ["bounce", "97"], ["gone"], [], ["ok"]]
    recipients, upload = tmp_path / "r.ndjson", tmp_path / "u.csv"
    recipients.write_text("".join(import_line(number, [{"channel": "x", "address": f"{number}.{one}"} for one in mine])
                                  for number, mine in enumerate(people)))
    upload.write_bytes(b"".join(csv(range(4))))
    mail, sms = Lines(tmp_path / "mail"), Lines(tmp_path / "sms")
    for number, bounced in ((0, False), (1, True)):
        mail.write(event="taken", to=f"{number}.{people[number][0]}", reference=f"n{number}.email.1", answered=True)
        if bounced:
            mail.write(event="bounced", to=f"{number}.{people[number][0]}", reference=f"n{number}.email.1")
        sms.write(event="taken", to=f"{number}.97", reference=f"n{number}.sms.1", answered=True)
        sms.write(event="reported", reference=f"n{number}.sms.1", status=200, lost=True)
    mail.write(event="refused", to="2.gone", reference="n2.email.1", for_good=True)
    assert expected_unserved.expected(recipients, upload, tmp_path / "mail", tmp_path / "sms") == {"r1", "r2", "r3"}


def test_the_section_of_a_run_has_goals_figures_and_what_was_wrong():
    """What was not measured says so; memory is told as a ratio of the two sizes; a finding stands in the table."""
    table = results.table("command", "somewhere", {
        "a small": ({"worker_mib": 100.0, "api_mib": 50.0, "expansion": 1000.0}, []),
        "a large": ({"worker_mib": 110.0, "api_mib": 51.0, "expansion": 30_000.0}, ["something is lost"])})
    assert "| ≥ 20,000 recipients/s | 30,000/s |" in table
    assert "100 → 110 MiB, 1.10×" in table
    assert "nothing, something is lost; not measured" in table
