"""Steps 1 to 5: duplicates, what is set aside, rebuttals, strikes and parts; each expectation is read off the text."""

import pytest

from noticesvc.errors import InputError
from tests.unit.domain.cases import CONTENT, aside, item, rebut, result, served, struck

RAW = {"raw_sha256": "c" * 64, "provider": "p"}


# Step 1 ---------------------------------------------------------------------------------------------------------------


def test_of_duplicates_the_first_observed_stays_then_the_smaller_id():
    """The one observed first stays although its id is larger; at one instant the smaller id stays."""
    assert aside(result(item("e1", "arrived", 9, **RAW), item("e2", "arrived", 5, **RAW))) == {"e1": "duplicate"}
    found = result(item("e2", "arrived", 5, **RAW), item("e10", "arrived", 5, **RAW))
    assert [(entry.evidence_id, entry.duplicate_of) for entry in found.set_aside] == [("e2", "e10")]  # as text


def test_null_providers_are_equal():
    """Two items without provider and with one raw hash are duplicates."""
    raw = {"raw_sha256": "c" * 64}
    assert aside(result(item("e1", "arrived", 1, **raw), item("e2", "arrived", 2, **raw))) == {"e2": "duplicate"}


def test_a_null_raw_hash_is_never_a_duplicate():
    """Without raw bytes nothing is known to be the same."""
    assert aside(result(item("e1", "arrived", 1), item("e2", "arrived", 1))) == {}


@pytest.mark.parametrize(
    "difference",
    [
        {"provider": "q"}, {"provider": None}, {"raw_sha256": "d" * 64}, {"delivery_id": "other"}, {"attempt": 2},
        {"part": 1}, {"refers_to": "e9"}, {"authenticated": False},
    ],
)  # fmt: skip
def test_one_difference_is_no_duplicate(difference):
    """Each member of the key alone keeps two items apart."""
    found = result(item("e1", "arrived", 1, **RAW), item("e2", "arrived", 2, **{**RAW, **difference}))
    assert "duplicate" not in aside(found).values()


def test_a_claim_in_a_dropped_duplicate_is_lost():
    """What was dropped does not count, even where it would have served earlier."""
    late = item("e2", "arrived", 9, claimed_at=item("x", "arrived", 1).observed_at, **RAW)
    assert served(item("e1", "arrived", 5, **RAW), late) == (5, "sms", "e1")


def test_a_rebuttal_of_a_dropped_duplicate_counts_against_the_one_that_stayed():
    """The recipient cannot know which of two equal receipts stayed."""
    found = result(item("e1", "arrived", 5, **RAW), item("e2", "arrived", 9, **RAW), rebut("r", "e2"))
    assert not found.served
    assert struck(found) == {"e1": ("rebutted", "r")}


def test_the_very_same_item_twice_is_one_item():
    """One id with the same members is one event, however often it is given."""
    one = item("e1", "arrived", 5, part=1, parts=1)
    assert served(one, one) == (5, "sms", "e1")


def test_two_items_with_one_id_are_refused():
    """One id for two facts leaves nothing certain."""
    with pytest.raises(InputError):
        result(item("e1", "arrived", 5), item("e1", "arrived", 6))


# Step 2 ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flag", "reason"), [({"contact_in_effect": False}, "contact_not_in_effect"), ({"carries": "pointer"}, "pointer")]
)
def test_one_item_can_set_its_whole_attempt_aside(flag, reason):
    """Whichever item says so, all items of that attempt go, and no other attempt."""
    found = result(
        item("e1", "intended", 0, **flag), item("e2", "arrived", 1), item("e3", "arrived", 2, attempt=2),
    )  # fmt: skip
    assert aside(found) == {"e1": reason, "e2": reason}
    assert found.evidence_id == "e3"


def test_even_an_unauthenticated_item_can_say_that_the_contact_was_not_in_effect():
    """Any of the attempt's items: the flag is our own knowledge, not the sender's."""
    forged = item("e2", "relayed", 2, authenticated=False, contact_in_effect=False)
    assert served(item("e1", "arrived", 1), forged) is None


def test_other_content_goes_but_null_content_is_not_other():
    """A receipt that does not name the content counts; one that names another does not."""
    found = result(item("e1", "arrived", 1, content_sha256="b" * 64), item("e2", "arrived", 2, content_sha256=None))
    assert aside(found) == {"e1": "other_content"}
    assert found.evidence_id == "e2"


def test_unauthenticated_arrival_grants_no_level():
    """Only authenticated evidence grants a level."""
    found = result(item("e1", "arrived", 1, authenticated=False))
    assert not found.served
    assert aside(found) == {"e1": "not_authenticated"}


# Step 3 ---------------------------------------------------------------------------------------------------------------


def test_a_rebutted_arrival_neither_counts_nor_conflicts():
    """Without a proved time the event is as if it had never been."""
    found = result(item("e1", "arrived", 1), item("e2", "failed_permanent", 2), rebut("r", "e1"))
    assert (found.served, found.conflict) == (False, False)


def test_a_rebutted_failure_neither_strikes_nor_conflicts():
    """A failure that was proved wrong leaves the arrival clean."""
    found = result(item("e1", "arrived", 1), item("e2", "failed_permanent", 2), rebut("r", "e2"))
    assert (found.evidence_id, found.conflict) == ("e1", False)


def test_a_rebutted_access_protects_no_more():
    """When the opening falls, the failure strikes after all."""
    events = item("e1", "arrived", 1), item("e2", "failed_permanent", 2), item("e3", "accessed", 5)
    assert served(*events) == (1, "sms", "e1")
    assert served(*events, rebut("r", "e3")) is None


def test_a_rebutted_success_dsn_proves_nothing():
    """Step 7 asks for an unstruck DSN: rebutted, the email is provisional again."""
    mail = item("e1", "arrived", 1, "email"), item("e2", "arrived", 2, "email", source="dsn")
    as_of = item("x", "arrived", 60).observed_at
    assert not result(*mail, as_of=as_of).provisional
    assert result(*mail, rebut("r", "e2"), as_of=as_of).provisional


def test_a_rebutted_unauthenticated_strike_is_no_conflict():
    """Rebuttals reach an unauthenticated strike too."""
    events = item("e1", "arrived", 1), item("e2", "failed_permanent", 2, authenticated=False)
    assert result(*events).conflict
    assert not result(*events, rebut("r", "e2")).conflict


def test_a_proved_time_moves_an_event_before_strikes_are_asked():
    """Moved behind the failure the arrival stands; moved before it, it falls."""
    events = item("e1", "arrived", 10), item("e2", "failed_permanent", 20)
    assert served(*events, rebut("r", "e1", proved=30)) == (30, "sms", "e1")
    assert served(*events, rebut("r", "e1", proved=5)) is None


def test_a_moved_failure_strikes_from_its_new_instant():
    """A failure proved earlier than the arrival no longer strikes it."""
    events = item("e1", "arrived", 10), item("e2", "failed_permanent", 20)
    found = result(*events, rebut("r", "e2", proved=9))
    assert (found.evidence_id, found.conflict) == ("e1", True)


def test_of_several_rebuttals_one_without_time_prevails_otherwise_the_latest_time():
    """The strongest doubt wins, whatever came first."""
    event = item("e1", "arrived", 10)
    assert served(event, rebut("r1", "e1", 600, proved=50), rebut("r2", "e1", 601, proved=40)) == (50, "sms", "e1")
    assert served(event, rebut("r1", "e1", 600), rebut("r2", "e1", 601, proved=40)) is None
    found = result(event, rebut("r1", "e1", 600, proved=40), rebut("r2", "e1", 601))
    assert not found.served
    assert [step["text"] for step in found.trace if step["step"] == 3] == ["struck by rebuttal r2"]


@pytest.mark.parametrize(
    "idle",
    [
        rebut("r", "nothing"), rebut("r", None), rebut("r", "r"), rebut("r", "e1", authenticated=False),
        rebut("r", "e1", content_sha256="b" * 64), rebut("r", "e1", delivery_id="d-2", carries="pointer"),
    ],
)  # fmt: skip
def test_rebuttals_that_do_nothing(idle):
    """A rebuttal of nothing known, or one set aside itself, changes nothing."""
    assert served(item("e1", "arrived", 10), idle) == (10, "sms", "e1")


def test_a_rebuttal_cannot_be_rebutted():
    """The second rebuttal does nothing, so the first still strikes."""
    found = result(item("e1", "arrived", 10), rebut("r1", "e1"), rebut("r2", "r1"))
    assert not found.served
    assert struck(found) == {"e1": ("rebutted", "r1")}


def test_a_rebuttal_reaches_other_deliveries():
    """Where a rebuttal was recorded does not matter, only what it names."""
    assert served(item("e1", "arrived", 10), rebut("r", "e1", channel="email")) is None


# Step 4 ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["rejected", "failed_permanent", "expired", "returned"])
def test_striking_kinds_strike_what_is_not_later(kind):
    """An arrival at the very instant of the failure falls, one after it stands."""
    assert served(item("e1", "arrived", 5), item("e2", kind, 5)) is None
    assert served(item("e1", "arrived", 6), item("e2", kind, 5)) == (6, "sms", "e1")


@pytest.mark.parametrize("kind", ["failed_temporary", "no_receipt", "unknown", "unmapped", "displayed", "link_fetched"])
def test_other_kinds_strike_nothing_and_grant_nothing(kind):
    """They are facts, but neither failure nor arrival."""
    found = result(item("e1", "arrived", 5), item("e2", kind, 6))
    assert (found.evidence_id, found.conflict) == ("e1", False)
    assert served(item("e2", kind, 6), rule="agreement-6.2-sent") is None


def test_a_strike_stays_in_its_own_attempt():
    """The failure of a second attempt says nothing about the first."""
    found = result(item("e1", "arrived", 5), item("e2", "failed_permanent", 9, attempt=2))
    assert (found.evidence_id, found.conflict) == ("e1", False)


@pytest.mark.parametrize("kind", ["accessed", "acknowledged"])
def test_access_or_acknowledgement_protects_its_attempt(kind):
    """Opened although reported undelivered: nothing is struck, but it is a conflict."""
    found = result(item("e1", "submitted", 1), item("e2", "expired", 2), item("e3", kind, 0), rule="agreement-6.2-sent")
    assert (found.evidence_id, found.conflict, found.struck) == ("e3", True, ())


def test_what_struck_is_named():
    """Each struck event names the failure that took it."""
    found = result(item("e1", "submitted", 1), item("e2", "arrived", 2), item("e3", "expired", 3))
    assert struck(found) == {"e1": ("struck", "e3"), "e2": ("struck", "e3")}


def test_of_several_failures_the_latest_decides():
    """An arrival between two failures falls to the second, at whose instant it lies or before it."""
    found = result(item("e1", "rejected", 1), item("e2", "arrived", 5), item("e3", "expired", 5))
    assert not found.served
    assert struck(found) == {"e2": ("struck", "e3")}


# Step 5 ---------------------------------------------------------------------------------------------------------------


def part(id, number, minutes, kind="arrived", parts=2, **more):  # noqa: A002
    return item(id, kind, minutes, part=number, parts=parts, **more)


def test_the_largest_number_of_parts_decides():
    """A later item that speaks of three parts makes two too few, even if it is a mere failure."""
    two = part("e1", 1, 1), part("e2", 2, 2)
    assert served(*two) == (2, "sms", "e2")
    assert served(*two, item("e3", "failed_temporary", 3, parts=3)) is None
    assert served(*two, item("e3", "failed_temporary", 3, parts=3, authenticated=False)) == (2, "sms", "e2")


def test_each_part_may_reach_the_level_by_a_higher_one():
    """One part relayed and the other arrived: both have reached submitted, the arrived one last."""
    assert served(part("e1", 1, 1, "relayed"), part("e2", 2, 5), rule="agreement-6.2-sent") == (5, "sms", "e2")
    assert served(part("e1", 1, 1, "relayed"), part("e2", 2, 5)) is None


def test_each_part_counts_from_its_earliest_event():
    """A part reported twice arrived when it was first reported."""
    assert served(part("e1", 1, 1), part("e2", 2, 3), part("e3", 1, 9)) == (3, "sms", "e2")


def test_parts_at_one_instant_fall_to_the_higher_level_then_the_smaller_id():
    """Ties among last parts go as ties among attempts do."""
    assert served(part("e2", 1, 3), part("e1", 2, 3)) == (3, "sms", "e1")
    sent = part("e1", 1, 3, "submitted"), part("e2", 2, 3, "arrived")
    assert served(*sent, rule="agreement-6.2-sent") == (3, "sms", "e2")


def test_an_event_without_part_speaks_for_the_whole():
    """A receipt for the whole message needs no parts, and stands in for none."""
    assert served(part("e1", 1, 1), item("e2", "arrived", 7, parts=2)) == (7, "sms", "e2")
    sent = part("e1", 1, 1), item("e2", "submitted", 7)
    assert served(*sent) is None


def test_access_speaks_for_the_whole_but_for_no_single_part():
    """Opened from part 1: the attempt counts from the opening, and part 1 has still not arrived."""
    opened = part("e1", 1, 9, "accessed"), part("e2", 2, 1)
    assert served(*opened) == (9, "sms", "e1")


@pytest.mark.parametrize("number", [2, 3, 2**31 - 1])
def test_a_part_beyond_the_number_of_parts_stands_for_none(number):
    """Part 2 of one, or a part nobody announced, fills no gap."""
    assert served(item("e1", "arrived", 1, part=number)) is None


def test_a_single_part_without_a_stated_number_is_the_whole():
    """Where no item states a number of parts there is one."""
    assert served(item("e1", "arrived", 1, part=1)) == (1, "sms", "e1")


def test_an_absurd_number_of_parts_costs_nothing():
    """Two thousand million parts are counted, not enumerated."""
    assert served(part("e1", 1, 1, parts=2**31 - 1)) is None


def test_a_struck_part_is_missing():
    """A failure strikes all earlier parts of its attempt; what arrives later does not fill the gap alone."""
    found = result(part("e1", 1, 1), item("e2", "failed_permanent", 2, part=2, parts=2), part("e3", 2, 3))
    assert not found.served
    assert found.conflict  # the whole attempt had arrived, struck or not


def test_parts_of_different_attempts_do_not_add_up():
    """Part 1 of the first attempt and part 2 of the second are no whole message."""
    assert served(part("e1", 1, 1), part("e2", 2, 2, attempt=2)) is None


def test_content_hash_of_the_cases():
    """The short-hand's hash is of SHA-256's length, so that the cases above speak about real content."""
    assert len(CONTENT) == 64
