"""Evidence as JSON: defaults, faults with pointers, and the instant that counts."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noticesvc.domain import evidence
from noticesvc.domain.evidence import CHANNELS, KINDS, from_json, instant_of, to_json
from noticesvc.errors import InputError

LEAST = {
    "id": "e1", "delivery_id": "d", "attempt": 1, "channel": "sms", "kind": "arrived",
    "observed_at": "2026-10-09T03:00:00Z",
}  # fmt: skip


def at(hour, minute=0, second=0, micro=0):
    return datetime(2026, 10, 9, hour, minute, second, micro, UTC)


def test_left_out_and_null_have_the_default():
    """A member left out, or null where a default is shown, has the default."""
    shown = {"authenticated": True, "carries": "full", "contact_in_effect": True}
    others = set(to_json(from_json(LEAST))) - set(LEAST) - set(shown)
    for item in (from_json(LEAST), from_json({**LEAST, **dict.fromkeys(shown), **dict.fromkeys(others)})):
        members = to_json(item)
        assert {name: members[name] for name in shown} == shown
        assert all(members[name] is None for name in others)
        assert len(members) == 21


def test_every_member_comes_back():
    """All members of an item survive reading and writing."""
    members = {
        **LEAST, "source": "dsn", "authenticated": False, "carries": "link", "call_started_at": "2026-10-09T02:00:00Z",
        "claimed_at": "2026-10-09T10:30:00+08:00", "content_sha256": "a" * 64, "confirmation": "identified",
        "contact_in_effect": False, "part": 2, "parts": 3, "provider": "p", "raw_sha256": "c" * 64,
        "refers_to": "e0", "proved_at": "2026-10-09T04:00:00Z", "fault": "recipient",
    }  # fmt: skip
    item = from_json(members)
    written = to_json(item)
    assert from_json(written) == item
    assert written == {
        **members, "call_started_at": "2026-10-09T02:00:00.000000Z", "claimed_at": "2026-10-09T02:30:00.000000Z",
        "observed_at": "2026-10-09T03:00:00.000000Z", "proved_at": "2026-10-09T04:00:00.000000Z",
    }  # fmt: skip


@pytest.mark.parametrize("claim", ["", "yesterday", "2026-10-09 10:00:07", "2026-10-09T10:00:07", 5, [], {}, None])
def test_a_claim_that_cannot_be_read_counts_as_absent(claim):
    """The provider's claim is no error of ours: unreadable or without offset, it is absent."""
    assert from_json({**LEAST, "claimed_at": claim}).claimed_at is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("id", None), ("id", ""), ("id", 7), ("id", "x" * 5000), ("delivery_id", None), ("attempt", None),
        ("attempt", -1),
        ("attempt", True), ("attempt", 1.0), ("attempt", "1"), ("attempt", 10**30), ("channel", None),
        ("channel", "post"), ("channel", []), ("kind", "delivered"), ("kind", None), ("authenticated", "false"),
        ("carries", "all"), ("observed_at", None), ("observed_at", "2026-10-09T03:00:00"),
        ("observed_at", "9999-12-31T23:59:59Z"), ("call_started_at", "x"), ("proved_at", 0), ("content_sha256", 1),
        ("confirmation", "maybe"), ("contact_in_effect", 1), ("part", 0), ("parts", 0), ("parts", False),
        ("raw_sha256", []), ("refers_to", {}), ("fault", 1), ("provider", 1), ("source", 1),
    ],
)  # fmt: skip
def test_bad_members_are_named_by_pointer(name, value):
    """A member that cannot be used is named by its RFC 6901 pointer, and its value is not repeated."""
    with pytest.raises(InputError) as caught:
        from_json({**LEAST, name: value}, "/3/evidence/0")
    assert [fault.pointer for fault in caught.value.faults] == [f"/3/evidence/0/{name}"]


def test_all_faults_are_told_at_once():
    """Several bad members give several faults in one error."""
    with pytest.raises(InputError) as caught:
        from_json({})
    assert {fault.pointer for fault in caught.value.faults} == {f"/{name}" for name in LEAST}


@pytest.mark.parametrize("value", [None, [], "x", 1])
def test_an_item_must_be_an_object(value):
    """Anything but an object is refused as a whole."""
    with pytest.raises(InputError):
        from_json(value)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=3,
)


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(to_json(from_json(LEAST)), json_values)))
def test_hostile_members_are_input_errors(changes):
    """Whatever JSON stands in the members, the answer is an item or an InputError."""
    try:
        item = from_json({**LEAST, **changes})
    except InputError as error:
        assert error.faults  # noqa: PT017 - either way out is right, and each has its assertion
    else:
        assert item.channel in CHANNELS
        assert item.kind in KINDS


@pytest.mark.parametrize(
    ("started", "claimed", "expected", "believed"),
    [
        (at(2), at(2, 30), at(2, 30), True),
        (at(2), None, at(3), False),
        (at(2), at(1, 55), at(2), True),  # exactly five minutes early: believed, but not before the call
        (at(2), at(1, 54, 59, 999999), at(3), False),
        (at(2), at(3, 5), at(3), True),  # exactly five minutes late: believed, but not after the observation
        (at(2), at(3, 5, 0, 1), at(3), False),
        (None, at(0), at(0), True),  # without a call start only the upper bound
        (None, datetime(1, 1, 1, tzinfo=UTC), datetime(1, 1, 1, tzinfo=UTC), True),
        (None, at(3, 4), at(3), True),
        (None, datetime(9999, 12, 31, 23, 59, tzinfo=UTC), at(3), False),
        (at(3, 4), at(3), at(3), True),  # our own clock went back: never after the observation
    ],
)
def test_the_instant_that_counts(started, claimed, expected, believed):
    """A claim within five minutes of call start and observation counts, within their bounds; otherwise ours."""
    item = evidence.Evidence(
        id="e", delivery_id="d", attempt=1, channel="sms", kind="arrived",
        call_started_at=started, claimed_at=claimed, observed_at=at(3),
    )  # fmt: skip
    assert instant_of(item) == expected
    assert evidence.claim_believed(item) is believed


def test_vocabulary_is_closed_and_whole():
    """Every kind of the vocabulary is there once, in its group."""
    assert len(KINDS) == 6 + 8 + 3
    assert list(CHANNELS) == ["in_site", "sms", "email", "postal", "announcement"]
    assert set(evidence.STRIKING) == {"rejected", "failed_permanent", "expired", "returned"}
