"""Properties of service time over generated evidence: order never matters, what never counts changes nothing."""

from dataclasses import replace
from datetime import timedelta

from hypothesis import event, given
from hypothesis import strategies as st

from noticesvc.domain.evidence import CARRIES, CHANNELS, CONFIRMATIONS, KINDS, LEVEL, STRIKING, Evidence
from noticesvc.domain.rules import BUILT_IN
from noticesvc.domain.service_time import determine
from tests.unit.domain.cases import CONTENT, START, at, item, rebut

MOSTLY = st.sampled_from  # the first of the values is meant to come often, so it is listed often
FEW_KINDS = ["arrived"] * 4 + ["rebutted"] * 3 + ["submitted", "relayed"] + sorted(KINDS)
minutes = st.integers(-8, 30)  # few instants, so that ties and bounds are common


@st.composite
def evidence_sets(draw):
    """Up to ten items over few deliveries, attempts and instants, with distinct ids."""
    count = draw(st.integers(0, 10))
    ids = [f"e{number}" for number in range(1, count + 1)]
    return [draw(items(one, ids)) for one in ids]


@st.composite
def items(draw, own, ids):
    """One item; the delivery fixes the channel, as it does in the service."""
    channel = draw(st.sampled_from(CHANNELS))
    observed = draw(minutes)
    maybe = st.none() | minutes.map(at)
    return Evidence(
        id=own,
        delivery_id=f"d-{channel}-{draw(st.integers(1, 2))}",
        attempt=draw(st.integers(1, 2)),
        channel=channel,
        kind=draw(st.sampled_from(FEW_KINDS)),
        source=draw(st.sampled_from(["smtp", "dsn", "gateway", "person"])),
        authenticated=draw(MOSTLY([True] * 5 + [False])),
        carries=draw(MOSTLY(["full"] * 5 + list(CARRIES))),
        call_started_at=draw(maybe),
        claimed_at=draw(maybe),
        observed_at=at(observed),
        content_sha256=draw(MOSTLY([CONTENT, CONTENT, CONTENT, CONTENT, None, "b" * 64])),
        confirmation=draw(MOSTLY(["confirmed", "confirmed", *CONFIRMATIONS, None])),
        contact_in_effect=draw(MOSTLY([True] * 9 + [False])),
        part=draw(MOSTLY([None, None, 1, 2, 3])),
        parts=draw(MOSTLY([None, None, 1, 2, 3])),
        provider=draw(MOSTLY([None, "p"])),
        raw_sha256=draw(MOSTLY([None, None, "c" * 64])),
        refers_to=draw(st.none() | st.sampled_from([*ids, "nothing"])),
        proved_at=draw(maybe),
        fault=draw(MOSTLY([None, "recipient"])),
    )


rules = st.sampled_from(list(BUILT_IN.values()))
moments = st.none() | st.sampled_from([at(0), at(10), START + timedelta(days=5), START + timedelta(days=30)])


@given(st.data(), evidence_sets(), rules, moments)
def test_order_never_matters(data, evidence, rule, as_of):
    """Whatever order the evidence comes in, result, lists and trace are the same."""
    first = determine(rule, evidence, CONTENT, as_of, explain=True)
    again = determine(rule, data.draw(st.permutations(evidence)), CONTENT, as_of, explain=True)
    event(f"served {first.served}, conflict {first.conflict}, struck {bool(first.struck)}")
    assert again == first
    assert again.to_json() == first.to_json()


def legal(result):
    """The members of the report that have legal weight."""
    members = result.to_json()
    return {name: value for name, value in members.items() if name not in {"set_aside", "struck", "trace"}}


@given(st.data(), evidence_sets(), rules, moments)
def test_a_replayed_receipt_changes_nothing(data, evidence, rule, as_of):
    """A second copy of a receipt with raw bytes, observed later, is listed as duplicate and has no effect."""
    raw = [one for one in evidence if one.raw_sha256 is not None]
    if not raw:
        return
    copied = data.draw(st.sampled_from(raw))
    latest = max(one.observed_at for one in evidence)
    copy = replace(copied, id="z", observed_at=latest + timedelta(minutes=1))
    before = determine(rule, evidence, CONTENT, as_of)
    after = determine(rule, [copy, *evidence], CONTENT, as_of)
    assert legal(after) == legal(before)
    assert [entry.reason for entry in after.set_aside if entry.evidence_id == "z"] == ["duplicate"]


@given(evidence_sets(), rules, moments, st.sampled_from(CHANNELS), st.sampled_from(sorted(KINDS - STRIKING)), minutes)
def test_what_nobody_vouches_for_changes_nothing(evidence, rule, as_of, channel, kind, minute):
    """An unauthenticated item that strikes nothing has no effect, on whatever attempt."""
    forged = item("z", kind, minute, channel, delivery_id=f"d-{channel}-1", authenticated=False, refers_to="e1")
    before = determine(rule, evidence, CONTENT, as_of)
    assert legal(determine(rule, [*evidence, forged], CONTENT, as_of)) == legal(before)


@given(evidence_sets(), rules, moments, st.sampled_from(CHANNELS), st.sampled_from(sorted(STRIKING)), minutes)
def test_a_forged_bounce_can_at_most_make_a_conflict(evidence, rule, as_of, channel, kind, minute):
    """An unauthenticated strike moves no service time and no basis."""
    forged = item("z", kind, minute, channel, delivery_id=f"d-{channel}-1", authenticated=False)
    before = determine(rule, evidence, CONTENT, as_of)
    after = determine(rule, [*evidence, forged], CONTENT, as_of)
    assert after.conflict >= before.conflict
    assert legal(replace(after, conflict=before.conflict)) == legal(before)


@given(evidence_sets(), rules, moments)
def test_service_falls_when_everything_is_rebutted(evidence, rule, as_of):
    """Rebut every event without a proved time, from an attempt of its own, and nothing is served or doubted."""
    against = [rebut(f"z{one.id}", one.id, delivery_id="d-rebuttals") for one in evidence]
    result = determine(rule, [*evidence, *against], CONTENT, as_of)
    assert not result.served
    assert not result.conflict
    assert result.basis is None


@given(evidence_sets(), rules, moments)
def test_what_is_reported_hangs_together(evidence, rule, as_of):
    """The parts of a report agree with each other and with the items that they name."""
    result = determine(rule, evidence, CONTENT, as_of)
    by_id = {one.id: one for one in evidence}
    lost = {entry.evidence_id for entry in result.set_aside} | {entry.evidence_id for entry in result.struck}
    if not result.served:
        assert (result.served_at, result.channel, result.evidence_id, result.independent) == (None,) * 4
        assert result.basis in {None, "consequence_on_recipient"}
        return
    won = by_id[result.evidence_id]
    assert won.id not in lost
    assert won.channel == result.channel
    assert LEVEL.get(won.kind, 0) > 0 or won.kind == "returned"
    assert result.deadline_from_on >= result.served_on
    assert result.basis in {"delivered", "presumed", "consequence_on_recipient"}
    for other in (result.independent, result.without_winner):
        assert other is None or other.served_at >= result.served_at
    if result.independent is not None:
        assert result.independent.channel not in {"in_site", "announcement"}
        assert result.independent.evidence_id not in lost


@given(evidence_sets(), rules)
def test_as_of_decides_only_provisional_and_the_thirty_days(evidence, rule):
    """Without waiting rules, two readings at different times differ in provisional alone."""
    if rule.after is not None:
        return
    early, late = (determine(rule, evidence, CONTENT, moment) for moment in (at(0), at(10**6)))
    assert legal(replace(early, provisional=late.provisional)) == legal(late)
    assert not late.provisional
