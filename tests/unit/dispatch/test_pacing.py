"""Which provider takes the next message: priority, breakers, what is to be avoided."""

from types import SimpleNamespace

import pytest

from noticesvc.config import ProviderSettings
from noticesvc.dispatch.pacing import Pacing, limited


@pytest.fixture
def pacing():
    """Two SMS providers, the second only where the first cannot; a breaker that opens after three failures for ten seconds."""
    return Pacing.of({"first": SimpleNamespace(), "second": SimpleNamespace(), "mail": SimpleNamespace()}, {
        "first": ProviderSettings(kind="x", channel="sms", priority=1, breaker_after=3, breaker_open_s=10),
        "second": ProviderSettings(kind="x", channel="sms", priority=2, breaker_after=3, breaker_open_s=10, rate_per_s=5),
        "mail": ProviderSettings(kind="x", channel="email")}, 200)


def chosen(pacing, now, *avoid):
    choice, wait = pacing.choose("sms", now, avoid)
    return (choice.pace.name if choice else None), wait


def fail(pacing, now, times, failed=True):
    choices = [pacing.choose("sms", now)[0] for _ in range(times)]
    for choice in choices:
        choice.answered(now, failed=failed)


def test_the_first_by_priority_unless_it_is_to_be_avoided(pacing):
    """Priority decides; a delivery that the first could not take goes to the second; one that nobody could, to the first again."""
    assert chosen(pacing, 0.0) == ("first", 0.0)
    assert chosen(pacing, 0.0, "first") == ("second", 0.0)
    assert chosen(pacing, 0.0, "first", "second") == ("first", 0.0)
    assert pacing.choose("postal", 0.0) == (None, 0.0)


def test_the_breaker_opens_after_failures_in_a_row(pacing):
    """Two failures and a success change nothing; three in a row let the second take over at once."""
    fail(pacing, 1.0, 2)
    fail(pacing, 1.0, 1, failed=False)
    fail(pacing, 1.0, 2)
    assert chosen(pacing, 1.0) == ("first", 0.0)
    fail(pacing, 1.0, 1)
    assert chosen(pacing, 1.0) == ("second", 0.0)
    assert pacing.resting(4.0) == {"first": 7.0}


def test_what_was_passed_over_is_told_with_its_reason(pacing):
    """Only what goes before by priority: nothing where the first takes it, and nothing where all must wait."""
    assert pacing.choose("sms", 0.0)[0].passed_over == ()
    assert pacing.choose("sms", 0.0, ("second",))[0].passed_over == ()
    assert pacing.choose("sms", 0.0, ("first",))[0].passed_over == (("first", "refused"),)
    assert pacing.choose("sms", 0.0, ("first", "second"))[0].passed_over == ()
    fail(pacing, 0.0, 3)
    assert pacing.choose("sms", 1.0)[0].passed_over == (("first", "breaker_open"),)
    assert pacing.choose("sms", 1.0, ("first",))[0].passed_over == (("first", "refused"),)


def test_when_its_rest_is_over_exactly_one_message_probes(pacing):
    """The others go on elsewhere until it is answered; a good answer closes the breaker, a bad one opens it for as long again."""
    fail(pacing, 0.0, 3)
    assert chosen(pacing, 9.9)[0] == "second"
    probe, _ = pacing.choose("sms", 10.0)
    assert (probe.pace.name, probe.probe) == ("first", True)
    assert [chosen(pacing, 10.0 + i)[0] for i in range(20)] == ["second"] * 20
    probe.answered(12.0, failed=True)
    assert chosen(pacing, 21.9)[0] == "second"
    probe, _ = pacing.choose("sms", 22.0)
    assert probe.probe
    probe.answered(22.5, failed=False)
    assert [chosen(pacing, 23.0)[0] for _ in range(5)] == ["first"] * 5
    assert pacing.resting(23.0) == {}


def test_a_probe_that_was_not_called_is_given_back(pacing):
    """What could not be sealed, or lost its lease, leaves the next message to probe."""
    fail(pacing, 0.0, 3)
    probe, _ = pacing.choose("sms", 10.0)
    assert chosen(pacing, 10.0)[0] == "second"
    probe.withdraw()
    assert pacing.choose("sms", 10.0)[0].probe


def test_answers_of_calls_from_before_it_opened_say_nothing_new(pacing):
    """With many calls in flight, a late success does not close it and a late failure does not prolong its rest."""
    late = [pacing.choose("sms", 0.0)[0] for _ in range(2)]
    fail(pacing, 0.0, 3)
    late[0].answered(5.0, failed=False)
    late[1].answered(9.0, failed=True)
    assert chosen(pacing, 9.0)[0] == "second"
    assert pacing.choose("sms", 10.0)[0].probe


def test_when_all_rest_messages_wait_for_the_first_to_come_back(pacing):
    """There is nothing to choose, and the wait is the shortest of the rests."""
    fail(pacing, 0.0, 3)
    fail(pacing, 4.0, 3)
    assert chosen(pacing, 5.0) == (None, 5.0)


def test_a_used_up_rate_makes_wait_and_never_switches(pacing):
    """A rate is no failure: the messages stay with their provider."""
    pacing.paces["first"].rested_at = 7.5
    assert chosen(pacing, 7.0) == (None, 0.5)
    assert chosen(pacing, 7.5) == ("first", 0.0)


def test_rates_are_asked_for_only_where_there_are_any(pacing):
    """The number of messages by provider, of those with a rate."""
    choices = [pacing.choose("sms", 0.0, avoid)[0] for avoid in ((), ("first",), ("first",))]
    assert limited(choices) == {"second": (5, 2)}
