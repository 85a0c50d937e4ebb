"""Routes of what people say about a notice: evidence that they state, and the recipient's responses."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from noticesvc.api import wire
from noticesvc.api.context import Call
from noticesvc.api.endpoint import Endpoint
from noticesvc.api.notice_view import Evidence
from noticesvc.api.notice_wire import Future, Id, micros
from noticesvc.api.notices import id_of
from noticesvc.domain import instant
from noticesvc.domain.statements import Kind, Response
from noticesvc.errors import Fault, InputError
from noticesvc.operations import responses, statements

LONGEST_STATEMENT = 4000
MOST_DOCUMENTS = 20


def _time(value: str) -> str:
    try:
        found = instant.parse(value)
    except ValueError:
        raise PydanticCustomError("instant", "must be an RFC 3339 time with an offset") from None
    if found.year >= 9000:
        raise PydanticCustomError("instant", "must be before the year 9000")
    return value


def _said(value: str) -> str:
    if not value.strip():
        raise PydanticCustomError("blank", "must not be blank")
    return value


Claim = Annotated[str, Field(max_length=64), AfterValidator(_time), WithJsonSchema({"type": "string", "format": "date-time"})]
Said = Annotated[wire.Text, AfterValidator(_said), Field(min_length=1, max_length=LONGEST_STATEMENT)]


class PostEvidence(wire.Wire):
    """What somebody knows of a delivery. `occurred_at` is a claim; `fault` belongs to `returned`, `refers_to` and `proved_at`
    to `rebutted`, which without a known `refers_to` changes nothing.
    """

    delivery_id: Id
    attempt: Annotated[int, Field(ge=1, le=32767)] | None = None
    kind: Kind
    occurred_at: Claim
    statement: Said
    fault: Literal["recipient"] | None = None
    refers_to: Annotated[wire.Line, Field(min_length=1, max_length=128)] | None = None
    proved_at: Future | None = None
    document_ids: Annotated[list[Id], Field(max_length=MOST_DOCUMENTS)] = Field(default_factory=list)


class PostResponse(wire.Wire):
    """What the recipient answers to a notice."""

    recipient_id: wire.CallerId
    response: Response
    statement: Annotated[wire.Text, Field(max_length=LONGEST_STATEMENT)] | None = None


class Responded(wire.Wire):
    """The response as recorded; `express_refusal`: it refuses an agreement change before that takes effect."""

    id: str
    response: Response
    express_refusal: bool
    effective_at: wire.Instant | None


async def post_evidence(call: Call) -> Any:
    """Record what somebody knows; 201 with the item as the notice shows it."""
    body: PostEvidence = call.body
    faults = []
    if body.fault is not None and body.kind != "returned":
        faults.append(Fault("/fault", "belongs to the kind returned alone"))
    if body.kind != "rebutted":
        faults += [Fault(f"/{name}", "belongs to the kind rebutted alone") for name in ("refers_to", "proved_at")
                   if getattr(body, name) is not None]
    if len(set(body.document_ids)) != len(body.document_ids):
        faults.append(Fault("/document_ids", "must name each document once"))
    if faults:
        raise InputError("The statement contradicts its kind.", tuple(faults))
    occurred: datetime = instant.parse(body.occurred_at)
    return await call.write(statements.state, call.access, id_of(call.request), statements.Statement(
        delivery_id=body.delivery_id, attempt=body.attempt, kind=body.kind, occurred_at=instant.text(occurred),
        occurred_at_raw=body.occurred_at, statement=body.statement, fault=body.fault, refers_to=body.refers_to,
        proved_at=micros(body.proved_at), document_ids=tuple(body.document_ids)))


async def post_response(call: Call) -> Any:
    """Record the recipient's response."""
    body: PostResponse = call.body
    return await call.write(responses.respond, call.access, id_of(call.request), body.recipient_id, body.response, body.statement or None)


ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint("POST", "/v1/notices/{notice_id}/evidence", post_evidence, "State what people know of a delivery", ("evidence:write",),
             body=PostEvidence, reply=Evidence, status=201, errors=(404, 409)),
    Endpoint("POST", "/v1/notices/{notice_id}/responses", post_response, "Record the recipient's response", ("notices:write",),
             body=PostResponse, reply=Responded, status=201, errors=(404, 409)),
)
