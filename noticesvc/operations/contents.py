"""Contents and templates: stored sealed, rendered once when a notice is accepted, read back for dispatch and readers."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import func, select

from noticesvc.domain.content import Content, from_json
from noticesvc.domain.identity import is_id
from noticesvc.errors import Fault, InputError
from noticesvc.operations.notice_request import NoticeRequest, check_sms
from noticesvc.operations.world import World
from noticesvc.proof.openings import unpack
from noticesvc.rendering import template as rendering
from noticesvc.storage import tables as t
from noticesvc.storage.transaction import Tx
from noticesvc.vault import DataKey

_read = msgspec.json.Decoder(dict[str, Any]).decode
LONGEST_SUBJECT = 250
LONGEST_BODY = 256 << 10  # bytes of UTF-8, so that a text of any language is cut at the same length on disk
LONGEST_SMS = 1000


@dataclass(frozen=True, slots=True)
class Template:
    """A stored template version."""

    name: str
    version: int
    subject: str
    body: str
    sms: str | None
    sms_carries: str | None

    @property
    def texts(self) -> dict[str, str | None]:
        """Its texts by member name."""
        return {"subject": self.subject, "body": self.body, "sms": self.sms}


def put_template(tx: Tx, world: World, name: str, subject: str, body: str, sms: str | None, sms_carries: str | None) -> dict[str, Any]:
    """Store the next version of a template. InputError with pointers for texts that are no templates."""
    faults = check_sms(sms, sms_carries, "")
    for member, text in (("subject", subject), ("body", body), ("sms", sms)):
        try:
            rendering.names(text or "")
        except InputError as error:
            faults.append(Fault(f"/{member}", error.detail))
    if faults:
        raise InputError("The template cannot be stored as it is.", tuple(faults))
    if tx.postgresql:  # one writer a name, so that versions have no gaps and no clash
        tx.execute(select(func.pg_advisory_xact_lock(int.from_bytes(world.vault.index("template", name)[:7], "big"))))
    last = tx.execute(select(func.max(t.template.c.version)).where(t.template.c.name == name)).scalar()
    version, template_id = (last or 0) + 1, tx.new_id()
    text = json.dumps({"subject": subject, "body": body, "sms": sms, "sms_carries": sms_carries})
    tx.insert(t.template, [{"id": template_id, "name": name, "version": version, "created_at": tx.now,
                            "sealed": world.system_key.seal(text.encode(), f"template:{template_id}")}])
    return {"name": name, "version": version}


def load_templates(tx: Tx, world: World,
                   wanted: Collection[tuple[str | None, int | None]]) -> dict[tuple[str | None, int | None], Template]:
    """The wanted (name, version) pairs that exist; a null version means the newest."""
    if not wanted:
        return {}
    rows = tx.execute(select(t.template).where(tx.within(t.template.c.name, {n for n, _ in wanted})).order_by(t.template.c.version)).all()
    found: dict[tuple[str | None, int | None], Template] = {}
    for row in rows:
        keys = [key for key in ((row.name, row.version), (row.name, None)) if key in wanted]
        if keys:
            data = json.loads(world.system_key.open(row.sealed, f"template:{row.id}"))
            for key in keys:
                found[key] = Template(row.name, row.version, **data)
    return found


def rendered(request: NoticeRequest, templates: Mapping[tuple[str | None, int | None], Template], documents: tuple[str, ...]) -> Content:
    """The content of a request, its template filled. InputError with pointers for parameters that do not fit."""
    if request.template is None:
        return Content(request.subject or "", request.body or "", request.sms, request.sms_carries, documents)
    found = templates[request.template, request.template_version]
    faults = rendering.check_params(found.texts, request.params)
    if faults:
        raise InputError("The template's parameters do not fit.", faults)
    subject, body = (rendering.fill(text, request.params, markdown=kind) for text, kind in ((found.subject, False), (found.body, True)))
    sms = None if found.sms is None else rendering.fill(found.sms, request.params, markdown=False)
    if len(subject) > LONGEST_SUBJECT or len(body.encode()) > LONGEST_BODY or len(sms or "") > LONGEST_SMS:
        raise InputError("With these parameters a text is too long.", (Fault("/template/params", "make a text too long"),))
    if (sms or "").count("{link}") != (found.sms or "").count("{link}"):
        raise InputError("The template's parameters do not fit.", (Fault("/template/params", "must not bring a {link} into the SMS"),))
    return Content(subject, body, sms, found.sms_carries, documents, (found.name, found.version),
                   tuple((name, str(value)) for name, value in sorted(request.params.items())))


class Text(NamedTuple):
    """A content with its hash as it was committed."""

    content: Content
    sha256: str


def load(tx: Tx, world: World, notices: Collection[Mapping[str, Any]], keys: Mapping[str, DataKey | None]) -> dict[str, Content | None]:
    """Contents by notice id; null where the recipient's key was destroyed."""
    return {i: None if text is None else text.content for i, text in load_texts(tx, world, notices, keys).items()}


def load_texts(tx: Tx, world: World, notices: Collection[Mapping[str, Any]], keys: Mapping[str, DataKey | None]) -> dict[str, Text | None]:
    """Contents with their hashes by notice id; null where the recipient's key was destroyed."""
    rows = {row.id: row for row in tx.rows(t.content, "id", {n["content_id"] for n in notices})}
    shared: dict[str, Text] = {}
    found: dict[str, Text | None] = {}
    for notice in notices:
        row = rows.get(notice["content_id"])
        key = None if row is None else world.system_key if row.subject_id is None else keys.get(row.subject_id)
        if row is None or key is None or row.sealed is None:
            found[notice["id"]] = None
        elif row.id in shared:
            found[notice["id"]] = shared[row.id]
        else:
            opened = unpack(key.open(row.sealed, f"content:{row.id}"))
            text = Text(from_json(_read(opened["content"].value)), opened["content_sha256"].value.decode())
            found[notice["id"]] = text
            if row.subject_id is None:
                shared[row.id] = text
    return found


def hashes(tx: Tx, world: World, notices: Collection[Mapping[str, Any]], keys: Mapping[str, DataKey | None]) -> dict[str, str]:
    """Content hashes by notice id, as they were committed; left out where the recipient's key was destroyed."""
    rows = {row.id: row for row in tx.rows(t.content, "id", {n["content_id"] for n in notices})}
    shared = {row.id: _sha256(world.system_key, row) for row in rows.values() if row.subject_id is None}
    found = {}
    for notice in notices:
        row = rows[notice["content_id"]]
        key = keys.get(row.subject_id)
        sha256 = shared[row.id] if row.id in shared else _sha256(key, row)
        if sha256 is not None:
            found[notice["id"]] = sha256
    return found


def _sha256(key: DataKey | None, row: Any) -> str | None:
    if key is None or row.sealed is None:
        return None
    return unpack(key.open(row.sealed, f"content:{row.id}"))["content_sha256"].value.decode()


def keys_of(tx: Tx, world: World, subjects: Collection[str]) -> dict[str, DataKey | None]:
    """Data keys by subject; null where destroyed."""
    rows = tx.execute(select(t.recipient.c.subject_id, t.recipient.c.wrapped_key).where(tx.within(t.recipient.c.subject_id, subjects)))
    return {row.subject_id: world.vault.unwrap(row.wrapped_key, f"recipient:{row.subject_id}") if row.wrapped_key else None for row in rows}


def keys_of_notices(tx: Tx, world: World, notice_ids: Collection[str]) -> dict[str, DataKey | None]:
    """Data keys by notice id; null where destroyed."""
    known = [one for one in notice_ids if is_id(one)]
    subjects = {row.id: row.subject_id for row in tx.execute(
        select(t.notice.c.id, t.notice.c.subject_id).where(tx.within(t.notice.c.id, known)))} if known else {}
    keys = keys_of(tx, world, set(subjects.values())) if subjects else {}
    return {notice_id: keys.get(subject_id) for notice_id, subject_id in subjects.items()}
