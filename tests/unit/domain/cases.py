"""Short-hand for the tests of service time: evidence on 2026-10-09 with everything in order unless said otherwise."""

from datetime import UTC, datetime, timedelta

from noticesvc.domain.evidence import Evidence
from noticesvc.domain.rules import BUILT_IN
from noticesvc.domain.service_time import determine

CONTENT = "a" * 64
START = datetime(2026, 10, 9, 2, 0, tzinfo=UTC)  # 10:00 in Shanghai, a Friday


def at(minutes):
    """The instant so many minutes after START."""
    return START + timedelta(minutes=minutes)


def item(id, kind, minutes, channel="sms", **more):  # noqa: A002
    """An item of the first attempt of the channel's delivery, observed so many minutes after START."""
    members = {
        "delivery_id": f"d-{channel}", "attempt": 1, "source": "gateway", "content_sha256": CONTENT,
        "confirmation": "confirmed", "observed_at": at(minutes),
    }  # fmt: skip
    return Evidence(id=id, kind=kind, channel=channel, **{**members, **more})


def rebut(id, target, minutes=600, proved=None, **more):  # noqa: A002
    """A rebuttal of `target`; `proved` is the proved instant in minutes."""
    proved_at = None if proved is None else at(proved)
    return item(id, "rebutted", minutes, source="person", refers_to=target, proved_at=proved_at, **more)


def result(*items, rule="agreement-6.2", as_of=None):
    """The result of these items under a built-in rule, with its trace."""
    return determine(BUILT_IN[rule], items, CONTENT, as_of, explain=True)


def served(*items, rule="agreement-6.2", as_of=None):
    """(minutes after START, channel, evidence id) of service, or null."""
    found = result(*items, rule=rule, as_of=as_of)
    if not found.served:
        return None
    return (found.served_at - START) / timedelta(minutes=1), found.channel, found.evidence_id


def aside(found):
    """Set-aside reasons by id."""
    return {entry.evidence_id: entry.reason for entry in found.set_aside}


def struck(found):
    """What struck which event."""
    return {entry.evidence_id: (entry.reason, entry.by) for entry in found.struck}
