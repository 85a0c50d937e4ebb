"""noticesvc.domain.contact: what replacing a set records, ends, withdraws and takes back; intervals that never overlap."""

from dataclasses import dataclass, field
from itertools import count, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noticesvc.domain import contact
from noticesvc.domain.contact import Version, Wanted
from noticesvc.errors import InputError

OLD, NEW, THIRD = "+8613800138000", "+8613800138001", "+8613800138002"


def sms(address: str, confirmation: str = "confirmed", **more) -> Wanted:
    return Wanted(channel="sms", address=address, confirmation=confirmation, **more)


@dataclass
class Recorder:
    """Applies plan after plan, as the operation does, with ids counted from 0."""

    versions: list[Version] = field(default_factory=list)
    ids: count = field(default_factory=count)

    def put(self, now: int, *wanted: Wanted, effective_from: int | None = None, source: str = "registration") -> contact.Plan:
        plan = contact.plan(self.versions, wanted, source, now, effective_from)
        self.versions = contact.applied(self.versions, plan, [
            Version(contact_id=f"c{next(self.ids)}", channel=w.channel, address=w.address, confirmation=w.confirmation, source=source,
                    effective_from=plan.effective_from, position=position) for position, w in plan.record])
        return plan

    def at(self, instant: int) -> list[str]:
        return [v.address for v in contact.in_effect(self.versions, instant)]


def test_a_first_set_is_recorded_in_its_order():
    """Every contact gets a version that begins now and has no end."""
    recorder = Recorder()
    plan = recorder.put(100, sms(OLD), sms(NEW))
    assert (plan.effective_from, [p for p, _ in plan.record], plan.end) == (100, [0, 1], ())
    assert (recorder.at(99), recorder.at(100), recorder.at(10**9)) == ([], [OLD, NEW], [OLD, NEW])


def test_the_same_set_again_changes_nothing():
    """An unchanged contact keeps its version; what the source asserts beside it makes no new one."""
    recorder = Recorder()
    recorder.put(100, sms(OLD))
    assert recorder.put(200, sms(OLD, asserted_from=5, verified_at=6)).empty


@pytest.mark.parametrize(("wanted", "source"), [
    (sms(NEW), "registration"), (sms(OLD, "identified"), "registration"), (sms(OLD), "hotline")])
def test_a_change_of_address_confirmation_or_source_is_a_new_version(wanted, source):
    """The old version ends where the new one begins."""
    recorder = Recorder()
    recorder.put(100, sms(OLD))
    plan = recorder.put(200, wanted, source=source)
    assert (plan.end, [w for _, w in plan.record]) == ((("c0", 200),), [wanted])


def test_a_new_order_moves_and_records_nothing():
    """A change of order makes no new version, but the order is the new preference."""
    recorder = Recorder()
    recorder.put(100, sms(OLD), sms(NEW))
    plan = recorder.put(200, sms(NEW), sms(OLD))
    assert (plan.record, plan.end, recorder.at(200)) == ((), (), [NEW, OLD])


def test_a_future_set_begins_then_and_the_old_one_stays_until_then():
    """Half-open: at the very instant the new one is in effect and the old one is not."""
    recorder = Recorder()
    recorder.put(100, sms(OLD))
    recorder.put(200, sms(NEW), effective_from=500)
    assert [recorder.at(i) for i in (200, 499, 500)] == [[OLD], [OLD], [NEW]]


def test_a_pending_version_is_withdrawn_and_the_end_it_caused_is_taken_back():
    """The withdrawn version ends where it would have begun; the old one has no end again."""
    recorder = Recorder()
    recorder.put(100, sms(OLD))
    recorder.put(200, sms(NEW), effective_from=500)
    plan = recorder.put(300, sms(OLD))
    assert (plan.record, set(plan.end)) == ((), {("c0", None), ("c1", 500)})
    assert [recorder.at(i) for i in (300, 500, 900)] == [[OLD]] * 3


def test_a_pending_version_not_in_a_later_future_set_is_withdrawn_too():
    """What is in effect now stays until the last planned change; the planned one before it never happens."""
    recorder = Recorder()
    recorder.put(100, sms(OLD))
    recorder.put(200, sms(NEW), effective_from=500)
    recorder.put(300, sms(THIRD), effective_from=700)
    assert [recorder.at(i) for i in (499, 500, 699, 700)] == [[OLD], [OLD], [OLD], [THIRD]]


def test_a_pending_contact_that_is_wanted_now_begins_now_once():
    """Put at once what was planned for later: one version is in effect, before and after the planned instant."""
    recorder = Recorder()
    recorder.put(100, sms(OLD))
    recorder.put(200, sms(OLD), sms(NEW), effective_from=500)
    recorder.put(300, sms(OLD), sms(NEW))
    assert [recorder.at(i) for i in (300, 500)] == [[OLD, NEW]] * 2


def test_a_future_set_put_twice_keeps_its_versions():
    """Repeating a planned change, as an import after a crash does, changes nothing."""
    recorder = Recorder()
    recorder.put(100, sms(OLD))
    recorder.put(200, sms(NEW), effective_from=500)
    assert recorder.put(300, sms(NEW), effective_from=500).empty


def test_an_effective_time_that_has_come_meanwhile_begins_now():
    """A recipient's time may be ahead of what was asked for; nothing begins before it."""
    recorder = Recorder()
    recorder.put(100, sms(OLD))
    assert recorder.put(200, sms(NEW), effective_from=150).effective_from == 200


def test_an_address_twice_is_one_contact_in_its_first_place():
    """Two spellings of one number are one address, and the first mention counts."""
    found = contact.wanted_set([sms("13800138000"), sms(NEW), sms("+86 138 0013 8000", "unknown")])
    assert [(w.address, w.confirmation) for w in found] == [(OLD, "confirmed"), (NEW, "confirmed")]


def test_every_bad_address_is_named_by_its_place():
    """Pointers name the contact's number in the set as sent."""
    with pytest.raises(InputError) as refused:
        contact.wanted_set([sms("1"), sms(OLD), Wanted(channel="email", address="x", confirmation="unknown")])
    assert [fault.pointer for fault in refused.value.faults] == ["/contacts/0/address", "/contacts/2/address"]


WANTED = st.builds(Wanted, channel=st.sampled_from(["sms", "email"]), address=st.sampled_from(["a", "b", "c"]),
                   confirmation=st.sampled_from(["confirmed", "unknown"]))
SETS = st.lists(WANTED, max_size=4, unique_by=lambda w: w.line).map(tuple)
# (time since the put before, the set, its source, how far ahead it begins; 0: at once)
PUTS = st.lists(st.tuples(st.integers(1, 6), SETS, st.sampled_from(["crm", "web"]), st.sampled_from([0, 0, 1, 3, 8, 20])), max_size=8)


@given(PUTS)
def test_at_every_instant_the_last_set_that_came_into_effect_is_in_effect(puts):
    """Against a model that knows sets only: a later put cancels what had not begun; the last that began by then counts."""
    recorder, model, now = Recorder(), [], 0
    for wait, wanted, source, ahead in puts:
        now += wait
        recorder.put(now, *wanted, effective_from=now + ahead if ahead else None, source=source)
        model = [(begins, what) for begins, what in model if begins <= now]
        model.append((now + ahead, {(*w.line, w.confirmation, source) for w in wanted}))
    for instant in range(now + 25):
        expected = next((what for begins, what in reversed(model) if begins <= instant), set())
        found = contact.in_effect(recorder.versions, instant)
        assert {(v.channel, v.address, v.confirmation, v.source) for v in found} == expected
        assert len(found) == len(expected)


@given(PUTS)
def test_what_was_in_effect_once_stays_so(puts):
    """No put changes which versions were in effect before it."""
    recorder, now = Recorder(), 0
    for wait, wanted, source, ahead in puts:
        before = {i: [v.contact_id for v in recorder.versions if v.in_effect(i)] for i in range(now + wait)}
        now += wait
        recorder.put(now, *wanted, effective_from=now + ahead if ahead else None, source=source)
        assert {i: [v.contact_id for v in recorder.versions if v.in_effect(i)] for i in before} == before


@given(PUTS)
def test_intervals_of_one_address_never_overlap(puts):
    """Sorted by beginning, each version of an address ends before the next begins, or at that instant."""
    recorder, now = Recorder(), 0
    for wait, wanted, source, ahead in puts:
        now += wait
        recorder.put(now, *wanted, effective_from=now + ahead if ahead else None, source=source)
    lines: dict[tuple[str, str], list[Version]] = {}
    for version in recorder.versions:
        assert version.effective_to is None or version.effective_to >= version.effective_from
        if version.effective_to != version.effective_from:
            lines.setdefault((version.channel, version.address), []).append(version)
    for versions in lines.values():
        for earlier, later in pairwise(sorted(versions, key=lambda v: v.effective_from)):
            assert earlier.effective_to is not None
            assert earlier.effective_to <= later.effective_from


@given(PUTS, SETS)
def test_putting_a_set_twice_is_putting_it_once(puts, last):
    """Whatever was before, the same set again changes nothing."""
    recorder, now = Recorder(), 0
    for wait, wanted, source, ahead in puts:
        now += wait
        recorder.put(now, *wanted, effective_from=now + ahead if ahead else None, source=source)
    recorder.put(now + 1, *last)
    assert recorder.put(now + 2, *last).empty
