"""`noticesvc explain` and `noticesvc deadline` beside a second reading of their specification that shares no code with them."""

import datetime as dt
import json
import os
import random
from pathlib import Path

import pytest

from tests.support.shell import run
from tests.vectors.generated_cases import comparable, disagreements, explained, features, make_cases
from tests.vectors.second_deadline import second_deadline
from tests.vectors.second_reading import read_time, second_reading

PUBLISHED = json.loads((Path(__file__).parents[1] / "vectors" / "service-time.json").read_text(encoding="utf-8"))
ENV = {name: value for name, value in os.environ.items() if not name.startswith("NOTICESVC_")}
SEED = 20261009


@pytest.mark.parametrize("case", PUBLISHED, ids=[case["name"] for case in PUBLISHED])
def test_the_second_reading_knows_the_published_cases(case):
    """The oracle itself gives what the published cases expect, to the letter."""
    result = second_reading(case)
    assert {name: result[name] for name in case["expect"]} == case["expect"]


@pytest.mark.parametrize("fixed", [True, False], ids=["fixed seed", "fresh seed"])
def test_both_readings_agree_on_generated_cases(fixed):
    """On 400 cases the command and the second reading, given the evidence backwards, differ in nothing; the seed is printed."""
    seed = SEED if fixed else random.SystemRandom().randrange(10**6)
    print(f"python -m tests.vectors.generated_cases --seed {seed} --count 400")
    cases = make_cases(seed, 0, 400)
    differing = [(place, members, cases[place]) for place, members in disagreements(cases, explained(cases))]
    assert not differing


def test_the_generated_cases_are_about_every_step():
    """A few hundred cases hold enough of each thing that the steps decide; otherwise agreeing would mean little."""
    found = [features(case) for case in make_cases(SEED, 0, 400)]
    assert sum("served" in one for one in found) in range(200, 320)
    for feature, least in {
        "struck": 80, "set aside": 200, "several parts": 80, "rebutted": 100, "unauthenticated": 100, "conflict": 50, "duplicates": 15,
        "provisional": 5, "moved winner": 5, "later deadline date": 5, "independent is another": 5, "served without winner": 60,
        "basis presumed": 1, "basis consequence_on_recipient": 5, "rule court-31": 20, "rule court-95": 20, "rule agreement-6.3-sent": 20,
        **{f"won by {channel}": 5 for channel in ("in_site", "sms", "email", "postal", "announcement")},
    }.items():
        assert sum(feature in one for one in found) >= least, feature


def test_one_changed_answer_is_seen():
    """The comparison is no formality: an answer that is off in one member, however small, is reported by its name."""
    cases = make_cases(SEED, 0, 50)
    answers = explained(cases)
    place = next(n for n, answer in enumerate(answers) if answer["independent"])
    answers[place]["independent"]["served_at"] = answers[place]["independent"]["served_at"].replace("20", "19", 1)
    ((seen, members),) = disagreements(cases, answers)
    assert (seen, list(members)) == (place, ["independent"])


def test_order_and_neighbours_do_not_matter():
    """A case alone, as one object and with its evidence sorted by id, gets the answer that it got in a list."""
    cases = make_cases(SEED, 0, 10)
    for case, among_others in zip(cases, explained(cases), strict=True):
        alone = case | {"evidence": sorted(case["evidence"], key=lambda item: item["id"])}
        done = run("explain", "-", env=ENV, stdin=json.dumps(alone))
        assert done.returncode == 0, done.stderr
        assert comparable(json.loads(done.stdout)) == comparable(among_others)


@pytest.mark.parametrize(("start", "n"), [
    ("2026-10-09T02:00:00Z", 3),         # the specification's own: Saturday the 10th works
    ("2026-02-12T15:59:59Z", 5),         # over Spring Festival, Saturday the 14th worked before and the 28th after
    ("2026-02-12T16:00:00Z", 5),         # one second later it is the 13th in Shanghai
    ("2026-09-18T20:00:00+08:00", 12),   # Sunday the 20th works; mid-autumn and National Day between
    ("2026-04-30T23:59:59-05:00", 3),    # May Day, Saturday the 9th
    ("2025-12-31T00:00:00Z", 1),         # New Year, Sunday the 4th works
    ("2026-12-30T00:00:00Z", 1),         # the last day of the known
    ("2026-12-30T00:00:00Z", 2),         # and one day into a year without data
])
def test_deadlines_by_hand(start, n):
    """The command's deadline is that of a calendar typed from the State Council's notices; a year without data is provisional."""
    done = run("deadline", "--from", start, "--working-days", str(n), env=ENV)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer.pop("calendar_version")
    answer["ends_at"] = read_time(answer["ends_at"])
    assert answer == second_deadline(dt.datetime.fromisoformat(start), n)
