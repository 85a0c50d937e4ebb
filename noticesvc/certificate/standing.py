"""Whether a certificate is still current: a hash of what it says that may change, and never of anything personal.

Made when a certificate is issued and again when it is checked. It covers each rule's result with its provisional mark and what it
hangs on, the deadlines, and which contact version each attempt used; new evidence that changes none of these supersedes nothing.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from noticesvc.ledger.canonical import canonical

_RESULT = ("rule", "policy_version", "served", "served_at", "channel", "evidence_id", "basis", "provisional", "conflict", "independent",
           "without_winner")
_CONTACT = ("contact_id", "confirmation", "effective_from")


def facts_sha256(notice: Mapping[str, Any], outcomes: Sequence[Mapping[str, Any]]) -> str:
    """The hash over a notice's body and its outcomes (as in a proof bundle), in hex."""
    contacts = [{"channel": one["channel"], "attempts": [attempt["contact_id"] for attempt in one["attempts"]],
                 "contact": None if one["contact"] is None else {name: one["contact"][name] for name in _CONTACT}}
                for one in notice["deliveries"]]
    facts = {"results": [{name: one[name] for name in _RESULT} for one in outcomes], "deadlines": list(notice["deadlines"]),
             "contacts": contacts, "rule": notice["service"]["rule"]}
    return hashlib.sha256(canonical(facts)).hexdigest()
