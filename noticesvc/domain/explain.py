"""Service time and deadlines at the shell: JSON in, JSON out, for the legal team and for tests.

Called by `noticesvc explain FILE.json` and `noticesvc deadline`, which read and print; nothing here does.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from noticesvc.domain import deadline, evidence, instant, service_time
from noticesvc.domain.calendar import Calendar
from noticesvc.domain.rules import BUILT_IN, Rule
from noticesvc.errors import Fault, InputError


class Line(NamedTuple):
    """One line of JSON in ASCII, and whether it is an answer (else it says what is wrong with the question)."""

    text: str
    answered: bool


def explain_lines(data: object, rules: Mapping[str, Rule] = BUILT_IN) -> Iterator[Line]:
    """One line for each question in `data`, in order; `data` is one object or a list of them, already read from JSON.

    A question is `{"rule", "as_of"|null, "notice": {"content_sha256"}, "evidence": [...]}`; other members are ignored.
    An answer is the result with its trace. A question that cannot be read gets `{"error", "errors": [{"pointer",
    "detail"}]}` with RFC 6901 pointers into `data`, and takes no other answer with it.
    """
    if isinstance(data, list):
        for index, question in enumerate(data):
            yield _line(question, f"/{index}", rules)
    else:
        yield _line(data, "", rules)


def deadline_json(from_text: str, working_days: int, calendar: Calendar) -> dict[str, Any]:
    """The members that `noticesvc deadline --from TIME --working-days N` prints.

    The Shanghai date of the RFC 3339 time `from_text` is not counted; `ends_at` is UTC with `Z`. Raises InputError for
    a time that cannot be read and for a number of days out of bounds.
    """
    try:
        from_on = instant.shanghai_date(instant.parse(from_text))
    except ValueError:
        raise _refusal("/from", "must be an RFC 3339 time with an offset") from None
    found = deadline.working_days(from_on, working_days, calendar)
    return {
        "ends_at": instant.text(found.ends_at),
        "calendar_version": found.calendar_version,
        "counted": [day.isoformat() for day in found.counted],
        "provisional": found.provisional,
    }


def _line(question: object, pointer: str, rules: Mapping[str, Rule]) -> Line:
    try:
        return Line(_json(_explain(question, pointer, rules)), True)
    except InputError as error:
        faults = [{"pointer": fault.pointer, "detail": fault.detail} for fault in error.faults]
        return Line(_json({"error": error.detail, "errors": faults}), False)


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=True, separators=(",", ":"))


def _explain(question: object, pointer: str, rules: Mapping[str, Rule]) -> dict[str, Any]:
    if not isinstance(question, Mapping):
        raise _refusal(pointer, "must be an object with rule, as_of, notice and evidence")
    name = question.get("rule")
    rule = rules.get(name) if isinstance(name, str) else None
    if rule is None:
        raise _refusal(f"{pointer}/rule", "must be one of " + ", ".join(rules))
    items = question.get("evidence")
    if not isinstance(items, list):
        raise _refusal(f"{pointer}/evidence", "must be a list of evidence items")
    notice = question.get("notice")
    content_sha256 = notice.get("content_sha256") if isinstance(notice, Mapping) else None
    if not isinstance(content_sha256, str):
        raise _refusal(f"{pointer}/notice/content_sha256", "must be the notice's content hash as a string")
    as_of = question.get("as_of")
    try:
        moment = instant.parse(as_of) if as_of is not None else None
    except ValueError:
        raise _refusal(f"{pointer}/as_of", "must be null or an RFC 3339 time with an offset") from None
    known = [evidence.from_json(item, f"{pointer}/evidence/{index}") for index, item in enumerate(items)]
    try:
        result = service_time.determine(rule, known, content_sha256, moment, explain=True)
    except InputError as error:
        faults = tuple(Fault(pointer + fault.pointer, fault.detail) for fault in error.faults)
        raise InputError(error.detail, faults) from None
    return result.to_json()


def _refusal(pointer: str, detail: str) -> InputError:
    return InputError(f"The question cannot be answered: {pointer or 'it'} {detail}.", (Fault(pointer, detail),))
