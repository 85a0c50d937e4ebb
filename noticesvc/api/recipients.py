"""Routes of recipients: contacts, account, acceptances, preferences, and the streamed import."""

from typing import Any
from urllib.parse import unquote_to_bytes

from pydantic import TypeAdapter, ValidationError
from starlette.requests import Request

from noticesvc.api import cursor, wire
from noticesvc.api.context import Call
from noticesvc.api.endpoint import Endpoint
from noticesvc.api.recipient_import import IMPORT
from noticesvc.api.recipient_wire import (
    Acceptance,
    Account,
    ContactsInEffect,
    ContactsQuery,
    ContactVersions,
    HistoryQuery,
    PostAcceptance,
    Preferences,
    PutAccount,
    PutContacts,
    PutPreferences,
    Recipient,
    RecordedContacts,
    replacement,
)
from noticesvc.domain import instant
from noticesvc.errors import Fault, InputError
from noticesvc.operations import consents, recipients

_ID: TypeAdapter[str] = TypeAdapter(wire.CallerId)


def recipient_id_of(request: Request) -> str:
    """The caller's id in the path. InputError for one that no recipient can have, bytes that are no UTF-8 included."""
    found = str(request.path_params["recipient_id"])
    try:
        # The server decodes the path leniently; two different broken spellings must not become one recipient.
        unquote_to_bytes(request.scope.get("raw_path") or b"").decode()
        return _ID.validate_python(found, strict=True)
    except (UnicodeDecodeError, ValidationError):
        raise InputError("The id of the recipient cannot be one.", (Fault(
            "/recipient_id", "must be 1 to 128 characters without /, control characters, and not . or .."),)) from None


async def put_contacts(call: Call) -> Any:
    """Replace the whole set."""
    recipient_id = recipient_id_of(call.request)
    return await call.write(recipients.put_contacts, recipient_id, replacement(call.body))


async def get_contacts(call: Call) -> Any:
    """The set in effect at a time."""
    at = None if call.query.at is None else instant.to_micros(call.query.at)
    return await call.read(recipients.get_contacts, recipient_id_of(call.request), at)


async def get_history(call: Call) -> Any:
    """Every version, page by page."""
    after = cursor.decode_id(call.query.cursor)
    items, last = await call.read(recipients.history, recipient_id_of(call.request), after, call.query.limit)
    return {"items": items, "next_cursor": cursor.encode_id(last)}


async def get_recipient(call: Call) -> Any:
    """The recipient without contacts."""
    return await call.read(recipients.get_recipient, recipient_id_of(call.request))


async def put_account(call: Call) -> Any:
    """The state of the account."""
    return await call.write(recipients.put_account, recipient_id_of(call.request), call.body.state)


async def post_acceptance(call: Call) -> Any:
    """An accepted version of an agreement."""
    body: PostAcceptance = call.body
    acceptance = consents.Acceptance(agreement=body.agreement, version=body.version, document_sha256=body.document_sha256.lower(),
                                     presentation=body.presentation)
    return await call.write(consents.record_acceptance, recipient_id_of(call.request), instant.to_micros(body.accepted_at), acceptance)


async def put_preferences(call: Call) -> Any:
    """Refusals of commercial messages."""
    return await call.write(consents.put_preferences, recipient_id_of(call.request), call.body.refuse_commercial)


_READ, _WRITE = ("contacts:read",), ("contacts:write",)
_ONE = "/v1/recipients/{recipient_id}"

ENDPOINTS: tuple[Endpoint, ...] = (
    IMPORT,
    Endpoint("GET", _ONE, get_recipient, "A recipient", _READ, reply=Recipient, errors=(404,)),
    Endpoint("PUT", f"{_ONE}/contacts", put_contacts, "Replace the whole set of contacts; creates the recipient", _WRITE,
             body=PutContacts, reply=RecordedContacts, errors=(409,)),
    Endpoint("GET", f"{_ONE}/contacts", get_contacts, "The contacts in effect at a time", _READ, query=ContactsQuery,
             reply=ContactsInEffect, errors=(404,)),
    Endpoint("GET", f"{_ONE}/contacts/history", get_history, "Every version of every contact", _READ, query=HistoryQuery,
             reply=ContactVersions, errors=(404,)),
    Endpoint("PUT", f"{_ONE}/account", put_account, "Record the state of the account", _WRITE, body=PutAccount, reply=Account,
             errors=(404,)),
    Endpoint("POST", f"{_ONE}/acceptances", post_acceptance, "Record an accepted version of an agreement", _WRITE,
             body=PostAcceptance, reply=Acceptance, status=201, errors=(404,)),
    Endpoint("PUT", f"{_ONE}/preferences", put_preferences, "Record refusals of commercial messages", _WRITE, body=PutPreferences,
             reply=Preferences, errors=(404,)),
)
