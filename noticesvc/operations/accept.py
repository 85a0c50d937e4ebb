"""Accepting notices, many in one transaction: the POST and batch routes, and whoever shares their commit.

One bad notice never spoils the others: each request gets an Accepted or the error that refuses it. What is answered as
accepted is durable with the transaction: notice, content, deliveries, idempotency key and the entry `notice.accepted`.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from noticesvc.domain import notice
from noticesvc.domain.access import Access
from noticesvc.domain.content import Content
from noticesvc.domain.rules import BUILT_IN
from noticesvc.errors import Fault, InputError, NoticesvcError, UnavailableError, Unprocessable
from noticesvc.operations import announcements, contents
from noticesvc.operations.evidence import at
from noticesvc.operations.notice_request import NoticeRequest, Resolved, resolve
from noticesvc.operations.settle import settle
from noticesvc.operations.unit import Unit
from noticesvc.operations.world import World
from noticesvc.proof import openings
from noticesvc.storage import tables as t
from noticesvc.storage.transaction import Tx
from noticesvc.vault import fingerprint

_NAME = ("key_id", "key_hash")  # what an idempotency key is known by


@dataclass(frozen=True, slots=True)
class Accepted:
    """A notice that is accepted: now, or (replayed) by an earlier request with the same idempotency key."""

    id: str
    accepted_at: str
    warnings: tuple[str, ...] = ()
    replayed: bool = False


Outcome = Accepted | NoticesvcError


def accept(tx: Tx, world: World, requests: Sequence[tuple[Access, NoticeRequest]]) -> list[Outcome]:
    """Accept or refuse each request.

    1. Repeats of an idempotency key are answered from what was accepted then.
    2. Recipients, templates and documents are looked up for all requests at once.
    3. Each request is resolved and checked; what fails is answered with its error.
    4. Keys are claimed; one that another process claimed meanwhile is answered as in 1.
    5. Rows and entries of all accepted notices are written together.
    """
    outcomes: list[Outcome | None] = _replays(tx, requests)
    open_ = [i for i, outcome in enumerate(outcomes) if outcome is None]
    found = Lookups(tx, world, [requests[i][1] for i in open_])
    prepared: list[tuple[int, Prepared]] = []
    for i in open_:
        try:
            prepared.append((i, found.prepare(*requests[i])))
        except NoticesvcError as error:
            outcomes[i] = error
    prepared = _claim_keys(tx, requests, prepared, outcomes)
    _write(tx, world, [p for _, p in prepared])
    for i, p in prepared:
        outcomes[i] = Accepted(p.notice_id, tx.at, p.resolved.warnings)
    first: dict[tuple[str, str], int] = {}
    for i, outcome in enumerate(outcomes):  # the same key twice in one group: the second repeats the one that was accepted
        access, request = requests[i]
        name = (access.key_id, request.idempotency_key or "")
        if outcome is None:
            outcomes[i] = _same(requests[first[name]][1], request, outcomes[first[name]])
        elif isinstance(outcome, Accepted):
            first.setdefault(name, i)
    return [outcome for outcome in outcomes if outcome is not None]


@dataclass(slots=True)
class Prepared:
    """A request that can be accepted, with all that it names."""

    notice_id: str
    access: Access
    request: NoticeRequest
    resolved: Resolved
    content: Content
    recipient: Any


class Lookups:
    """What the requests name, loaded in one query a table."""

    def __init__(self, tx: Tx, world: World, requests: Sequence[NoticeRequest]) -> None:
        self.tx, self.world = tx, world
        self.index = {r.recipient_id: world.vault.index("recipient", r.recipient_id) for r in requests}
        self.recipients = {row.recipient_index: row for row in tx.rows(t.recipient, "recipient_index", list(self.index.values()))}
        self.templates = contents.load_templates(tx, world, {(r.template, r.template_version) for r in requests if r.template is not None})
        wanted = {d for r in requests for d in r.documents}
        self.documents = {row.id: row.sha256.hex() for row in tx.execute(select(t.document.c.id, t.document.c.sha256).where(
            tx.within(t.document.c.id, wanted)))} if wanted else {}

    def prepare(self, access: Access, request: NoticeRequest) -> Prepared:
        """Check one request. Raises the error that refuses it."""
        if request.template is None:
            sms, carries = request.sms, request.sms_carries
        else:
            template = self.templates.get((request.template, request.template_version))
            if template is None:
                raise InputError("There is no such template.", (Fault("/template/name", "names no template, or no such version of it"),))
            sms, carries = template.sms, template.sms_carries
        resolved = resolve(request, self.world, sms, carries, access.allows_category)
        if "sms" in resolved.channels and not self.world.can_send_sms(request.template):
            raise InputError("No SMS provider can send this notice: those configured send only templates that their vendors approved.", (
                Fault("/content/sms" if request.template is None else "/template/name", "is mapped to no vendor's template"),))
        missing = tuple(Fault(f"/documents/{i}", "names no document") for i, d in enumerate(request.documents) if d not in self.documents)
        if missing:
            raise InputError("A document is not known; upload it first.", missing)
        content = contents.rendered(request, self.templates, tuple(self.documents[d] for d in request.documents))
        recipient = self.recipients.get(self.index[request.recipient_id])
        if recipient is None or recipient.wrapped_key is None or recipient.anonymised_at is not None:
            raise Unprocessable("unknown-recipient", "There is no such recipient; put their contacts first.",
                                (Fault("/recipient_id", "names no recipient"),))
        if recipient.account_state == "void":
            raise Unprocessable("agreement-void", "The agreement with this recipient is void, so a notice under it serves nothing.")
        return Prepared(self.tx.new_id(), access, request, resolved, content, recipient)


def _replays(tx: Tx, requests: Sequence[tuple[Access, NoticeRequest]]) -> list[Outcome | None]:
    hashes = {i: key_hash(r.idempotency_key) for i, (_, r) in enumerate(requests) if r.idempotency_key is not None}
    if not hashes:
        return [None] * len(requests)
    rows = tx.among(t.idempotency, _NAME, {(requests[i][0].key_id, found) for i, found in hashes.items()})
    known = {(row.key_id, row.key_hash): row for row in rows}
    return [_replayed(known.get((access.key_id, hashes.get(i, b""))), request) for i, (access, request) in enumerate(requests)]


def _replayed(row: Any, request: NoticeRequest) -> Outcome | None:
    if row is None:
        return None
    if row.body_hash != request.body_hash:
        return reused()
    warnings = tuple(json.loads(row.warnings)) if row.warnings else ()
    return Accepted(row.notice_id, at(row.created_at) or "", warnings, replayed=True)


def reused() -> Unprocessable:
    """The answer to an idempotency key that came with another body."""
    return Unprocessable("idempotency-key-reused", "This idempotency key was used for another body; use a fresh key for a new notice.")


def _same(first: NoticeRequest, request: NoticeRequest, outcome: Outcome | None) -> Outcome:
    if first.body_hash != request.body_hash:
        return reused()
    if isinstance(outcome, Accepted):
        return Accepted(outcome.id, outcome.accepted_at, outcome.warnings, replayed=True)
    return outcome or reused()


def key_hash(key: str) -> bytes:
    """How an idempotency key is stored."""
    return fingerprint(key.encode("utf-8", "surrogatepass"))[:16]


def _claim_keys(tx: Tx, requests: Sequence[tuple[Access, NoticeRequest]], prepared: list[tuple[int, Prepared]],
                outcomes: list[Outcome | None]) -> list[tuple[int, Prepared]]:
    """Insert the idempotency keys; drop what lost a race, and what repeats a key within this group."""
    names = {i: (p.access.key_id, key_hash(p.request.idempotency_key)) for i, p in prepared if p.request.idempotency_key is not None}
    first = {name: i for i, name in reversed(names.items())}
    if not first:
        return prepared
    rows = [{"key_id": names[i][0], "key_hash": names[i][1], "body_hash": p.request.body_hash, "notice_id": p.notice_id,
             "warnings": json.dumps(p.resolved.warnings) if p.resolved.warnings else None, "created_at": tx.now}
            for i, p in prepared if first.get(names.get(i, ("", b""))) == i]
    rows.sort(key=lambda row: (row["key_id"], row["key_hash"]))  # two processes claim in one order, so neither waits for the other
    tx.insert_new(t.idempotency, rows)
    ours = {row["notice_id"] for row in rows}
    there = tx.among(t.idempotency, _NAME, [(row["key_id"], row["key_hash"]) for row in rows])
    claimed = {(row.key_id, row.key_hash) for row in there if row.notice_id in ours}
    lost = [i for i, name in names.items() if name not in claimed]
    if lost:
        for i, outcome in zip(lost, _replays(tx, [requests[i] for i in lost]), strict=True):
            outcomes[i] = outcome or UnavailableError("The first use of this idempotency key is just ending; repeat the request.")
    return [(i, p) for i, p in prepared if i not in names or (names[i] in claimed and first[names[i]] == i)]


def _write(tx: Tx, world: World, prepared: Sequence[Prepared]) -> None:
    if not prepared:
        return
    unit = Unit(tx, world, ())
    unit.know({p.recipient.subject_id: p.recipient for p in prepared}.values())
    announced = {p.notice_id: p.content.sha256 for p in prepared if _announced_now(tx, p)}
    published = announcements.join(tx, world, [p.content for p in prepared if p.notice_id in announced],
                                   {p.content.sha256: p.request.effective_at for p in prepared})
    contents_, deliveries = [], []
    for p in prepared:
        mine, content = _rows(unit, p, published)
        deliveries += mine
        contents_.append(content)
    tx.insert(t.content, contents_)
    tx.insert(t.notice, list(unit.notices.values()))
    tx.insert(t.notice_document, [{"document_id": one, "notice_id": p.notice_id}
                                  for p in prepared for one in dict.fromkeys(p.request.documents)])
    tx.insert(t.delivery, deliveries)
    unit.forget_changes()
    if announced:
        announcements.arrive(unit, announced)
        settle(unit, announced)
        unit.save()
    tx.wake("dispatch")


def _announced_now(tx: Tx, p: Prepared) -> bool:
    """Whether the notice's announcement is published with its acceptance; one whose turn comes later waits for a worker."""
    request, channels = p.request, p.resolved.channels
    if "announcement" not in channels or (request.strategy == "ladder" and channels[0] != "announcement"):
        return False
    return (request.not_before or 0) <= tx.now and (request.expires_at is None or request.expires_at > tx.now)


def _rows(unit: Unit, p: Prepared, published: Mapping[str, str]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    tx, request = unit.tx, p.request
    key = unit.key(p.recipient.subject_id)
    assert key is not None  # noqa: S101 (an anonymised recipient was refused in prepare)
    content_id = tx.new_id()
    due = max(tx.now, request.not_before or 0)
    after = (notice.duration_s(request.ladder_after or notice.LADDER_AFTER) or 0) * 1_000_000 if request.strategy == "ladder" else 0
    announced, deliveries = _announced_now(tx, p), []
    for position, channel in enumerate(p.resolved.channels):
        carries = (p.content.sms_carries or "full") if channel == "sms" else "full"
        turn = notice.turn(due, position, after, request.expires_at)
        deliveries.append({"notice_id": p.notice_id, "channel": channel, "id": tx.new_id(), "subject_id": p.recipient.subject_id,
                           "position": position, "priority": notice.priority(request.category, bulk=request.bulk), "carries": carries,
                           "state": "pending", "due_at": None if channel == "announcement" and announced else turn})
    committed, opened = openings.commit({
        "recipient_id": request.recipient_id, "reference": request.reference, "content": p.content.to_json(),
        "content_sha256": p.content.sha256, "case": dict(request.case) if request.case else None,
        "metadata": dict(request.metadata) or None, "ground": request.ground}, tx.salt)
    row: dict[str, Any] = {
        "id": p.notice_id, "subject_id": p.recipient.subject_id, "content_id": content_id, "key_id": p.access.key_id,
        "category": request.category, "strategy": request.strategy,
        "ladder_after": (request.ladder_after or notice.LADDER_AFTER) if request.strategy == "ladder" else None,
        "rule": p.resolved.rule.id, "state": "queued", "accepted_at": tx.now, "not_before": request.not_before,
        "expires_at": request.expires_at, "effective_at": request.effective_at,
        "response_window": json.dumps(dict(request.response_window)) if request.response_window else None, "broadcast_id": None,
        "reference_index": unit.world.vault.index("reference", request.reference) if request.reference is not None else None,
        "case_index": unit.world.vault.index("case", request.case["case_number"]) if request.case else None,
        "acceptance_id": p.recipient.acceptance_id,
        "announcement_id": published[p.content.sha256] if announced else None,
        "seq": 0, "revision": 0, "served": False, "served_at": None, "service_channel": None, "service_evidence_id": None, "basis": None,
        "conflict": False, "independent_at": None, "independent_channel": None, "independent_evidence_id": None,
        "determined_batch": None, "determined_offset": None, "deadlines": None}
    unit.add(row, key)
    ref = unit.append(p.notice_id, "notice.accepted", {
        "key_id": p.access.key_id, "category": request.category, "mandatory": notice.mandatory(request.category),
        "strategy": request.strategy, "ladder_after": row["ladder_after"], "rule": p.resolved.rule.id,
        "policy_version": p.resolved.rule.version, "rule_definition": _definition(p.resolved),
        "deliveries": [{"id": d["id"], "channel": d["channel"], "carries": d["carries"]} for d in deliveries],
        "content_id": content_id, "not_before": at(request.not_before), "expires_at": at(request.expires_at),
        "effective_at": at(request.effective_at), "response_window": dict(request.response_window) if request.response_window else None,
        "broadcast_id": None, "announcement_id": row["announcement_id"], "acceptance_id": p.recipient.acceptance_id,
        "document_ids": list(request.documents), "cure_id": request.cure_id, **committed})
    own = {name: opened.pop(name) for name in ("content", "content_sha256")}
    row |= {**ref.columns, "sealed": unit.seal(p.notice_id, opened, f"notice:{p.notice_id}")}
    content = {"id": content_id, "subject_id": p.recipient.subject_id, "sealed": key.seal(openings.pack(own), f"content:{content_id}")}
    return deliveries, content


def _definition(resolved: Resolved) -> dict[str, Any] | None:
    rule = resolved.rule
    if rule.id in BUILT_IN:
        return None
    return {"id": rule.id, "version": rule.version, "clause": rule.clause, "levels": dict(rule.levels),
            "confirmations": sorted(rule.confirmations) if rule.confirmations is not None else None}
