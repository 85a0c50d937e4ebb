"""Proofs over HTTP: the bundle of a notice, and that of a recipient's contacts at a time.

Every read is a ledger entry of its own; the answer waits up to three seconds for the checkpoint that covers it, then says 503. The
repeated request is another reading. Bundles are never cached.
"""

import asyncio
from collections.abc import Callable
from typing import Annotated, Any

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
WITNESSES_S = 1.0  # how long of it for cosignatures; without them the bundle is as good, but for the word of others
_POLL_S = 0.05


class ProofQuery(wire.Wire):
    """`reason`: why the proof is read; it is recorded with the reading, as a commitment."""

    reason: Annotated[wire.Line, Field(min_length=1, max_length=500)]


class ContactsProofQuery(ProofQuery):
    """`at`: the instant for which the contacts in effect are proved; left out: now."""

    at: wire.Instant | None = None


async def notice_proof(call: Call) -> Response:
    """The proof bundle of a notice, complete up to this reading of it."""
    notice_id = str(call.request.path_params["notice_id"])
    if not identity.is_id(notice_id):
        raise NotFound("There is no such notice.")
    _takes_json(call.request)
    reading = await call.write(proving.read_notice, call.access, notice_id, call.query.reason)
    return await _signed(call, proving.notice_proof, reading)


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
    while (made := await _assembled(call, assemble, reading, patient=loop.time() < begun + WITNESSES_S)) is None:
        if loop.time() > until:
            raise UnavailableError("No signed checkpoint covers this reading yet; a worker must run. Repeat the request.")
        await asyncio.sleep(_POLL_S)
    return endpoint.json_reply(made, headers={"Cache-Control": "no-store"})


async def _assembled(call: Call, assemble: Callable[..., dict[str, Any] | None], reading: Reading, *, patient: bool,
                     ) -> dict[str, Any] | None:
    return await call.house.database.read(assemble, call.house.world, reading, patient=patient)


def _takes_json(request: Request) -> None:
    """406 unless the caller takes JSON (RFC 9110, 12.5.1); a certificate is another representation, made elsewhere."""
    ranges = [part.partition(";")[0].strip().lower() for part in request.headers.get("accept", "*/*").split(",")]
    if not {"*/*", "application/*", "application/json", ""}.intersection(ranges):
        raise HTTPException(406)


ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint("GET", "/v1/notices/{notice_id}/proof", notice_proof, "The proof bundle of a notice", ("proofs:read",), query=ProofQuery,
             errors=(404, 406)),
    Endpoint("GET", "/v1/recipients/{recipient_id}/contacts/proof", contacts_proof, "The proof bundle of the contacts in effect at a time",
             ("proofs:read",), query=ContactsProofQuery, errors=(404, 406)),
)
