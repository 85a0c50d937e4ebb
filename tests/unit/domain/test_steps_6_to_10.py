"""Steps 6 to 10: the earliest, provisional, conflict, dead contacts and the report; expectations read off the text."""

from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from noticesvc.domain.rules import BUILT_IN, configured
from noticesvc.domain.service_time import Determined, changed, determine, judge, weigh
from tests.unit.domain.cases import CONTENT, START, at, item, rebut, result, served

DAY = 24 * 60

# Step 6 ---------------------------------------------------------------------------------------------------------------


def test_ties_fall_by_channel_then_level_then_id_as_text():
    """At one instant: in-site, SMS, email, post, announcement; then the higher level; then the smaller id as text."""
    channels = ["announcement", "postal", "email", "sms", "in_site"]
    tied = [item(f"e{number}", "arrived", 5, channel) for number, channel in enumerate(channels)]
    assert served(*tied) == (5, "in_site", "e4")
    assert served(*tied[:4]) == (5, "sms", "e3")
    assert served(*tied[:3]) == (5, "email", "e2")
    assert served(*tied[:2], rule="agreement-6.3") == (5, "postal", "e1")
    assert served(item("e1", "arrived", 5), item("e2", "accessed", 5)) == (5, "sms", "e2")
    assert served(item("e2", "arrived", 5), item("e10", "arrived", 5)) == (5, "sms", "e10")
    other = item("e1", "acknowledged", 5, attempt=2)
    assert served(item("e0", "accessed", 5), other) == (5, "sms", "e1")


def test_a_higher_level_counts_where_the_level_itself_is_missing():
    """Opened but never reported as arrived: served when opened."""
    assert served(item("e1", "submitted", 1), item("e2", "accessed", 9)) == (9, "sms", "e2")


def test_the_level_of_each_rule_on_each_channel():
    """A channel not named never counts; the sent readings begin at submitted, in-site and announcements at arrived."""
    table = {
        "agreement-6.2": dict.fromkeys(["in_site", "announcement", "sms", "email"], "arrived"),
        "agreement-6.2-sent": {
            "sms": "submitted", "email": "submitted", "in_site": "arrived", "announcement": "arrived",
        },
        "agreement-6.3": dict.fromkeys(["in_site", "sms", "email", "postal"], "arrived"),
        "agreement-6.3-sent": {**dict.fromkeys(["sms", "email", "postal"], "submitted"), "in_site": "arrived"},
        "court-31": dict.fromkeys(["in_site", "sms", "email"], "arrived"),
        "court-95": {"announcement": "arrived"},
    }
    assert list(BUILT_IN) == list(table)
    for rule, starts in table.items():
        for channel in ("in_site", "sms", "email", "postal", "announcement"):
            found = {
                kind for kind in ("intended", "submitted", "relayed", "arrived")
                if served(item("e", kind, 1, channel), rule=rule)
            }  # fmt: skip
            kinds = {None: set(), "arrived": {"arrived"}, "submitted": {"submitted", "relayed", "arrived"}}
            assert found == kinds[starts.get(channel)], (rule, channel)


def test_instants_decide_even_where_the_rule_counts_dates():
    """court-31 counts dates, but the earlier instant of one date wins."""
    assert served(item("e1", "arrived", 9), item("e2", "arrived", 3, "email"), rule="court-31") == (3, "email", "e2")


@pytest.mark.parametrize(
    ("confirmation", "kind", "basis"),
    [
        ("confirmed", "arrived", "delivered"), ("confirmed", "accessed", "delivered"), ("identified", "arrived", None),
        ("identified", "accessed", "presumed"), ("identified", "acknowledged", "delivered"),
        ("unknown", "arrived", None), ("unknown", "acknowledged", None), (None, "acknowledged", None),
    ],
)  # fmt: skip
def test_court_31_by_confirmation(confirmation, kind, basis):
    """Confirmed from arrival, identified from access (presumed) or acknowledgement, unknown never."""
    found = result(item("e", kind, 1, confirmation=confirmation), rule="court-31")
    assert (found.served, found.basis, found.analysis) == (basis is not None, basis, True)


def test_court_31_takes_a_link_from_access():
    """A link that only arrived is not the content."""
    came, opened = item("e1", "arrived", 1, carries="link"), item("e2", "accessed", 5, carries="link")
    assert served(came, rule="court-31") is None
    assert served(came, opened, rule="court-31") == (5, "sms", "e2")
    assert served(came, opened) == (1, "sms", "e1")  # the agreement makes no difference


def test_court_95_waits_thirty_days():
    """The announcement serves 30 * 24 hours after it went live, not a microsecond before."""
    live = item("e", "arrived", 0, "announcement")
    due = START + timedelta(days=30)
    assert served(live, rule="court-95") == (30 * DAY, "announcement", "e")
    assert served(live, rule="court-95", as_of=due - timedelta(microseconds=1)) is None
    found = result(live, rule="court-95", as_of=due)
    assert (found.served_at, found.served_on, found.deadline_from_on) == (due, date(2026, 11, 8), date(2026, 11, 8))
    assert (found.independent, found.basis, found.analysis) == (None, "delivered", True)


def test_court_95_counts_a_late_observation_from_its_date():
    """An announcement first observed long after its claim: the date of observation is the later one."""
    live = item("e", "arrived", 60 * DAY, "announcement", claimed_at=START)
    found = result(live, rule="court-95")
    assert (found.served_on, found.deadline_from_on) == (date(2026, 11, 8), date(2026, 12, 8))


def test_a_configured_rule_counts_only_its_classes_and_channels():
    """The operator's rule is judged as the built-in ones are, and named with its version."""
    rule = configured(
        "house", {"version": "7", "clause": "6.2", "levels": {"sms": "accessed"}, "confirmations": ["confirmed"]}
    )
    items = [item("e1", "arrived", 1), item("e2", "accessed", 2, confirmation="identified"), item("e3", "accessed", 3)]
    found = determine(rule, items, CONTENT, None)
    assert (found.rule, found.policy_version, found.evidence_id, found.analysis) == ("house", "7", "e3", False)


# Step 7 ---------------------------------------------------------------------------------------------------------------

MAIL = item("e1", "arrived", 0, "email", source="smtp")


def test_email_is_provisional_until_five_days_after_service():
    """Before service time + 5 days provisional, from then on not; without as_of never."""
    due = START + timedelta(days=5)
    assert result(MAIL, as_of=due - timedelta(microseconds=1)).provisional
    assert not result(MAIL, as_of=due).provisional
    assert not result(MAIL).provisional


def test_email_sent_is_provisional_too():
    """Levels 1 and 2 wait as level 3 does, and a bounce horizon is known to deadlines."""
    found = result(item("e1", "submitted", 0, "email"), rule="agreement-6.2-sent", as_of=at(1))
    assert found.provisional
    assert found.independent.final_at == START + timedelta(days=5)


@pytest.mark.parametrize(
    ("more", "provisional"),
    [
        (item("e2", "arrived", 5, "email", source="dsn"), False),
        (item("e2", "relayed", 5, "email", source="dsn"), True),
        (item("e2", "accessed", 5, "email"), False),
        (item("e2", "acknowledged", 5, "email"), False),
        (item("e2", "displayed", 5, "email"), True),
        (item("e2", "accessed", 5, "email", authenticated=False), True),
        (item("e2", "accessed", 5, "email", attempt=2), True),
        (item("e2", "arrived", 5, "email", source="dsn", attempt=2), True),
    ],
)
def test_what_ends_the_waiting(more, provisional):
    """A success DSN, an access or an acknowledgement of the same attempt, authenticated; nothing else."""
    assert result(MAIL, more, as_of=at(10)).provisional is provisional


def test_other_channels_and_unserved_are_never_provisional():
    """SMS is final at once, and what is not served cannot be provisional."""
    assert not result(item("e1", "arrived", 0), as_of=at(1)).provisional
    assert not result(item("e1", "relayed", 0, "email"), as_of=at(1)).provisional


def test_provisional_is_the_winners_own():
    """An SMS that won is not provisional because a later email is; the independent email is."""
    found = result(item("e0", "arrived", 0, "in_site"), item("e1", "arrived", 1, "email"), as_of=at(5))
    assert (found.channel, found.provisional) == ("in_site", False)
    assert found.independent.provisional


# Step 8 ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("items", "conflict"),
    [
        ([item("e1", "arrived", 1), item("e2", "expired", 2)], True),
        ([item("e1", "relayed", 1), item("e2", "expired", 2)], False),
        ([item("e1", "accessed", 1), item("e2", "expired", 2)], True),
        ([item("e1", "arrived", 1), item("e2", "expired", 2, attempt=2)], False),
        ([item("e1", "arrived", 1), item("e2", "expired", 2, authenticated=False)], True),
        ([item("e1", "acknowledged", 1), item("e2", "expired", 2, authenticated=False)], True),
        ([item("e1", "arrived", 1, authenticated=False), item("e2", "expired", 2)], False),
        ([item("e1", "arrived", 1, authenticated=False), item("e2", "expired", 2, authenticated=False)], False),
        ([item("e1", "arrived", 1), item("e2", "expired", 2, authenticated=False, content_sha256="b" * 64)], False),
        ([item("e1", "arrived", 1), item("e2", "expired", 2, carries="pointer", authenticated=False)], False),
        ([item("e1", "arrived", 1), item("e2", "no_receipt", 2)], False),
        ([item("e1", "arrived", 1, part=1, parts=2), item("e2", "expired", 2)], False),
        ([item("e1", "arrived", 1, part=2), item("e2", "expired", 2)], False),
        (
            [item("e1", "relayed", 1, part=2, parts=2), item("e2", "expired", 2), item("e3", "arrived", 1, part=1)],
            False,
        ),
        ([item("e1", "arrived", 1, "postal"), item("e2", "returned", 2, "postal")], True),
    ],
)
def test_conflict(items, conflict):
    """A failure beside a whole arrival, an access or an acknowledgement of one counted attempt, under every rule."""
    assert {result(*items, rule=rule).conflict for rule in BUILT_IN} == {conflict}


def test_an_attempt_in_conflict_is_told_apart_from_the_others():
    """The notice is in conflict; the independent event's own attempt is not."""
    found = result(item("e1", "arrived", 1), item("e2", "arrived", 2, "email"), item("e3", "expired", 3))
    assert found.conflict
    assert (found.independent.channel, found.independent.conflict) == ("email", False)


# Step 9 ---------------------------------------------------------------------------------------------------------------

DEAD_SMS = item("e1", "failed_permanent", 1)
DEAD_POST = item("e2", "returned", 2, "postal", fault="recipient")


@pytest.mark.parametrize(
    ("items", "basis"),
    [
        ([DEAD_SMS], "consequence_on_recipient"),
        ([DEAD_SMS, DEAD_POST], "consequence_on_recipient"),
        ([], None),
        ([item("e1", "failed_permanent", 1, "in_site")], None),
        ([DEAD_SMS, item("e3", "submitted", 1, "in_site")], "consequence_on_recipient"),
        ([DEAD_SMS, item("e3", "rejected", 1, "email")], None),
        ([DEAD_SMS, item("e3", "returned", 1, "postal")], None),
        ([DEAD_SMS, item("e3", "returned", 1, "postal", fault="carrier")], None),
        ([DEAD_SMS, item("e3", "intended", 1, "email")], None),
        ([DEAD_SMS, item("e3", "intended", 1, "email", authenticated=False)], "consequence_on_recipient"),
        ([DEAD_SMS, item("e3", "intended", 1, "email", contact_in_effect=False)], "consequence_on_recipient"),
        ([DEAD_SMS, item("e3", "submitted", 9, attempt=2)], None),
        ([item("e0", "submitted", 0), item("e3", "failed_permanent", 9, attempt=2)], "consequence_on_recipient"),
        ([DEAD_SMS, item("e3", "submitted", 9, attempt=2, carries="pointer")], "consequence_on_recipient"),
        ([DEAD_SMS, rebut("r", "e1")], None),
        ([DEAD_SMS, rebut("r", "e1", proved=5)], "consequence_on_recipient"),
        ([DEAD_POST, item("e3", "accessed", 1, "postal")], None),
    ],
)
def test_consequence_on_the_recipient(items, basis):
    """Every delivery outside the platform met a dead contact last; no time is invented."""
    for rule in ("agreement-6.2", "agreement-6.2-sent"):
        found = result(*items, rule=rule)
        if not found.served:
            assert (found.basis, found.served_at, found.deadline_from_on) == (basis, None, None)
    assert not result(*items).served
    for rule in ("court-31", "court-95"):
        assert result(*items, rule=rule).basis is None


def test_the_channels_of_the_rule_do_not_matter():
    """Dead post counts under 6.2 too, which does not name post."""
    assert result(DEAD_POST).basis == "consequence_on_recipient"


def test_returned_post_serves_only_by_the_recipients_fault_and_only_under_6_3():
    """When it came back is service under 6.3; under the sent reading it is only the consequence."""
    found = result(DEAD_POST, rule="agreement-6.3")
    assert (found.served_at, found.basis, found.channel) == (at(2), "consequence_on_recipient", "postal")
    sent = result(DEAD_POST, rule="agreement-6.3-sent")
    assert (sent.served, sent.basis) == (False, "consequence_on_recipient")
    assert result(item("e2", "returned", 2, "postal"), rule="agreement-6.3").served is False
    assert result(item("e2", "returned", 2, "sms", fault="recipient"), rule="agreement-6.3").served is False


def test_returned_post_strikes_its_arrival_and_serves_itself():
    """Signed for and then returned: the arrival falls, service is when it came back, in conflict."""
    found = result(item("e1", "arrived", 1, "postal"), DEAD_POST, rule="agreement-6.3")
    assert (found.evidence_id, found.conflict, found.basis) == ("e2", True, "consequence_on_recipient")


# Step 10 --------------------------------------------------------------------------------------------------------------


def test_deadlines_run_from_the_later_date_unless_the_event_was_moved():
    """Claimed on the 9th and observed on the 10th: from the 10th; moved by proof: from the proved date."""
    late = item("e1", "arrived", 16 * 60, claimed_at=at(1))  # 2026-10-10 02:00 in Shanghai
    found = result(late)
    assert (found.served_on, found.deadline_from_on) == (date(2026, 10, 9), date(2026, 10, 10))
    moved = result(late, rebut("r", "e1", proved=2))
    assert (moved.served_on, moved.deadline_from_on) == (date(2026, 10, 9), date(2026, 10, 9))


def test_independent_leaves_out_what_only_the_platform_witnesses():
    """In-site and announcement win, but what remains without them is told, with its own first date."""
    found = result(
        item("e1", "arrived", 1, "in_site"), item("e2", "arrived", 0, "announcement"),
        item("e3", "arrived", 16 * 60, claimed_at=at(5)),
    )  # fmt: skip
    assert found.channel == "announcement"
    assert found.independent.to_json() == {
        "served_at": "2026-10-09T02:05:00.000000Z", "channel": "sms", "evidence_id": "e3",
    }  # fmt: skip
    assert found.independent.deadline_from_on == date(2026, 10, 10)


def test_without_winner_leaves_out_the_whole_winning_delivery():
    """Another attempt of the same delivery does not hold; another delivery of the same channel does."""
    first, again = item("e1", "arrived", 1), item("e2", "arrived", 2, attempt=2)
    assert result(first, again).without_winner is None
    other = item("e3", "arrived", 3, delivery_id="d-2")
    assert result(first, again, other).without_winner.to_json() == {
        "served_at": "2026-10-09T02:03:00.000000Z", "channel": "sms",
    }  # fmt: skip


def test_a_rebuttal_recorded_in_the_winning_delivery_still_applies_without_it():
    """Leaving out the winner does not bring back what was rebutted beside it."""
    winner, other = item("e1", "arrived", 1), item("e2", "arrived", 2, "email")
    found = result(winner, other, rebut("r", "e2", channel="sms"))
    assert (found.evidence_id, found.without_winner) == ("e1", None)


def test_nothing_at_all_is_not_served():
    """Without evidence every member is null or false."""
    found = result().to_json()
    assert {name for name, value in found.items() if value} == {"rule", "policy_version", "trace"}


def test_members_of_the_report():
    """The report has the members of step 10 and no others."""
    assert list(result().to_json()) == [
        "rule", "policy_version", "served", "served_at", "served_on", "channel", "evidence_id", "basis", "provisional",
        "conflict", "analysis", "deadline_from_on", "independent", "without_winner", "set_aside", "struck", "trace",
    ]  # fmt: skip


def test_the_trace_is_asked_for():
    """The trace changes nothing else, and tells what was flagged as a wrong clock."""
    items = [item("e1", "arrived", 60, call_started_at=at(50), claimed_at=at(1))]
    plain = determine(BUILT_IN["agreement-6.2"], items, CONTENT, None)
    told = result(*items)
    assert plain.trace == ()
    assert {**told.to_json(), "trace": []} == plain.to_json()
    assert any("clock" in step["text"] and step["evidence_id"] == "e1" for step in told.trace)


def test_one_weighing_serves_all_rules():
    """Judging one weighed set under each rule gives what each rule gives alone."""
    items = [MAIL, item("e2", "failed_permanent", 1), item("e3", "arrived", 5, "in_site"), rebut("r", "e3", proved=9)]
    weighed = weigh(items, CONTENT)
    for rule in BUILT_IN.values():
        assert judge(rule, weighed, at(20)) == determine(rule, items, CONTENT, at(20))


# When a result changes ------------------------------------------------------------------------------------------------


def test_the_first_result_is_a_change_only_if_it_says_something():
    """Before the first: not served, all null, no conflict, so an unserved result is none."""
    assert not changed(None, result(item("e1", "submitted", 1)))
    assert changed(None, result(item("e1", "arrived", 1)))
    assert changed(None, result(DEAD_SMS))  # basis


def test_what_is_a_change_and_what_is_not():
    """Members that decide make a change; provisional, without_winner and the trace do not."""
    one = item("e1", "arrived", 0, "email")
    before = result(one, as_of=at(1))
    assert not changed(before, result(one))
    assert not changed(before, result(one, item("e2", "arrived", 9)))  # without_winner, from null to the SMS
    assert not changed(before.determined(), result(one))
    assert changed(before, result(one, item("e3", "expired", 9, "email", authenticated=False)))  # conflict
    assert changed(before, result(one, rebut("r", "e1", proved=5)))  # served_at
    assert changed(before, result(item("e1", "accessed", 0, "email"), item("e0", "arrived", 0, "sms")))  # channel
    assert changed(Determined(), result(one))
    site = item("e0", "arrived", 0, "in_site")
    assert changed(result(site), result(site, item("e9", "arrived", 9)))  # independent


def test_times_of_other_zones_are_the_same_instants():
    """A time written with another offset is no other result."""
    shanghai = datetime(2026, 10, 9, 10, 0, tzinfo=timezone(timedelta(hours=8)))
    assert not changed(result(item("e1", "arrived", 0)), result(item("e1", "arrived", 0, observed_at=shanghai)))
    assert shanghai.astimezone(UTC) == START
