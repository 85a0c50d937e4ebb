"""Questions about service time as JSON: what is refused, and where the pointers point."""

import json

import pytest

from noticesvc.domain.explain import explain_lines
from noticesvc.domain.rules import BUILT_IN, configured

ITEM = {
    "id": "e1", "delivery_id": "d", "attempt": 1, "channel": "sms", "kind": "arrived",
    "observed_at": "2026-10-09T03:00:00Z", "confirmation": "confirmed",
}  # fmt: skip
QUESTION = {"rule": "agreement-6.2", "notice": {"content_sha256": "a" * 64}, "evidence": [ITEM]}


def ask(question, rules=BUILT_IN):
    lines = list(explain_lines(question, rules))
    assert [("error" in json.loads(line.text)) for line in lines] == [not line.answered for line in lines]
    return [json.loads(line.text) for line in lines]


def test_one_object_is_one_line_and_as_of_may_be_left_out():
    """One question gives one line with the result and its trace."""
    (found,) = ask(QUESTION)
    assert (found["served_at"], found["evidence_id"]) == ("2026-10-09T03:00:00.000000Z", "e1")
    assert found["trace"]


def test_an_operators_rule_can_be_asked_for():
    """Rules given beside the built-in ones are known."""
    house = configured("house", {"version": "1", "clause": "6.2", "levels": {"email": "arrived"}})
    (found,) = ask({**QUESTION, "rule": "house"}, {**BUILT_IN, "house": house})
    assert (found["rule"], found["served"]) == ("house", False)


def test_times_in_are_compared_as_instants():
    """An as_of with another offset is the same moment: 30 days after 11:00 in Shanghai."""
    live = {**ITEM, "channel": "announcement"}
    question = {**QUESTION, "rule": "court-95", "evidence": [live]}
    assert ask({**question, "as_of": "2026-11-08T11:00:00+08:00"})[0]["served"] is True
    assert ask({**question, "as_of": "2026-11-08T10:59:59+08:00"})[0]["served"] is False


@pytest.mark.parametrize(
    ("question", "pointer"),
    [
        (None, ""), ("x", ""), ({}, "/rule"), ({**QUESTION, "rule": "x"}, "/rule"), ({**QUESTION, "rule": []}, "/rule"),
        ({**QUESTION, "notice": None}, "/notice/content_sha256"),
        ({**QUESTION, "notice": {}}, "/notice/content_sha256"),
        ({**QUESTION, "evidence": None}, "/evidence"), ({**QUESTION, "evidence": {}}, "/evidence"),
        ({**QUESTION, "as_of": "now"}, "/as_of"), ({**QUESTION, "as_of": 0}, "/as_of"),
        ({**QUESTION, "evidence": [ITEM, {**ITEM, "kind": "x"}]}, "/evidence/1/kind"),
        ({**QUESTION, "evidence": [ITEM, {**ITEM, "kind": "expired"}]}, "/evidence"),
    ],
)
def test_faults_point_into_the_file(question, pointer):
    """What cannot be read is named by its pointer, alone and in a list."""
    for data, before in ((question, ""), ([QUESTION, question], "/1")):
        found = ask(data)[-1]
        assert [fault["pointer"] for fault in found["errors"]] == [before + pointer]
        assert all(fault["detail"] for fault in found["errors"])
        assert found["error"]


def test_a_bad_question_takes_no_answer_with_it():
    """An unreadable question has its own line; the answers before and after it stand in order."""
    before, bad, after = ask([QUESTION, 5, {**QUESTION, "rule": "agreement-6.3"}])
    assert (before["rule"], before["served"]) == ("agreement-6.2", True)
    assert bad["errors"] == [{"pointer": "/1", "detail": bad["errors"][0]["detail"]}]
    assert (after["rule"], after["served"]) == ("agreement-6.3", True)


def test_lines_are_ascii_whatever_the_ids():
    """Ids with line separators or lone surrogates cannot break a line or the terminal's encoding."""
    (line,) = explain_lines({**QUESTION, "evidence": [{**ITEM, "id": "证\u2028据\ud800"}]})
    assert line.text.isascii()
    assert json.loads(line.text)["evidence_id"] == "证\u2028据\ud800"


def test_an_empty_list_gives_nothing():
    """No questions, no lines."""
    assert ask([]) == []
