"""Broadcasts beside their approvals, audiences beside the hash that was committed to, and counts beside what can be counted.

Called by operations.audit_open. Here, and nowhere in the running service, the notices of a broadcast are counted row by row.
"""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sqlalchemy import case, exists, func, select

from noticesvc.domain.broadcast import SKIPPED
from noticesvc.errors import VaultError
from noticesvc.operations import audit_columns as columns
from noticesvc.operations import broadcast_approval, broadcast_counts, broadcast_request
from noticesvc.operations.audit_log import Log, Opened, ref_of
from noticesvc.operations.audit_tree import Findings
from noticesvc.operations.broadcast_counts import INDEPENDENT, MOST_DAYS
from noticesvc.operations.world import World
from noticesvc.proof.entries import Entry
from noticesvc.storage import audit
from noticesvc.storage import tables as t
from noticesvc.storage.transaction import Tx

if TYPE_CHECKING:
    from noticesvc.operations.audit_open import Seen

PAGE = 50
_DAY_US = 86_400_000_000


def broadcasts(tx: Tx, world: World, log: Log, seen: "Seen", findings: Findings) -> None:
    """Judge every broadcast, with its audience and its counts."""
    for rows in audit.whole_rows(tx, t.broadcast, PAGE):
        shared = {row.id: row for row in tx.rows(t.content, "id", {row.content_id for row in rows if row.content_id is not None})}
        seen.names("content", list(shared))
        entries = log.read([*map(ref_of, rows), *map(ref_of, shared.values())])
        for row in rows:
            one = _Broadcast(tx, world, row, findings)
            one.asked()
            if row.approved_at is not None or ref_of(row) is not None:
                one.approval(entries.get(ref_of(row)), shared.get(row.content_id), entries)
            try:
                one.counts(broadcast_counts.sums(tx, [row])[row.id])
            except (ValueError, TypeError, AttributeError):
                findings.add(f"Broadcast {row.id}: its counts cannot be read: the row was changed.")
            seen.rows["broadcast_recipient"] += one.members


class _Broadcast:
    """One broadcast."""

    def __init__(self, tx: Tx, world: World, row: Any, findings: Findings) -> None:
        self._tx, self._world, self._row, self._findings = tx, world, row, findings
        self._notice: dict[str, Any] = {}
        b = t.broadcast_recipient.c
        self.members = int(tx.execute(select(func.count()).where(b.broadcast_id == row.id)).scalar_one())

    def _wrong(self, what: str) -> None:
        self._findings.add(f"Broadcast {self._row.id}: {what}")

    def asked(self) -> None:
        """What it was asked to be can be opened, and the columns repeat it."""
        try:
            asked = broadcast_request.load(self._tx, self._world, self._row)
        except (VaultError, ValueError, KeyError, TypeError):
            self._wrong("what it was asked to be cannot be opened: the row was changed.")
            return
        self._notice = {"name": asked.name, "notice": broadcast_approval.frozen(asked)}
        if (self._row.category, self._row.effective_at, self._row.template) != (
                asked.notice.category, asked.notice.effective_at, asked.notice.template if asked.wanted else None):
            self._wrong("its columns do not repeat what it was asked to be.")

    def approval(self, entry: Entry | None, content: Any, entries: Mapping[Any, Entry]) -> None:
        """It repeats the entry of its approval, whose commitments are of what stands here."""
        row = self._row
        if entry is None or entry.type != "broadcast.approved":
            self._wrong("it names no entry of its approval that can be read.")
            return
        for column in columns.differing(t.broadcast, row, entry.members):
            self._wrong(f"its row differs from entry {entry.index} in {column}.")
        if row.total != entry["recipients"]:
            self._wrong("its audience has another number of recipients than was approved.")
        if row.channels.split() != entry["channels"]:
            self._wrong("it goes by other channels than were approved.")
        opened = Opened(self._findings)
        opened.keep(entry, self._world.system_key, row.sealed_approval, broadcast_approval.place(row.id))
        both = [entry]
        if row.content_id is not None:
            shared = entries.get(ref_of(content)) if content is not None else None
            if shared is None or shared.get("content_id") != row.content_id or content.subject_id is not None:
                self._wrong("its shared content names no entry about it that can be read.")
            else:
                opened.keep(shared, self._world.system_key, content.sealed, f"content:{content.id}")
                both.append(shared)
        values = opened.check(both, self._world.system_key)
        told = {name: values.get((entry.position, name)) for name in ("name", "notice", "rates", "audience_sha256")}
        if None in told.values():
            return  # a finding of its own already
        said: dict[str, bytes] = {name: value for name, value in told.items() if value is not None}
        if _json(row.rates) != json.loads(said["rates"]):
            self._wrong("its rates are not those that were approved.")
        if self._notice and (self._notice["name"], self._notice["notice"]) != (said["name"].decode(), json.loads(said["notice"])):
            self._wrong("its notice is not the one that was approved.")
        self._audience(said["audience_sha256"].decode())

    def _audience(self, sha256: str) -> None:
        """The rows of the audience are those that were approved. Parameters may be missing only of who was anonymised."""
        b, r = t.broadcast_recipient.c, t.recipient.c
        if self._row.template is not None:
            gone = select(func.count()).select_from(t.broadcast_recipient.join(t.recipient, r.subject_id == b.subject_id)).where(
                b.broadcast_id == self._row.id, b.sealed.is_(None))
            all_, rightly = (int(self._tx.execute(query).scalar_one()) for query in (gone, gone.where(r.wrapped_key.is_(None))))
            if all_ != rightly:
                self._wrong("the parameters of a recipient are gone who was not anonymised.")
            if all_:
                if self.members != self._row.total:
                    self._wrong("its audience is not the one that was approved.")
                return  # the hash was over what was destroyed
        if broadcast_approval.audience_sha256(self._tx, self._row.id) != sha256:
            self._wrong("its audience is not the one that was approved.")

    def counts(self, summed: Mapping[str, int]) -> None:
        """What was added up is what there is."""
        row, n, b = self._row, t.notice.c, t.broadcast_recipient.c
        mine = n.broadcast_id == row.id
        if row.total != self.members:
            self._wrong(f"it counts {row.total} recipients, its audience has {self.members}.")
        made = int(self._tx.execute(select(func.count()).where(mine)).scalar_one())
        whom = int(self._tx.execute(select(func.count(n.subject_id.distinct())).where(mine)).scalar_one())
        strange = self._tx.execute(select(n.id).where(mine, ~exists().where(b.broadcast_id == row.id, b.subject_id == n.subject_id,
                                                                            b.skipped.is_(None))).limit(1)).scalar()
        if made != whom or strange is not None:
            self._wrong("a recipient has two notices of it, or one has a notice who is not in its audience.")
        if made != row.expanded:
            self._wrong(f"it counts {row.expanded} notices, there are {made}.")
        skipped = {one.skipped: one.number for one in self._tx.execute(select(b.skipped, func.count().label("number")).where(
            b.broadcast_id == row.id, b.skipped.is_not(None)).group_by(b.skipped))}
        if sum(skipped.values()) != row.skipped or not skipped.keys() <= set(SKIPPED):
            self._wrong("the recipients for whom no notice could be made are not those that it counts.")
        there = self._there(mine)
        counted = {name: number for name, number in summed.items() if not name.startswith(broadcast_counts.RESPONSE)}
        if counted != there:
            wrong = ", ".join(sorted(name for name in counted.keys() | there.keys() if counted.get(name) != there.get(name)))
            self._wrong(f"its counts are not those of its notices: {wrong}.")

    def _there(self, mine: Any) -> dict[str, int]:
        n, d = t.notice.c, t.delivery.c
        number = func.count().label("number")
        found: dict[str, int] = {row.state: row.number for row in self._tx.execute(select(n.state, number).where(mine).group_by(n.state))}
        for row in self._tx.execute(select(n.service_channel, number).where(mine, n.served).group_by(n.service_channel)):
            found[f"{row.service_channel}/served"] = row.number
        both = t.delivery.join(t.notice, n.id == d.notice_id)
        for row in self._tx.execute(select(d.channel, d.state, number).select_from(both).where(mine).group_by(d.channel, d.state)):
            found[f"{row.channel}/{row.state}"] = row.number
        left = n.effective_at - n.independent_at
        days = case((left < 0, -1), (left >= MOST_DAYS * _DAY_US, MOST_DAYS), else_=(left - left % _DAY_US) / _DAY_US)
        in_time = select(days.label("days"), number).where(mine, n.independent_at.is_not(None), n.effective_at.is_not(None))
        for row in self._tx.execute(in_time.group_by("days")):
            name = f"{INDEPENDENT}{int(row.days)}"
            found[name] = found.get(name, 0) + row.number
        return found


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
