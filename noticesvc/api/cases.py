"""Cases over HTTP: one zip with the proofs and certificates of all notices that name a court's case number."""

from collections.abc import AsyncIterator
from typing import IO
from urllib.parse import quote

from starlette.responses import Response, StreamingResponse

from noticesvc.api import wire
from noticesvc.api.context import Call
from noticesvc.api.endpoint import Endpoint
from noticesvc.api.proofs import PATIENCE_S, ProofQuery
from noticesvc.errors import NotFound

_CHUNK = 64 << 10


async def case_bundle(call: Call) -> Response:
    """The zip; every proof in it is a reading of its own, with this reason."""
    from noticesvc.operations import case_bundle as bundles  # typst and its fonts, which few processes need
    number = str(call.request.path_params["case_number"])
    if not wire.is_line(number):
        raise NotFound("No notice names this case number.")
    file = await bundles.make(call.house.database, call.house.world, call.access, number, call.query.reason, PATIENCE_S)
    return StreamingResponse(_chunks(file), media_type="application/zip", headers={
        "Cache-Control": "no-store", "Content-Disposition": f"attachment; filename=c.zip; filename*=UTF-8''{quote(number, safe='')}.zip"})


async def _chunks(file: IO[bytes]) -> AsyncIterator[bytes]:
    with file:
        while chunk := file.read(_CHUNK):
            yield chunk


ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint("GET", "/v1/cases/{case_number}/bundle", case_bundle, "A zip of all proofs and certificates of a case", ("proofs:read",),
             query=ProofQuery, reply_media_type="application/zip", errors=(404, 422, 503)),
)
