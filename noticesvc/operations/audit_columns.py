"""Which columns of which tables the audit holds against the ledger, in which way, and which it leaves out for which reason.

Called by operations.audit_open; a test takes the columns from the schema and demands that each stands in exactly one place
here, so that a column which is added later is either compared or left out by a sentence.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from sqlalchemy import BigInteger, Table

from noticesvc.domain import instant
from noticesvc.storage import tables as t

_EVIDENCE = ("channel", "attempt", "kind", "source", "authenticated", "authenticated_by", "carries", "call_started_at", "claimed_at",
             "observed_at", "confirmation", "contact_in_effect", "part", "parts", "provider", "same_raw_as", "content_matches", "refers_to",
             "proved_at", "fault", "code", "media_type")

# Columns that repeat a member of the entry which the row names: column -> member.
SAME: Final[Mapping[str, Mapping[str, str]]] = {
    "notice": {"id": "notice_id", "accepted_at": "at"} | {name: name for name in (
        "subject_id", "content_id", "key_id", "category", "strategy", "ladder_after", "rule", "not_before", "expires_at", "effective_at",
        "broadcast_id", "acceptance_id")},
    "attempt": {"number": "attempt", "intended_at": "observed_at"} | {name: name for name in (
        "notice_id", "channel", "provider", "contact_id", "confirmation", "contact_effective_from")},
    "evidence": {"notice_id": "notice_id", "id": "evidence_id"} | {name: name for name in _EVIDENCE},
    "notice_entry": {name: name for name in ("notice_id", "seq", "type")},
    "recipient": {"subject_id": "subject_id", "created_at": "at"},
    "contact": {"id": "contact_id", "recorded_at": "at"} | {name: name for name in (
        "subject_id", "channel", "confirmation", "asserted_from", "verified_at", "effective_from")},
    "cure": {"id": "cure_id", "begun_at": "at"} | {name: name for name in ("subject_id", "contact_id", "evidence_id")},
    "acceptance": {"id": "acceptance_id", "subject_id": "subject_id", "accepted_at": "accepted_at", "recorded_at": "at"},
    "subject_entry": {name: name for name in ("subject_id", "subject_seq", "type")},
    "certificate": {"issued_at": "at"} | {name: name for name in (
        "number", "notice_id", "subject_id", "grade", "lang", "key_id", "pdf_sha256", "proof_sha256", "facts_sha256")},
    "content": {"id": "content_id"},
    "broadcast": {"id": "broadcast_id", "approved_at": "at", "key_id": "created_by"} | {name: name for name in (
        "category", "audience", "effective_at", "approved_by", "content_id")},
    "announcement": {"id": "announcement_id", "content_id": "content_id", "published_at": "at", "effective_at": "effective_at"},
}

# Columns that are compared with what follows from several entries, or from opened values.
DERIVED: Final[Mapping[str, tuple[str, ...]]] = {
    "notice": ("state", "response_window", "reference_index", "case_index", "sealed", "announcement_id", "seq", "revision", "served",
               "served_at", "service_channel", "service_evidence_id", "basis", "conflict", "independent_at", "independent_channel",
               "independent_evidence_id", "determined_batch", "determined_offset", "deadlines", "entry_batch", "entry_offset"),
    "delivery": ("notice_id", "channel", "id", "subject_id", "position", "carries", "state", "closed"),
    "attempt": ("evidence_id", "call_started_at", "passed_over", "sealed", "outcome", "closed_batch", "closed_offset", "entry_batch",
                "entry_offset"),
    "evidence": ("answer", "raw_index", "sealed", "entry_batch", "entry_offset"),
    "notice_entry": ("sealed", "entry_batch", "entry_offset"),
    "provider_reference": ("reference_index", "notice_id", "channel", "attempt"),
    "link": ("token_hash", "notice_id", "channel"),
    "inbox_message": ("notice_id", "subject_id", "sent_at", "displayed_at", "opened_at", "acknowledged_at"),
    "recipient": ("recipient_index", "wrapped_key", "sealed", "account_state", "void_at", "refuse_commercial", "subject_seq",
                  "anonymised_at", "shred_at", "held_at", "acceptance_id", "entry_batch", "entry_offset"),
    "contact": ("address_index", "source_index", "sealed", "effective_to", "state", "entry_batch", "entry_offset"),
    "cure": ("notice_id", "state", "reason", "entry_batch", "entry_offset"),
    "acceptance": ("sealed", "entry_batch", "entry_offset"),
    "subject_entry": ("about_id", "sealed", "entry_batch", "entry_offset"),
    "certificate": ("sealed", "entry_batch", "entry_offset"),
    "content": ("subject_id", "sealed", "entry_batch", "entry_offset"),
    "broadcast": ("channels", "template", "rates", "sealed", "sealed_approval", "total", "expanded", "skipped", "counts", "entry_batch",
                  "entry_offset"),
    "broadcast_recipient": ("broadcast_id", "subject_id", "sealed", "skipped"),
    "announcement": ("content_index", "entry_batch", "entry_offset"),
    "notice_document": ("document_id", "notice_id"),
    "document": ("id", "sha256", "media_type", "size", "wrapped_key", "sealed"),
    "ledger_pending": ("batch", "data"),
    "ledger_index": ("batch", "first"),
    "ledger_bundle": ("n", "data"),
    "ledger_tile": ("level", "n", "data"),
    "ledger_checkpoint": ("size", "note"),
    "ledger_head": ("size",),
    "ledger_key": ("vkey",),
    "ledger_timestamp": ("size", "note", "token", "stamped_at"),
    "ledger_cosignature": ("size", "vkey", "line"),
}

_WORK = "a plan of work, which says when to do something and nothing of what was done"
LEFT_OUT: Final[Mapping[str, Mapping[str, str]]] = {
    "delivery": dict.fromkeys(("priority", "due_at", "attempts", "failures", "lease_owner", "lease_until",
                               "avoid"), _WORK),
    "broadcast": {
        "state": "whether it goes on; what it led to is told by the notices' own entries",
        "created_at": "when the draft was made; what counts is when it was approved",
        "ended_at": "when it was seen to be complete or was cancelled; the notices' entries tell what became of each",
        **dict.fromkeys(("lane", "expanded_to", "cancelled_to", "samples", "due_at"), _WORK)},
    "inbox_message": {"id": "a random name by which the inbox's own pages call the message"},
    "recipient": {
        "locale": "the language of later texts; a text that was sent is in its content",
        "source_versions": "counters by which a source's stale sets are refused; what was recorded has its entries",
        "changed_at": "a clock that keeps later intervals in order; the intervals have their entries"},
    "contact": {
        "position": "preference among contacts, which changes without an entry; which one was used is in the intent",
        "cure_due_at": _WORK,
        "invalid_by": "which failures keep the contact invalid; that it is, and by which first failure, is an entry"},
    "cure": {"due_at": _WORK},
    "document": {"created_at": "when the bytes were uploaded; contents name the bytes by their hash"},
    "ledger_pending": {
        "pos": "the order of transactions before they have an index; numbers of notices and recipients are checked in it",
        "created_at": "how long the entries wait, which only makes the audit complain"},
    "ledger_checkpoint": {"signed_at": "our own note of the time; outside timestamps prove when a checkpoint was there"},
    "ledger_head": {
        "id": "there is one row, always of this number", "epoch": "who sequences at the moment", "owner": "who sequences at the moment"},
    "ledger_timestamp": {"id": "a random name of the row", "tsa": "which service was asked; the token names who signed it"},
    "ledger_cosignature": {"signed_at": "our own note of the time; the line holds the witness's own"},
    "ledger_key": {"since": "the order in which keys are listed; each signature says by its key id which one it is of"},
}

TABLES_LEFT_OUT: Final[Mapping[str, str]] = {
    "template": "texts to write notices from; what a notice said is its own content",
    "idempotency": "replies kept for repeated requests; the notices themselves have their entries",
    "receipt": "bytes that nobody has interpreted yet; interpreted, they are evidence with an entry and the bytes themselves",
    "receipt_waiting": "where to look again when an attempt becomes known that stored bytes speak of",
    "inquiry": "a plan of work: which provider to ask when; its answers are evidence",
    "provider_pace": "how fast to send, shared by the workers",
    "schema_floor": "which programs understand the tables",
    "outgoing_event": "a queue of messages to the caller's own systems",
    "sandbox_message": "the sandbox's mailbox, which nobody was served by",
    "sandbox_receipt": "the sandbox's own queue",
    "api_key": "who may call; which key did what stands in the entries by its id",
    "broadcast_delta": "what transactions changed of counts that follow from the notices",
    "broadcast_response": "which answers are counted already; each answer has an entry of its own",
    "ledger_audit": "what an earlier audit said; this one says it anew",
    "vault_key": "opened before the audit can begin: a changed one ends the command with a sentence that says so",
}

_TIMES: Final = {table.name: frozenset(column.name for column in table.columns if type(column.type) is BigInteger)
                 for table in t.metadata.tables.values()}


def differing(table: Table, row: Any, members: Mapping[str, Any]) -> Iterator[str]:
    """The columns of a row that do not repeat their member of the entry."""
    times = _TIMES[table.name]
    for column, member in SAME[table.name].items():
        value = getattr(row, column)
        if (text(value) if column in times else value) != members.get(member):
            yield column


def text(micros: int | None) -> str | None:
    """An instant of a column as entries write it; what is no instant is written as it stands."""
    if micros is None:
        return None
    try:
        return instant.text(instant.from_micros(micros))
    except (ValueError, OverflowError):
        return str(micros)
