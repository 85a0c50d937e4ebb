"""Part of step 6 for the bundle of a notice: what people stated could be stated so, and responses say what they are.

Called by proof.verify_notice. Answers one sentence for each failure.
"""

import json
from collections.abc import Iterator, Sequence

from noticesvc.domain import instant
from noticesvc.domain.statements import AUTHENTICATED_BY, SOURCE, STATABLE, is_express_refusal
from noticesvc.proof.entries import Entry, Values


def agree(accepted: Entry, later: Sequence[Entry], values: Values) -> Iterator[str]:
    """Statements and responses among the entries about a notice after its acceptance."""
    ids: set[str] = set()
    for entry in later:
        here = f"Entry {entry.position} ({entry.type})"
        if entry.type == "evidence.stated":
            yield from (f"{here} {what}" for what in _stated(entry, values))
        elif entry.type == "response.recorded":
            yield from (f"{here} {what}" for what in _response(accepted, entry))
            if entry["response_id"] in ids:
                yield f"{here} records a response a second time."
            ids.add(entry["response_id"])


def _stated(entry: Entry, values: Values) -> Iterator[str]:
    if entry["kind"] not in STATABLE[entry["channel"]]:
        yield "states what nobody can state of a delivery on this channel."
    if (entry["source"], entry["authenticated_by"], entry["observed_at"]) != (SOURCE, AUTHENTICATED_BY, entry["at"]):
        yield "is not a person's statement of its own time."
    if entry["fault"] is not None and entry["kind"] != "returned":
        yield "names a fault of what did not come back."
    if entry["kind"] != "rebutted" and (entry["refers_to"] is not None or entry["proved_at"] is not None):
        yield "rebuts, but is no rebuttal."
    files = values.get((entry.position, "documents"))
    if "documents_commit" in entry.members:
        if files is not None and len(json.loads(files)) != len(entry["document_ids"]):
            yield "does not name as many documents as hashes of them."
    elif entry["document_ids"]:
        yield "names documents without their hashes."


def _response(accepted: Entry, entry: Entry) -> Iterator[str]:
    if entry["effective_at"] != accepted["effective_at"]:
        yield "tells another effective time than the notice."
    effective = None if accepted["effective_at"] is None else instant.parse(accepted["effective_at"])
    if entry["express_refusal"] is not is_express_refusal(accepted["category"], effective, entry["response"], instant.parse(entry["at"])):
        yield "says that it is an express refusal or not, against its time and the notice."
