"""What belongs to no single recipient, beside its entries: announcements with their contents, and documents.

Called by operations.audit_open.
"""

import hashlib
from typing import TYPE_CHECKING

from noticesvc.errors import VaultError
from noticesvc.operations import audit_columns as columns
from noticesvc.operations import documents as stored_documents
from noticesvc.operations.audit_log import Log, Opened, ref_of
from noticesvc.operations.audit_tree import Findings
from noticesvc.operations.world import World
from noticesvc.storage import audit
from noticesvc.storage import tables as t
from noticesvc.storage.transaction import Tx

if TYPE_CHECKING:
    from noticesvc.operations.audit_open import Seen

PAGE = 100


def announcements(tx: Tx, world: World, log: Log, seen: "Seen", findings: Findings) -> None:
    """Announcements repeat their entries, and their contents open theirs."""
    for rows in audit.whole_rows(tx, t.announcement, PAGE):
        contents = {row.id: row for row in tx.rows(t.content, "id", {row.content_id for row in rows})}
        seen.names("content", list(contents))
        both = [*rows, *contents.values()]
        entries = log.read(map(ref_of, both))
        for row in rows:
            opened = Opened(findings)
            told, content = entries.get(ref_of(row)), contents.get(row.content_id)
            text = entries.get(ref_of(content)) if content is not None else None
            if told is None or told.type != "announcement.published" or content is None or text is None or text.type != "content.shared":
                findings.add(f"Announcement {row.id}: it or its content names no entry about it that can be read.")
                continue
            for table, one, entry in ((t.announcement, row, told), (t.content, content, text)):
                for column in columns.differing(table, one, entry.members):
                    findings.add(f"Announcement {row.id}: a {table.name} row differs from entry {entry.index} in {column}.")
            opened.keep(text, world.system_key, content.sealed, f"content:{content.id}")
            sha256 = opened.check([text], world.system_key).get((text.position, "content_sha256"))
            if content.subject_id is not None or (
                    sha256 is not None and row.content_index != world.vault.index("announcement", sha256.decode())):
                findings.add(f"Announcement {row.id}: its content is said to be somebody's, or has another index than its hash has.")


def documents(tx: Tx, world: World, seen: "Seen", findings: Findings) -> None:
    """Documents hold the bytes of their hash. One whose key was destroyed holds none, which only matters if a notice names it."""
    for rows in audit.whole_rows(tx, t.document, 1):
        for row in rows:
            if row.wrapped_key is None and row.sealed is None:
                continue
            try:
                data = world.vault.unwrap(row.wrapped_key or b"", f"document:{row.id}").open(row.sealed or b"", f"document:{row.id}")
            except VaultError:
                findings.add(f"Document {row.id}: its bytes cannot be opened: the row was changed.")
                continue
            if (row.sha256, row.size, row.media_type) != (
                    hashlib.sha256(data).digest(), len(data), stored_documents.media_type(data)):
                findings.add(f"Document {row.id}: its hash, size or type is not that of its bytes.")
            seen.names("document", [row.sha256.hex()])
