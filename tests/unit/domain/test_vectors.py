"""The published cases of service time, run through the same door as `noticesvc explain`."""

import json
from pathlib import Path

import pytest

from noticesvc.domain.explain import explain_lines
from noticesvc.domain.instant import parse

CASES = json.loads((Path(__file__).parents[2] / "vectors" / "service-time.json").read_text(encoding="utf-8"))


def instants(value):
    """The same value with every service time as an instant, so that notations of one time are equal."""
    if not isinstance(value, dict):
        return value
    return {
        name: parse(member) if name == "served_at" and member is not None else instants(member)
        for name, member in value.items()
    }


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_published_case(case):
    """Every member that a published case expects is what the evidence gives."""
    ((line, _),) = explain_lines(case)
    result = instants(json.loads(line))
    expected = instants(case["expect"])
    assert {name: result[name] for name in expected} == expected


def test_a_list_gives_one_line_for_each_case():
    """A list of questions is answered with as many lines, in the list's order."""
    lines = list(explain_lines(CASES))
    assert [json.loads(line.text)["rule"] for line in lines] == [case["rule"] for case in CASES]
    assert not any("\n" in line.text for line in lines)
