"""Every table, as SQLAlchemy Core; the migrations create exactly this, and a test holds the two together.

Times are integers: microseconds since 1970 UTC. Ids are UUIDv7. `sealed` columns are encrypted: under the recipient's own
key where a row belongs to one recipient, else under the system key (noticesvc.vault). `*_index` columns are keyed blind
indexes. `entry_batch` and `entry_offset` name the ledger entry that holds the row's fact (one narrow row for each batch in
`ledger_index` maps a batch to its first index). On PostgreSQL the tables in PARTITIONED are partitioned by month over the
UUIDv7 that leads their key; the other keys contain it, so that a key look-up touches one partition.
"""

from noticesvc.storage.tables.base import KEPT, PARTITIONED, Id, metadata
from noticesvc.storage.tables.broadcasts import broadcast, broadcast_delta, broadcast_recipient, broadcast_response
from noticesvc.storage.tables.flows import (
    inquiry,
    outgoing_event,
    provider_pace,
    receipt,
    receipt_waiting,
    sandbox_message,
    sandbox_receipt,
)
from noticesvc.storage.tables.ledger import (
    ledger_audit,
    ledger_bundle,
    ledger_checkpoint,
    ledger_cosignature,
    ledger_head,
    ledger_index,
    ledger_key,
    ledger_pending,
    ledger_tile,
    ledger_timestamp,
)
from noticesvc.storage.tables.notices import (
    announcement,
    attempt,
    certificate,
    content,
    delivery,
    document,
    evidence,
    idempotency,
    inbox_message,
    link,
    notice,
    notice_document,
    notice_entry,
    provider_reference,
    template,
)
from noticesvc.storage.tables.people import acceptance, api_key, contact, cure, recipient, subject_entry, vault_key
from noticesvc.storage.tables.schema import schema_floor

__all__ = [
    "KEPT",
    "PARTITIONED",
    "Id",
    "acceptance",
    "announcement",
    "api_key",
    "attempt",
    "broadcast",
    "broadcast_delta",
    "broadcast_recipient",
    "broadcast_response",
    "certificate",
    "contact",
    "content",
    "cure",
    "delivery",
    "document",
    "evidence",
    "idempotency",
    "inbox_message",
    "inquiry",
    "ledger_audit",
    "ledger_bundle",
    "ledger_checkpoint",
    "ledger_cosignature",
    "ledger_head",
    "ledger_index",
    "ledger_key",
    "ledger_pending",
    "ledger_tile",
    "ledger_timestamp",
    "link",
    "metadata",
    "notice",
    "notice_document",
    "notice_entry",
    "outgoing_event",
    "provider_pace",
    "provider_reference",
    "receipt",
    "receipt_waiting",
    "recipient",
    "sandbox_message",
    "sandbox_receipt",
    "schema_floor",
    "subject_entry",
    "template",
    "vault_key",
]
