"""Proofs over HTTP: the bundle of a notice, its certificate, and the bundle of a recipient's contacts at a time.

Every read is a ledger entry of its own; the answer waits up to three seconds for the checkpoint that covers it, then says 503. The
repeated request is another reading. Bundles are never cached.
"""

import asyncio
from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import Field
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from noticesvc.api import endpoint, wire
from noticesvc.api.context import Call
from noticesvc.api.endpoint import Endpoint
from noticesvc.api.recipients import recipient_id_of
from noticesvc.domain import identity, instant
from noticesvc.errors import NotFound, UnavailableError
from noticesvc.operations import proving
from noticesvc.operations.proving import Reading

PATIENCE_S = 3.0
_POLL_S = 0.05


class ProofQuery(wire.Wire):
    """`reason`: why the proof is read; it is recorded with the reading, as a commitment."""

    reason: Annotated[wire.Line, Field(min_length=1, max_length=500)]


class ContactsProofQuery(ProofQuery):
    """`at`: the instant for which the contacts in effect are proved; left out: now."""

    at: wire.Instant | None = None


class NoticeProofQuery(ProofQuery):
    """`grade` and `lang` are those of a certificate (`Accept: application/pdf`)."""

    grade: Literal["full", "brief", "summary"] = "full"
    lang: Literal["zh", "en", "both"] = "both"


async def notice_proof(call: Call) -> Response:
    """The proof bundle of a notice, complete up to this reading of it; or, as PDF, a new certificate."""
    notice_id = str(call.request.path_params["notice_id"])
    if not identity.is_id(notice_id):
        raise NotFound("There is no such notice.")
    if "application/pdf" in _ranges(call.request):
        return await _certificate(call, notice_id)
    _takes_json(call.request)
    reading = await call.write(proving.read_notice, call.access, notice_id, call.query.reason)
    return await _signed(call, proving.notice_proof, reading)


async def _certificate(call: Call, notice_id: str) -> Response:
    from noticesvc.operations import issuing  # typst and its fonts, which few processes need
    query: NoticeProofQuery = call.query
    made, _ = await issuing.issue(call.house.database, call.house.world, call.access, notice_id, query.reason, query.grade, query.lang,
                                  PATIENCE_S)
    return _pdf(made.pdf, made.number)


async def kept_certificate(call: Call) -> Response:
    """The bytes of a certificate as they were issued."""
    from noticesvc.operations import certificates
    number = str(call.request.path_params["number"])
    return _pdf(await call.write(certificates.pdf, call.access, number), number)


def _pdf(data: bytes, number: str) -> Response:
    return Response(data, media_type="application/pdf", headers={
        "Cache-Control": "no-store", "Content-Disposition": f'inline; filename="{number}.pdf"',
        "Content-Location": f"/v1/certificates/{number}"})


async def contacts_proof(call: Call) -> Response:
    """The proof bundle of the contacts in effect at a time, complete up to this reading of it."""
    recipient_id = recipient_id_of(call.request)
    _takes_json(call.request)
    at = None if call.query.at is None else instant.to_micros(call.query.at)
    reading = await call.write(proving.read_contacts, call.access, recipient_id, at, call.query.reason)
    return await _signed(call, proving.contacts_proof, reading)


async def _signed(call: Call, assemble: Callable[..., dict[str, Any] | None], reading: Reading) -> Response:
    """The bundle as soon as a signed checkpoint covers the reading. Raises UnavailableError after PATIENCE_S."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    until = begun + PATIENCE_S
    while (made := await _assembled(call, assemble, reading, patient=loop.time() < begun + proving.WITNESSES_S)) is None:
        if loop.time() > until:
            raise UnavailableError("No signed checkpoint covers this reading yet; a worker must run. Repeat the request.")
        await asyncio.sleep(_POLL_S)
    return endpoint.json_reply(made, headers={"Cache-Control": "no-store"})


async def _assembled(call: Call, assemble: Callable[..., dict[str, Any] | None], reading: Reading, *, patient: bool,
                     ) -> dict[str, Any] | None:
    return await call.house.database.read(assemble, call.house.world, reading, patient=patient)


def _takes_json(request: Request) -> None:
    """406 unless the caller takes JSON (RFC 9110, 12.5.1)."""
    if not {"*/*", "application/*", "application/json", ""}.intersection(_ranges(request)):
        raise HTTPException(406)


def _ranges(request: Request) -> list[str]:
    return [part.partition(";")[0].strip().lower() for part in request.headers.get("accept", "*/*").split(",")]


ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint("GET", "/v1/notices/{notice_id}/proof", notice_proof, "The proof bundle of a notice, or as PDF a certificate",
             ("proofs:read",), query=NoticeProofQuery, errors=(404, 406, 422)),
    Endpoint("GET", "/v1/certificates/{number}", kept_certificate, "The bytes of an issued certificate", ("proofs:read",),
             reply_media_type="application/pdf", errors=(404,)),
    Endpoint("GET", "/v1/recipients/{recipient_id}/contacts/proof", contacts_proof, "The proof bundle of the contacts in effect at a time",
             ("proofs:read",), query=ContactsProofQuery, errors=(404, 406)),
)
