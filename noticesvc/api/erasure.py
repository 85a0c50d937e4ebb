"""Routes that anonymise a recipient, and set and lift a legal hold (clause 五.3)."""

from typing import Annotated, Any

from pydantic import Field
from starlette.responses import Response

from noticesvc.api import endpoint, wire
from noticesvc.api.context import Call
from noticesvc.api.endpoint import Endpoint
from noticesvc.api.recipients import recipient_id_of
from noticesvc.operations import anonymising


class Reason(wire.Wire):
    """Why; it is recorded as a commitment."""

    reason: Annotated[wire.Line, Field(min_length=1, max_length=500)]


class Anonymised(wire.Wire):
    """`shred_at`: when plaintext and salts are destroyed."""

    recipient_id: str
    anonymised_at: wire.Instant
    shred_at: wire.Instant


class Held(wire.Wire):
    """The hold that stands."""

    recipient_id: str
    reason: str
    held_since: wire.Instant


async def post_anonymise(call: Call) -> Any:
    """Stop processing now, destroy when the retention time is over."""
    return await call.write(anonymising.anonymise, call.access.key_id, recipient_id_of(call.request), call.body.reason)


async def put_hold(call: Call) -> Any:
    """Set a legal hold."""
    return await call.write(anonymising.hold, call.access.key_id, recipient_id_of(call.request), call.body.reason)


async def delete_hold(call: Call) -> Response:
    """Lift a legal hold."""
    await call.write(anonymising.hold, call.access.key_id, recipient_id_of(call.request), None)
    return endpoint.empty_reply()


_ONE = "/v1/recipients/{recipient_id}"

ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint("POST", f"{_ONE}/anonymise", post_anonymise, "Stop processing; destroy plaintext and salts after the retention time", ("ops",),
             body=Reason, reply=Anonymised, errors=(404, 409)),
    Endpoint("PUT", f"{_ONE}/legal-hold", put_hold, "Set a legal hold, which forbids destruction", ("ops",), body=Reason, reply=Held,
             errors=(404,)),
    Endpoint("DELETE", f"{_ONE}/legal-hold", delete_hold, "Lift the legal hold", ("ops",), status=204, errors=(404,)),
)
