"""Step 7 for the bundle of a notice: determinations, deadlines, the notice as shown and all outcomes, derived again.

Called by proof.verify when steps 1 to 6 hold. Nothing here is believed that can be computed.
"""

from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from typing import Any

from noticesvc.domain import calendar, deadline, instant, notice, service_time, view
from noticesvc.domain.result import Determined, Result
from noticesvc.domain.rules import BUILT_IN
from noticesvc.ledger.canonical import canonical
from noticesvc.proof.bundle import Bundle
from noticesvc.proof.entries import Entry, Values, of_notice
from noticesvc.proof.facts_from_entries import evidence_facts, notice_facts

_DETERMINED = ("rule", "policy_version", "served", "served_at", "served_on", "channel", "evidence_id", "basis", "conflict", "analysis",
               "deadline_from_on", "independent")


def derive(bundle: Bundle, entries: Sequence[Entry], values: Values) -> list[str]:
    """One sentence for each thing that does not follow."""
    facts = notice_facts(entries, values)
    as_of = instant.parse(bundle.issued_at)
    failures = list(_determinations(entries, values, facts))
    failures += _compare(view.body(facts, as_of, BUILT_IN.values()), bundle.own["notice"], "notice")
    outcomes = view.outcomes(facts, as_of, BUILT_IN.values())
    told = bundle.own["outcomes"]
    if not isinstance(told, list) or len(told) != len(outcomes):
        return [*failures, "The outcomes are not those of the built-in rules and the notice's own."]
    for derived, one in zip(outcomes, told, strict=True):
        failures += _compare(derived, one, f"outcome under {derived['rule']}")
    return failures


def _compare(derived: dict[str, Any], told: Any, what: str) -> Iterator[str]:
    if not isinstance(told, dict) or set(told) != set(derived):
        yield f"The {what} does not have exactly the members that it should."
        return
    for name, value in derived.items():
        if canonical(value) != canonical(told[name]):
            yield f"The {what} shows a {name} that does not follow from the entries."


def _determinations(entries: Sequence[Entry], values: Values, facts: view.NoticeFacts) -> Iterator[str]:
    """Each `service.determined` and `deadline.set` follows from the evidence before it; the last one still holds."""
    items: list[Any] = []
    last: Determined | None = None
    revision = 0
    accepted = of_notice(entries)[0]
    for entry in of_notice(entries):
        items += [fact.item for fact in evidence_facts((entry,), values, facts.content_sha256)]
        if entry.type == "service.determined":
            result, revision = _judge(items, facts), revision + 1
            shown = result.to_json()
            if any(canonical(entry[name]) != canonical(shown[name]) for name in _DETERMINED):
                yield f"Entry {entry.position} determines a service that does not follow from the evidence before it."
            if entry["revision"] != revision or not service_time.changed(last, result):
                yield f"Entry {entry.position} is not the next revision of the determined service."
            last = result.determined()
        elif entry.type == "deadline.set":
            yield from (f"Entry {entry.position} sets a deadline {what}" for what in _deadline(entry, accepted, _judge(items, facts)))
    if service_time.changed(last, _judge(items, facts)):
        yield "The service that was determined last is not the one that follows from all evidence."


def _judge(items: Sequence[Any], facts: view.NoticeFacts) -> Result:
    return service_time.determine(facts.rule, items, facts.content_sha256 or "", None)


def _deadline(entry: Entry, accepted: Entry, result: Result) -> Iterator[str]:
    own, window = result.independent, notice.windows(accepted["category"], accepted["response_window"]).get(entry["kind"])
    if own is None or (entry["from_evidence_id"], entry["from_on"]) != (own.evidence_id, own.deadline_from_on.isoformat()):
        yield "that does not run from the independent service."
        return
    if window is None:
        yield "that the notice does not have."
        return
    told = (entry["ends_at"], entry["without_data"])
    if "days" in window:
        found = deadline.calendar_days(own.deadline_from_on, window["days"])
    elif entry["calendar_version"] == calendar.BUILT_IN.version:
        found = deadline.working_days(own.deadline_from_on, window["working_days"], calendar.BUILT_IN)
    else:  # an operator's calendar, whose data is not in the bundle: the end must at least be one
        if not _is_midnight_after(entry["ends_at"], own.deadline_from_on, window["working_days"]):
            yield "that does not end at 24:00 of a day that can be its last."
        return
    if told != (instant.text(found.ends_at), found.provisional):
        yield "that does not end where the count ends."


def _is_midnight_after(ends_at: str, from_on: date, days: int) -> bool:
    moment = instant.parse(ends_at)
    on = instant.shanghai_date(moment)
    return instant.shanghai_date(moment - timedelta(microseconds=1)) < on and on > from_on + timedelta(days=days)
