"""Certificates as kept: numbered, with reader and reason, the PDF sealed under the recipient's key beside its hash.

Each function is one transaction; operations.issuing makes a certificate with them, operations.certificate_standing says how one
stands.
"""

import hashlib
from dataclasses import dataclass

from sqlalchemy import select

from noticesvc.certificate.pdf import Attachment
from noticesvc.domain import instant
from noticesvc.domain.access import Access
from noticesvc.errors import NotFound, UnavailableError
from noticesvc.operations import contents, documents
from noticesvc.operations.unit import Unit
from noticesvc.operations.world import World
from noticesvc.storage import tables as t
from noticesvc.storage.transaction import Tx

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's: nothing that is read for something else
GRADES, LANGS = ("full", "brief", "summary"), ("zh", "en", "both")


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate to keep. `personal`: it was made before its recipient's data was destroyed, and holds some of it."""

    number: str
    notice_id: str
    grade: str
    lang: str
    read_seq: int
    proof_sha256: str
    facts_sha256: str
    personal: bool
    pdf: bytes


def new_number(tx: Tx) -> str:
    """A number that nobody can guess: the Shanghai date, and sixty random bits."""
    bits = int.from_bytes(tx.sources.random(8), "big")
    text = "".join(_ALPHABET[bits >> 5 * place & 31] for place in range(12))
    return f"{instant.shanghai_date(instant.from_micros(tx.now)):%Y%m%d}-{text[:4]}-{text[4:8]}-{text[8:]}"


def reader(tx: Tx, access: Access | None) -> str:
    """Who reads, for the certificate: the name of the key."""
    if access is None:
        return "noticesvc（命令行 / shell）"
    return str(tx.execute(select(t.api_key.c.name).where(t.api_key.c.id == access.key_id)).scalar() or access.key_id)


def attachments(tx: Tx, world: World, notice_id: str) -> list[Attachment]:
    """The documents of a notice, for a full certificate; those that were destroyed are left out."""
    row = dict(tx.execute(select(t.notice).where(t.notice.c.id == notice_id)).mappings().one())
    content = contents.load(tx, world, [row], contents.keys_of(tx, world, {row["subject_id"]}))[notice_id]
    if content is None:
        return []
    known = documents.described(tx, content.documents)
    found = []
    for digest in dict.fromkeys(content.documents):
        opened = documents.opened(tx, world, known[digest]["id"]) if digest in known else None
        if opened is not None:
            found.append(Attachment(digest, *opened))
    return found


def keep(tx: Tx, world: World, access: Access | None, made: Certificate) -> None:
    """Record and keep a certificate. Raises UnavailableError if the recipient's data was destroyed meanwhile."""
    unit = Unit(tx, world, {made.notice_id})
    subject_id = unit.notices[made.notice_id]["subject_id"]
    key = unit.key(subject_id)
    if key is None and made.personal:
        raise UnavailableError("The recipient was anonymised at this very moment; repeat the request.")
    digest = hashlib.sha256(made.pdf).hexdigest()
    hashes = {"pdf_sha256": digest, "proof_sha256": made.proof_sha256, "facts_sha256": made.facts_sha256}
    key_id = None if access is None else access.key_id
    ref = unit.note(made.notice_id, "certificate.issued", {
        "number": made.number, "grade": made.grade, "lang": made.lang, "read_seq": made.read_seq, "key_id": key_id, **hashes})
    unit.save()
    # Of a recipient who is gone a certificate holds nothing personal; it is given out but there is no key to keep it under.
    tx.insert(t.certificate, [{
        "number": made.number, "notice_id": made.notice_id, "subject_id": subject_id, "grade": made.grade, "lang": made.lang,
        "issued_at": tx.now, "key_id": key_id, **hashes, **ref.columns,
        "sealed": None if key is None else key.seal(made.pdf, _place(made.number))}])


def pdf(tx: Tx, world: World, access: Access | None, number: str) -> bytes:
    """The kept bytes of a certificate; the reading is an entry. Raises NotFound, also once they were destroyed."""
    row = tx.execute(select(t.certificate).where(t.certificate.c.number == number)).one_or_none()
    if row is None:
        raise NotFound("There is no such certificate.")
    unit = Unit(tx, world, {row.notice_id})
    if access is not None:
        access.require_category(unit.notices[row.notice_id]["category"])
    key = unit.key(row.subject_id)
    if key is None or row.sealed is None:
        raise NotFound("The certificate was destroyed when its recipient was anonymised.")
    data = key.open(row.sealed, _place(number))
    unit.note(row.notice_id, "certificate.read", {"number": number, "key_id": None if access is None else access.key_id})
    unit.save()
    return data


def _place(number: str) -> str:
    return f"certificate:{number}"
