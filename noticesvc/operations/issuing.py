"""Issuing a certificate, for the API and for the shell: read, wait for the checkpoint, set the PDF, sign it, keep it.

The only operation of several transactions, because a certificate tells of a signed checkpoint and is set and signed outside any:
each step is a verb of its own, and what fails between them leaves a reading and nothing else.
"""

import asyncio
import base64
import hashlib
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from noticesvc.certificate import pdf
from noticesvc.certificate.standing import facts_sha256
from noticesvc.certificate.story import Issue
from noticesvc.domain.access import Access
from noticesvc.errors import UnavailableError
from noticesvc.operations import certificates, proving
from noticesvc.operations.certificates import Certificate
from noticesvc.operations.world import World
from noticesvc.storage.database import Database
from noticesvc.storage.transaction import Tx

_POLL_S = 0.05
_SETTERS = ThreadPoolExecutor(2, "certificate")  # setting one takes a processor for most of a second


async def proofs(database: Database, world: World, access: Access | None, notice_ids: Sequence[str], reason: str,
                 patience_s: float) -> list[dict[str, Any]]:
    """The bundles of these notices, all read and recorded now, so that one checkpoint covers them.

    Raises what read_notice raises, and UnavailableError if no checkpoint is signed in time.
    """
    readings = [await database.write(proving.read_notice, world, access, one, reason) for one in notice_ids]
    loop = asyncio.get_running_loop()
    until, witnesses_until = loop.time() + patience_s, loop.time() + proving.WITNESSES_S
    made = []
    for reading in readings:
        while (bundle := await database.read(proving.notice_proof, world, reading, patient=loop.time() < witnesses_until)) is None:
            if loop.time() > until:
                raise UnavailableError("No signed checkpoint covers this reading yet; a worker must run. Repeat the request.")
            await asyncio.sleep(_POLL_S)
        made.append(bundle)
    return made


async def issue(database: Database, world: World, access: Access | None, notice_id: str, reason: str, grade: str, lang: str,
                patience_s: float) -> tuple[Certificate, bytes]:
    """A new certificate, kept, and the bytes of the proof in it. Raises as `proofs`, and CertificateError."""
    bundle, = await proofs(database, world, access, (notice_id,), reason, patience_s)
    return await certify(database, world, access, notice_id, bundle, reason, grade, lang)


async def certify(database: Database, world: World, access: Access | None, notice_id: str, bundle: dict[str, Any], reason: str,
                  grade: str, lang: str) -> tuple[Certificate, bytes]:
    """The certificate of a bundle that was just read, kept, and the bytes of the bundle as it is attached. Raises CertificateError."""
    data = json.dumps(bundle, ensure_ascii=False, separators=(",", ":")).encode()
    digest = hashlib.sha256(data).hexdigest()
    number, reader = await database.read(_named, access)
    documents = await database.read(certificates.attachments, world, notice_id) if grade == "full" else []
    told = Issue(number=number, grade=grade, lang=lang, reader=reader, reason=reason,
                 check_url=f"{world.public_url}/check/{number}?h={digest}", credit_code=world.credit_code,
                 service_mailbox=world.service_mailbox, sandbox=world.sandbox, signed=world.sign_pdf is not None)
    file = await asyncio.get_running_loop().run_in_executor(_SETTERS, _file, bundle, data, told, documents, world.sign_pdf)
    read_seq = json.loads(base64.b64decode(bundle["entries"][-1]["entry"]))["seq"]
    made = Certificate(number, notice_id, grade, lang, read_seq, digest, facts_sha256(bundle["notice"], bundle["outcomes"]),
                       bundle["notice"]["recipient_id"] is not None, file)
    await database.write(certificates.keep, world, access, made)
    return made, data


def _named(tx: Tx, access: Access | None) -> tuple[str, str]:
    return certificates.new_number(tx), certificates.reader(tx, access)


def _file(bundle: dict[str, Any], data: bytes, told: Issue, documents: list[pdf.Attachment],
          sign: Callable[[bytes, str], bytes] | None) -> bytes:
    made = pdf.make(bundle, data, told, documents)
    return made if sign is None else sign(made, f"通知送达记录证明 {told.number}")

