"""Opens everything that an installation still holds, as somebody would who has its vault key: every wrapped key, every sealed value.

Called by the tests of anonymising. A sealed value that no key opens and that was not destroyed is an error, so that nothing is
passed over.
"""

import base64
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import LargeBinary, select

from noticesvc.errors import VaultError
from noticesvc.proof.openings import unpack
from noticesvc.storage import tables as t
from noticesvc.storage.transaction import Tx
from noticesvc.vault import DataKey, Vault

INDEXES = ("recipient", "address", "source", "reference", "case", "provider_reference", "raw")
PLACES: dict[str, Callable[[Any], str]] = {
    "attempt": lambda r: f"attempt:{r.notice_id}:{r.channel}:{r.number}",
    "notice_entry": lambda r: f"notice_entry:{r.notice_id}:{r.seq}",
    "subject_entry": lambda r: f"subject_entry:{r.subject_id}:{r.subject_seq}",
    "certificate": lambda r: f"certificate:{r.number}",
    "recipient": lambda r: f"recipient:{r.subject_id}",
}
OPENINGS = {"recipient", "contact", "subject_entry", "acceptance", "content", "notice", "attempt", "evidence", "notice_entry"}


@dataclass
class Loot:
    """What was found: every plaintext, every salt by who it belongs to, and every other column's bytes or text."""

    plain: list[bytes] = field(default_factory=list)
    salts: dict[str, set[bytes]] = field(default_factory=dict)
    columns: list[bytes] = field(default_factory=list)
    keys: int = 0

    def holds(self, needle: bytes) -> bool:
        """Whether it stands anywhere, in any usual spelling."""
        spellings = {needle, base64.b64encode(needle), json.dumps(needle.decode("utf-8", "replace"))[1:-1].encode()}
        return any(one in text for text in (*self.plain, *self.columns) for one in spellings)


def loot(tx: Tx, vault: Vault, journals: Iterable[Path] = (), system: DataKey | None = None) -> Loot:
    """Open all of a database and of journals. `system` is the system's key where a test's installation keeps it out of the database."""
    found = Loot()
    system = system or vault.unwrap(tx.execute(select(t.vault_key.c.wrapped)).scalar_one(), "vault_key:system")
    subjects = {r.subject_id: vault.unwrap(r.wrapped_key, f"recipient:{r.subject_id}")
                for r in tx.execute(select(t.recipient)) if r.wrapped_key is not None}
    documents = {r.id: vault.unwrap(r.wrapped_key, f"document:{r.id}") for r in tx.execute(select(t.document)) if r.wrapped_key is not None}
    owners = {r.id: r.subject_id for r in tx.execute(select(t.notice.c.id, t.notice.c.subject_id))}
    keys = [system, *subjects.values(), *documents.values()]
    found.keys = len(keys)
    for table in t.metadata.tables.values():
        sealed = [c.name for c in table.c if isinstance(c.type, LargeBinary) and c.name.startswith("sealed")]
        for row in tx.execute(select(table)):
            for column in table.c:
                value = getattr(row, column.name)
                if column.name not in sealed and value is not None:
                    found.columns.append(value if isinstance(value, bytes) else str(value).encode())
            for name in sealed:
                if (data := getattr(row, name)) is None:
                    continue
                place = PLACES.get(table.name, lambda r: f"{table.name}:{r.id}")(row)  # noqa: B023 (called at once)
                plain = _opened(keys, data, place)
                assert plain is not None, f"a sealed value of {table.name} is opened by no key that is left"
                found.plain += [plain] + ([base64.b64decode(json.loads(plain)["raw"])] if table is t.receipt else [])
                if table.name in OPENINGS:
                    owner = getattr(row, "subject_id", None) or owners.get(getattr(row, "notice_id", ""), "")
                    found.salts.setdefault(owner, set()).update(one.salt for one in unpack(plain).values())
    for path in journals:
        for line in path.read_bytes().split(b"\n"):
            word, _, rest = line.partition(b" ")
            if word == b"A":
                reference, _, sealed_answer = rest.partition(b" ")
                plain = _opened(keys, base64.b64decode(sealed_answer), f"journal:{reference.decode()}")
                found.plain += [] if plain is None else [plain, base64.b64decode(json.loads(plain)["raw"] or "")]
            else:
                found.columns.append(line)
    return found


def _opened(keys: list[Any], data: bytes, place: str) -> bytes | None:
    for key in keys:
        try:
            return bytes(key.open(data, place))
        except VaultError:
            continue
    return None
