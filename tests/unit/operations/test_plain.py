"""The glance at common notices answers what the general derivation answers, wherever it answers at all."""

from types import SimpleNamespace

from hypothesis import event, given, settings
from hypothesis import strategies as st

from noticesvc.domain import instant, plain, view
from noticesvc.domain.evidence import CARRIES, CHANNELS, CONFIRMATIONS, KINDS
from noticesvc.domain.rules import BUILT_IN
from noticesvc.operations import facts
from noticesvc.operations.history import History

START = 1_790_000_000_000_000
DAY = 86_400_000_000
NOTICE = "0198a000-0000-7000-8000-000000000000"
days = st.integers(0, 40).map(lambda n: instant.from_micros(START + n * DAY))
GOOD = ["submitted", "relayed", "arrived"]


def often(value, *others):
    """Mostly this value, so that common notices are common."""
    return st.sampled_from([value] * 60 + list(others))


@st.composite
def histories(draw):
    """Rows of one notice: some channels, each with no, one or two attempts, each of them with no, one or two items of evidence."""
    found = History()
    channels = draw(st.lists(st.sampled_from(CHANNELS), min_size=1, max_size=4, unique=True))
    for position, channel in enumerate(channels):
        found.deliveries[NOTICE].append(SimpleNamespace(
            notice_id=NOTICE, id=f"d-{channel}", channel=channel, position=position, carries=draw(often("full", *CARRIES)),
            closed=draw(often(None, "cancelled", "expired", "failed"))))
        for number in range(1, draw(often(1, 0, 0, 0, 2)) + 1):
            found.attempts[NOTICE].append(SimpleNamespace(
                notice_id=NOTICE, channel=channel, number=number, provider=draw(often("p", None)), contact_id="c",
                confirmation=draw(often("confirmed", *CONFIRMATIONS, None)), contact_effective_from=None, intended_at=START,
                evidence_id=f"i-{channel}-{number}", outcome=draw(often(None, "not_sent")),
                sealed=None, entry_batch=None, entry_offset=None))
            for copy in range(draw(often(1, 0, 0, 2))):
                found.evidence[NOTICE].append(draw(items(found.deliveries[NOTICE][-1], found.attempts[NOTICE][-1], copy)))
    return found


@st.composite
def items(draw, delivery, attempt, copy):
    """One row of evidence of an attempt."""
    return SimpleNamespace(
        notice_id=NOTICE, id=f"e-{draw(st.integers(0, 9))}-{attempt.channel}-{attempt.number}-{copy}", channel=attempt.channel,
        attempt=attempt.number, kind=draw(st.sampled_from(GOOD * 8 + sorted(KINDS - {"intended"}))), answer=draw(often(copy == 0, False)),
        source=draw(often("smtp", "dsn", "gateway")), authenticated=draw(often(True, False)), carries=delivery.carries,
        call_started_at=draw(often(START, None)), claimed_at=draw(often(None, instant.text(instant.from_micros(START + 1)))),
        observed_at=START + draw(st.integers(0, 3)) * DAY // 2, confirmation=attempt.confirmation,
        contact_in_effect=draw(often(True, False)), part=draw(often(None, 1)), parts=draw(often(None, 2)), provider=attempt.provider,
        same_raw_as=None, raw_index=None, content_matches=draw(often(True, None, False)), refers_to=None, proved_at=None,
        fault=draw(often(None, "recipient")), sealed=None, entry_batch=None, entry_offset=None)


@settings(max_examples=1000)
@given(histories(), st.sampled_from(list(BUILT_IN.values())), st.none() | days)
def test_a_glance_comes_to_the_result_and_states_of_the_general_derivation(past, rule, as_of):
    """Result, states of the deliveries and state of the notice are the same; null where anything is out of the ordinary."""
    seen = plain.weigh(rule, past.deliveries[NOTICE], past.attempts[NOTICE], past.evidence[NOTICE], as_of)
    event("answered" if seen is not None else "left to the general derivation")
    if seen is None:
        return
    row = {"id": NOTICE, "category": "agreement", "accepted_at": START, "effective_at": None, "rule": rule.id, "revision": 0,
           "deadlines": None, "subject_id": "s", "sealed": None}
    unit = SimpleNamespace(world=SimpleNamespace(rules=BUILT_IN), notices={NOTICE: row}, history=lambda: past)
    weighing = view.weigh(facts.of_unit(unit, [NOTICE])[NOTICE], as_of)
    assert (seen.result, seen.states, seen.state) == (weighing.result, weighing.states, weighing.state)
    assert not any(i.kind == "failed_permanent" for i in weighing.weighed.sifted.left)  # so that no contact is touched


def test_an_ordinary_mail_is_decided_at_a_glance():
    """One mail that arrived needs no general derivation."""
    past = History()
    past.deliveries[NOTICE] = [SimpleNamespace(id="d", channel="email", carries="full", closed=None)]
    past.attempts[NOTICE] = [SimpleNamespace(channel="email", provider="mail", outcome=None)]
    past.evidence[NOTICE] = [SimpleNamespace(
        id="e", channel="email", attempt=1, kind="arrived", answer=True, source="smtp", authenticated=True, claimed_at=None,
        observed_at=START, confirmation="confirmed", contact_in_effect=True, part=None, content_matches=True, carries="full")]
    found = plain.weigh(BUILT_IN["agreement-6.2"], past.deliveries[NOTICE], past.attempts[NOTICE], past.evidence[NOTICE], None)
    assert (found.state, found.states, found.result.evidence_id) == ("served", {"d": "delivered"}, "e")
