"""The bytes of many `notice.accepted` entries that differ in little: what is the same in all of them is encoded once.

Called by whoever makes the notices of a broadcast. It writes exactly what `ledger.entry.encode` writes, and a test holds the two
together: one entry is encoded with marks in the places of what differs, and cut there.
"""

import re
from binascii import b2a_base64
from collections.abc import Mapping, Sequence
from functools import partial
from operator import itemgetter
from typing import Any

from noticesvc.ledger import entry

# In the order of their names, which is that of canonical JSON. No other member can hold these marks: they are no ids.
_MARK = re.compile(rb'"\\u0001(0)"|(?<=")\\u0001(\d+)(?=")')  # what may be null with its quotation marks
_BASE64 = partial(b2a_base64, newline=False)


class AcceptedEntries:
    """Entries of notices that share everything but their ids, their commitments and what was accepted before."""

    def __init__(self, members: Mapping[str, Any], deliveries: Sequence[Mapping[str, Any]], committed: Sequence[str]) -> None:
        """`members` with type, time and all that is the same; `deliveries` without ids; names of the fields that are committed to.

        A `content_id` of null among the members is filled for each.
        """
        marked = {**members, "acceptance_id": _mark(0), "notice_id": _mark(1), "subject_id": _mark(2),
                  "content_id": members["content_id"] or _mark(3),
                  "deliveries": [{**one, "id": _mark(4 + at)} for at, one in enumerate(deliveries)]}
        marked |= {f"{name}_commit": _mark(4 + len(deliveries) + at) for at, name in enumerate(committed)}
        pieces = _MARK.split(entry.encode(marked))
        self._ordered = itemgetter(*[int(one or other) for one, other in zip(pieces[1::3], pieces[2::3], strict=True)])
        self._template = b"%b".join(piece.replace(b"%", b"%%") for piece in pieces[::3])

    def encode(self, acceptance_id: str | None, notice_id: str, subject_id: str, delivery_ids: Sequence[str],
               commitments: Sequence[bytes], content_id: str | None = None) -> bytes:
        """One entry; `commitments` are SHA-256 hashes in the order of their fields."""
        values = (b"null" if acceptance_id is None else b'"%b"' % acceptance_id.encode(), notice_id.encode(), subject_id.encode(),
                  (content_id or "").encode(), *map(str.encode, delivery_ids), *map(_BASE64, commitments))
        entry_bytes: bytes = self._template % self._ordered(values)
        return entry_bytes


def _mark(number: int) -> str:
    return f"\x01{number}"
