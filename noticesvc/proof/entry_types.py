"""Every type of ledger entry: which members stand open, which only as commitments, and to whom it belongs.

One list serves the writer's tests, the verifier and the published JSON Schemas. An entry of scope `notice` has `notice_id`,
`seq` and `subject_id`; of scope `subject` `subject_id` and `subject_seq`; of scope `either` one of the two; of scope `shared` neither.
A committed field stands
either as `<field>_commit` or, when its value is null, as `<field>: null`. An entry with `evidence_id` and `kind` is evidence.
No open member may hold personal data: only our ids, enumerated words, times and numbers.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from noticesvc.domain import cure
from noticesvc.domain.delivery import PASSED_OVER
from noticesvc.domain.evidence import CHANNELS, KINDS
from noticesvc.domain.statements import RESPONSES

Schema = Mapping[str, Any]

TIME: Final[Schema] = {"type": "string", "pattern": r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{6}Z$"}
DATE: Final[Schema] = {"type": "string", "pattern": r"^\d{4}-\d{2}-\d{2}$"}
ID: Final[Schema] = {"type": "string", "pattern": r"^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$"}
SHA256: Final[Schema] = {"type": "string", "pattern": r"^[0-9a-f]{64}$"}
COMMIT: Final[Schema] = {"type": "string", "pattern": r"^[A-Za-z0-9+/]{43}=$"}
NUMBER: Final[Schema] = {"type": "integer", "minimum": 1}
BOOL: Final[Schema] = {"type": "boolean"}
WORD: Final[Schema] = {"type": "string", "maxLength": 128}
CHANNEL: Final[Schema] = {"enum": list(CHANNELS)}
CONFIRMATION: Final[Schema] = {"enum": ["confirmed", "identified", "unknown"]}
CARRIES: Final[Schema] = {"enum": ["full", "link", "pointer"]}


def null(schema: Schema) -> Schema:
    """The schema, or null."""
    return {"anyOf": [schema, {"type": "null"}]}


def many(schema: Schema) -> Schema:
    """A list of these."""
    return {"type": "array", "items": schema}


def record(members: Mapping[str, Schema]) -> Schema:
    """An object with exactly these members."""
    return {"type": "object", "properties": dict(members), "required": list(members), "additionalProperties": False}


@dataclass(frozen=True, slots=True)
class EntryType:
    """One type of entry; `optional` members are left out where there is nothing to say."""

    scope: Literal["notice", "subject", "shared", "either"]
    open: Mapping[str, Schema]
    committed: tuple[str, ...] = ()
    optional: Mapping[str, Schema] = field(default_factory=dict)


EVIDENCE: Final[Mapping[str, Schema]] = {
    "evidence_id": null(ID), "kind": null({"enum": list(KINDS)}), "delivery_id": ID, "attempt": NUMBER, "channel": CHANNEL,
    "contact_id": null(ID), "provider": null(WORD), "source": WORD, "authenticated": BOOL, "authenticated_by": null(WORD),
    "carries": CARRIES, "call_started_at": null(TIME), "claimed_at": null(WORD), "observed_at": TIME,
    "confirmation": null(CONFIRMATION), "contact_in_effect": BOOL, "part": null(NUMBER), "parts": null(NUMBER),
    "same_raw_as": null(ID), "content_matches": null(BOOL), "refers_to": null(ID), "proved_at": null(TIME),
    "fault": null({"enum": ["recipient"]}), "code": null(WORD), "media_type": null(WORD),
}
EVIDENCE_COMMITTED: Final = ("raw", "raw_sha256", "content_sha256", "provider_reference", "claimed_time_raw")
INTENT: Final[Mapping[str, Schema]] = {
    "contact_effective_from": null(TIME), "contact_effective_to": null(TIME), "acceptance_id": null(ID),
    "overrode": many({"enum": ["refusal", "invalid_contact", "quiet_hours"]}),
}
INDEPENDENT: Final = null(record({"served_at": TIME, "channel": CHANNEL, "evidence_id": ID}))
RULE: Final = null(record({"id": WORD, "version": WORD, "clause": WORD, "levels": {"type": "object"},
                           "confirmations": null(many(CONFIRMATION))}))

ENTRY_TYPES: Final[Mapping[str, EntryType]] = {
    # recipients
    "recipient.recorded": EntryType("subject", {"account_state": {"enum": ["active", "locked", "closed", "void"]}}, ("recipient_id",)),
    "contact.recorded": EntryType("subject", {
        "contact_id": ID, "channel": CHANNEL, "confirmation": CONFIRMATION, "asserted_from": null(TIME), "verified_at": null(TIME),
        "effective_from": TIME}, ("address", "source")),
    # The latest one counts; null takes an announced end back.
    "contact.ended": EntryType("subject", {"contact_id": ID, "effective_to": null(TIME)}),
    "contact.state_changed": EntryType("subject", {"contact_id": ID, "state": {"enum": ["usable", "invalid"]}, "evidence_id": null(ID)}),
    # A dead contact that the recipient is asked to replace (clause 五.2②); the cure notice's acceptance names it.
    "cure.begun": EntryType("subject", {"cure_id": ID, "contact_id": ID, "evidence_id": ID}),
    "cure.ended": EntryType("subject", {"cure_id": ID, "contact_id": ID, "cure_notice_id": null(ID),
                                        "reason": {"enum": list(cure.ENDED)}}),
    "cure.lapsed": EntryType("subject", {"cure_id": ID, "contact_id": ID, "cure_notice_id": null(ID),
                                         "reason": {"enum": list(cure.LAPSED)}, "ends_at": null(TIME), "from_evidence_id": null(ID)}),
    "account.changed": EntryType("subject", {"state": {"enum": ["active", "locked", "closed", "void"]}}),
    "acceptance.recorded": EntryType("subject", {"acceptance_id": ID, "accepted_at": TIME},
                                     ("agreement", "version", "document_sha256", "presentation")),
    "preferences.recorded": EntryType("subject", {"refuse_commercial": many(CHANNEL)}),
    # From `anonymisation.requested` on nothing is processed; a hold forbids destruction until it is set to false again.
    "anonymisation.requested": EntryType("subject", {"shred_at": TIME, "key_id": null(ID)}, ("reason",)),
    "hold.set": EntryType("subject", {"held": BOOL, "key_id": null(ID)}, ("reason",)),
    # Written in the transaction that destroys the recipient's key; `destroyed` of a bundle names it.
    "recipient.anonymised": EntryType("subject", {}),
    # Going on with a database that was older than a checkpoint seen outside: from `kept_size` on this log has another history than
    # the one that ended with `lost_size` entries under `lost_root`. Decided by an operator, so there is no key.
    "ledger.recovered": EntryType("shared", {"kept_size": {"type": "integer", "minimum": 0}, "lost_size": NUMBER, "lost_root": WORD}),
    # shared
    "content.shared": EntryType("shared", {"content_id": ID}, ("content", "content_sha256")),
    "announcement.published": EntryType("shared", {"announcement_id": ID, "content_id": ID, "effective_at": null(TIME)}),
    # A broadcast was approved with a second key; `content_id` is null where each recipient has their own.
    "broadcast.approved": EntryType("shared", {
        "broadcast_id": ID, "category": WORD, "channels": many(CHANNEL), "rule": WORD, "policy_version": WORD, "rule_definition": RULE,
        "content_id": null(ID), "audience": {"enum": ["all", "upload"]}, "recipients": {"type": "integer", "minimum": 0},
        "effective_at": null(TIME), "created_by": ID, "approved_by": ID}, ("name", "notice", "audience_sha256", "rates")),
    # notices; `announcement_id` where the announcement was live at once, else `announcement.joined` names it
    "notice.accepted": EntryType("notice", {
        "key_id": ID, "category": WORD, "mandatory": BOOL, "strategy": WORD, "ladder_after": null(WORD), "rule": WORD,
        "policy_version": WORD, "rule_definition": RULE, "deliveries": many(record({"id": ID, "channel": CHANNEL, "carries": CARRIES})),
        "content_id": ID, "not_before": null(TIME), "expires_at": null(TIME), "effective_at": null(TIME),
        "response_window": null({"type": "object"}), "broadcast_id": null(ID), "announcement_id": null(ID),
        "acceptance_id": null(ID), "document_ids": many(ID), "cure_id": null(ID)},
        ("recipient_id", "reference", "content", "content_sha256", "case", "metadata", "ground")),
    "announcement.joined": EntryType("notice", {"announcement_id": ID}),
    "notice.cancelled": EntryType("notice", {"reason": {"enum": ["caller", "agreement_void", "anonymised"]}, "key_id": null(ID)}),
    "delivery.closed": EntryType("notice", {
        "delivery_id": ID, "channel": CHANNEL, "state": {"enum": ["undeliverable", "cancelled", "expired", "failed"]},
        "reason": {"enum": ["no_contact", "no_provider", "refused_by_recipient", "cancelled_by_caller", "agreement_void", "anonymised",
                            "served_already", "expires_at", "no_tries_left"]}}),
    # `passed_over`: providers that go before this one by priority, and why they did not get this attempt. So a switch is told once, by
    # the attempt that follows it, and a delivery that merely waits writes nothing however long a breaker is open.
    "attempt.intended": EntryType("notice", {**EVIDENCE, **INTENT}, (*EVIDENCE_COMMITTED, "contact"), {
        "passed_over": many(record({"provider": WORD, "reason": {"enum": list(PASSED_OVER)}}))}),
    "attempt.answered": EntryType("notice", {
        **EVIDENCE, **INTENT, "outcome": {"enum": ["submitted", "relayed", "arrived", "rejected", "failed_temporary",
                                                   "failed_permanent", "unknown", "not_sent"]}, "intended_id": null(ID)},
        (*EVIDENCE_COMMITTED, "contact", "message_sha256")),
    "receipt.observed": EntryType("notice", {**EVIDENCE, "receipt_id": null(ID)}, EVIDENCE_COMMITTED),
    # `documents` are the hashes of `document_ids`.
    "evidence.stated": EntryType("notice", {**EVIDENCE, "key_id": null(ID), "document_ids": many(ID)},
                                 (*EVIDENCE_COMMITTED, "statement", "documents")),
    "response.recorded": EntryType("notice", {
        "response_id": ID, "response": {"enum": list(RESPONSES)}, "express_refusal": BOOL, "effective_at": null(TIME), "key_id": ID},
        ("statement",)),
    "service.determined": EntryType("notice", {
        "rule": WORD, "policy_version": WORD, "revision": NUMBER, "served": BOOL, "served_at": null(TIME), "served_on": null(DATE),
        "channel": null(CHANNEL), "evidence_id": null(ID), "basis": null(WORD), "conflict": BOOL, "analysis": BOOL,
        "deadline_from_on": null(DATE), "independent": INDEPENDENT}),
    "deadline.set": EntryType("notice", {
        "kind": {"enum": ["cure", "response", "appeal"]}, "from_on": DATE, "ends_at": TIME, "calendar_version": WORD,
        "without_data": BOOL, "from_evidence_id": ID}),  # not `evidence_id`: with `kind` that would make it evidence
    # Reading a proof is a fact too: of a notice, or of a recipient's contacts at a time (`in_effect_at`).
    # `key_id` is null when an operator read it at the shell.
    "proof.read": EntryType("either", {"key_id": null(ID), "issuer": WORD, "software": WORD, "issued_at": TIME, "format": WORD,
                                       "in_effect_at": null(TIME)}, ("reason",)),
    # A PDF made of a reading; its hashes are over files that hold salts, so that nothing can be guessed from them.
    "certificate.issued": EntryType("notice", {
        "number": WORD, "grade": {"enum": ["full", "brief", "summary"]}, "lang": {"enum": ["zh", "en", "both"]}, "read_seq": NUMBER,
        "pdf_sha256": SHA256, "proof_sha256": SHA256, "facts_sha256": SHA256, "key_id": null(ID)}),
    "certificate.read": EntryType("notice", {"number": WORD, "key_id": null(ID)}),
}
SCOPE_MEMBERS: Final[Mapping[str, Mapping[str, Schema]]] = {
    "notice": {"notice_id": ID, "seq": NUMBER, "subject_id": ID},
    "subject": {"subject_id": ID, "subject_seq": NUMBER},
    "shared": {},
}


def json_schema(type_: str) -> dict[str, Any]:
    """The JSON Schema (2020-12) of one entry type."""
    found = ENTRY_TYPES[type_]
    scopes = ("notice", "subject") if found.scope == "either" else (found.scope,)
    members: dict[str, Any] = {"v": {"const": 1}, "type": {"const": type_}, "at": TIME, **found.open}
    either = [{"oneOf": [{"required": [f"{name}_commit"]}, {"required": [name]}]} for name in found.committed]
    either.append({"oneOf": [{"required": list(SCOPE_MEMBERS[scope])} for scope in scopes]})
    optional = {f"{name}_commit": COMMIT for name in found.committed} | {name: {"type": "null"} for name in found.committed}
    optional |= found.optional
    for scope in scopes:
        optional |= SCOPE_MEMBERS[scope]
    schema: dict[str, Any] = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": type_, "type": "object",
                              "properties": members | optional, "required": list(members), "additionalProperties": False, "allOf": either}
    return schema


def json_schemas() -> dict[str, Any]:
    """All of them, by type: what `/v1/ledger/schemas.json` serves."""
    return {name: json_schema(name) for name in ENTRY_TYPES}
