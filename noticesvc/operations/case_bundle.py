"""The bundle of a case: one zip with the proof and a certificate of every notice that names the case number.

Called by the API and by `noticesvc case get`. All notices are read first, so that one checkpoint covers all readings.
"""

import io
import json
import zipfile
from tempfile import SpooledTemporaryFile
from typing import IO, Any

from sqlalchemy import select

from noticesvc.domain import instant
from noticesvc.domain.access import Access
from noticesvc.errors import NotFound
from noticesvc.operations import issuing
from noticesvc.operations.world import World
from noticesvc.storage import tables as t
from noticesvc.storage.database import Database
from noticesvc.storage.transaction import Tx

_IN_MEMORY = 8 << 20  # bytes; a larger zip lies in a temporary file


async def make(database: Database, world: World, access: Access | None, case_number: str, reason: str, patience_s: float) -> IO[bytes]:
    """The zip, open at its beginning; the caller closes it. Raises NotFound for a case of no notice, and what issuing raises."""
    ids = await database.read(_notices, world, access, case_number)
    if not ids:
        raise NotFound("No notice names this case number.")
    bundles = await issuing.proofs(database, world, access, ids, reason, patience_s)
    out: IO[bytes] = SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 (the caller closes it)
    listed: list[dict[str, Any]] = []
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for place, (notice_id, bundle) in enumerate(zip(ids, bundles, strict=True), 1):
            made, data = await issuing.certify(database, world, access, notice_id, bundle, reason, "full", "both")
            folder, when = f"{place:03d}-{notice_id}", bundle["issued_at"]
            _add(archive, f"{folder}/proof.json", data, when)
            _add(archive, f"{folder}/{made.number}.pdf", made.pdf, when)
            listed.append({"notice_id": notice_id, "certificate": made.number, "state": bundle["notice"]["state"],
                           "served_at": bundle["notice"]["service"]["served_at"], "proof_sha256": made.proof_sha256})
        index = {"case_number": case_number, "issued_at": bundles[0]["issued_at"], "issuer": world.issuer, "software": world.software,
                 "log_key": bundles[0]["log_key"], "notices": listed}
        _add(archive, "index.json", json.dumps(index, ensure_ascii=False, indent=1).encode(), bundles[0]["issued_at"])
    out.seek(0, io.SEEK_SET)
    return out


def _notices(tx: Tx, world: World, access: Access | None, case_number: str) -> list[str]:
    """The notices of the case, the oldest first, that the caller may see."""
    n = t.notice.c
    rows = tx.execute(select(n.id, n.category).where(n.case_index == world.vault.index("case", case_number)).order_by(n.id)).all()
    return [row.id for row in rows if access is None or access.allows_category(row.category)]


def _add(archive: zipfile.ZipFile, name: str, data: bytes, when: str) -> None:
    moment = instant.parse(when).astimezone(instant.SHANGHAI)
    info = zipfile.ZipInfo(name, (moment.year, moment.month, moment.day, moment.hour, moment.minute, moment.second))
    info.compress_type, info.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
    archive.writestr(info, data)
