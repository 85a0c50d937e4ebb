"""What a broadcast was asked to be: its name and its notice, judged when it is made and kept sealed with it.

Called by everything that makes, shows or carries out a broadcast. The notice is a NoticeRequest without a recipient; the version
of its template is fixed when the broadcast is made, so that what was previewed is what is approved.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from sqlalchemy import select

from noticesvc.domain.access import Access
from noticesvc.domain.content import Content
from noticesvc.errors import Fault, InputError
from noticesvc.operations import contents
from noticesvc.operations.contents import Template
from noticesvc.operations.notice_request import NoticeRequest, Resolved, resolve
from noticesvc.operations.world import World
from noticesvc.rendering import template as rendering
from noticesvc.storage import tables as t
from noticesvc.storage.transaction import Tx


@dataclass(frozen=True, slots=True)
class Asked:
    """A broadcast's name and notice, with the template that the notice names (null: none) and the hashes of its documents."""

    name: str
    notice: NoticeRequest
    template: Template | None
    documents: tuple[str, ...]

    @property
    def wanted(self) -> frozenset[str]:
        """The template parameters that each recipient must bring."""
        if self.template is None:
            return frozenset()
        texts = (text for text in self.template.texts.values() if text is not None)
        return frozenset(name for text in texts for name in rendering.names(text)) - self.notice.params.keys()

    def content(self, params: Mapping[str, Any]) -> Content:
        """What it says to a recipient with these parameters. InputError, with pointers under /template/params, if they do not fit."""
        request = replace(self.notice, params={**self.notice.params, **params}) if params else self.notice
        return contents.rendered(request, {(request.template, request.template_version): self.template} if self.template else {},
                                 self.documents)


def judge(tx: Tx, world: World, access: Access, name: str, asked: NoticeRequest, *, upload: bool) -> tuple[Asked, Resolved]:
    """Check everything that needs no recipient. Raises Forbidden for a category that the key may not use, and InputError."""
    found = load_asked(tx, world, name, asked)
    sms, carries = (asked.sms, asked.sms_carries) if found.template is None else (found.template.sms, found.template.sms_carries)
    resolved = resolve(asked, world, sms, carries, access.allows_category)
    if "sms" in resolved.channels and not world.can_send_sms(asked.template):
        raise InputError("No SMS provider can send this notice: those configured send only templates that their vendors approved.", (
            Fault("/content/sms" if asked.template is None else "/template/name", "is mapped to no vendor's template"),))
    wanted = found.wanted
    if "announcement" in resolved.channels and wanted:
        raise InputError("The notice cannot be accepted as it is.", (
            Fault("/channels", "a notice with template parameters is not published"),))
    if not (upload and wanted):
        found.content({})  # nothing is missing, or it is found out now
    elif found.template is not None:
        texts = found.template.texts
        faults = [f for f in rendering.check_params(texts, asked.params) if f.detail != "is missing"]
        if faults:
            raise InputError("The template's parameters do not fit.", tuple(faults))
    return found, resolved


def load_asked(tx: Tx, world: World, name: str, asked: NoticeRequest) -> Asked:
    """With its template and documents. InputError for one that does not exist."""
    template = None
    if asked.template is not None:
        key = (asked.template, asked.template_version)
        template = contents.load_templates(tx, world, {key}).get(key)
        if template is None:
            raise InputError("There is no such template.", (Fault("/template/name", "names no template, or no such version of it"),))
        asked = replace(asked, template_version=template.version)
    rows = tx.execute(select(t.document.c.id, t.document.c.sha256).where(tx.within(t.document.c.id, set(asked.documents)))).all()
    known = {row.id: row.sha256.hex() for row in rows}
    missing = tuple(Fault(f"/documents/{i}", "names no document") for i, d in enumerate(asked.documents) if d not in known)
    if missing:
        raise InputError("A document is not known; upload it first.", missing)
    return Asked(name, asked, template, tuple(known[d] for d in asked.documents))


def place(broadcast_id: str) -> str:
    """Where name and notice are sealed for."""
    return f"broadcast:{broadcast_id}"


def dump(asked: Asked) -> bytes:
    """To be sealed with the broadcast's row."""
    return json.dumps({"name": asked.name, "notice": asdict(asked.notice) | {"body_hash": ""}}, ensure_ascii=False).encode()


def opened(world: World, row: Any) -> tuple[str, NoticeRequest]:
    """Name and notice of a broadcast's row."""
    data = json.loads(world.system_key.open(row.sealed, place(row.id)))
    notice: dict[str, Any] = data["notice"]
    channels: Sequence[str] | None = notice["channels"]
    return data["name"], NoticeRequest(**notice | {
        "channels": None if channels is None else tuple(channels), "documents": tuple(notice["documents"]), "body_hash": b""})


def load(tx: Tx, world: World, row: Any) -> Asked:
    """What a broadcast's row was asked to be."""
    name, notice = opened(world, row)
    return load_asked(tx, world, name, notice)
