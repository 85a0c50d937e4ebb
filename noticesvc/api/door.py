"""The door of areas that have no route yet: who may not come in learns that first, and who may finds nothing.

Called by `app`. A path of the contract without an endpoint answers 401 without a key, 403 naming the scope without the
scope, and 404 else. These paths are not in the OpenAPI document, which only names what works.
"""

from collections.abc import Iterable

from noticesvc.api.context import Call
from noticesvc.api.endpoint import Endpoint
from noticesvc.errors import NotFound

_WRITES, _READS = ("notices:write",), ("notices:read",)
_CONTACTS_WRITE, _CONTACTS_READ = ("contacts:write",), ("contacts:read",)
_BROADCASTS, _APPROVES, _EITHER = ("broadcasts:write",), ("broadcasts:approve",), ("broadcasts:write", "broadcasts:approve")
_PROOFS, _INBOX, _EVIDENCE, _OPS = ("proofs:read",), ("inbox",), ("evidence:write",), ("ops",)

AREAS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("POST", "/v1/recipients/import", _CONTACTS_WRITE),
    ("GET", "/v1/recipients/{recipient_id}", _CONTACTS_READ),
    ("PUT", "/v1/recipients/{recipient_id}/contacts", _CONTACTS_WRITE),
    ("GET", "/v1/recipients/{recipient_id}/contacts", _CONTACTS_READ),
    ("GET", "/v1/recipients/{recipient_id}/contacts/history", _CONTACTS_READ),
    ("GET", "/v1/recipients/{recipient_id}/contacts/proof", _PROOFS),
    ("PUT", "/v1/recipients/{recipient_id}/account", _CONTACTS_WRITE),
    ("POST", "/v1/recipients/{recipient_id}/acceptances", _CONTACTS_WRITE),
    ("PUT", "/v1/recipients/{recipient_id}/preferences", _CONTACTS_WRITE),
    ("POST", "/v1/recipients/{recipient_id}/anonymise", _OPS),
    ("PUT", "/v1/recipients/{recipient_id}/legal-hold", _OPS),
    ("DELETE", "/v1/recipients/{recipient_id}/legal-hold", _OPS),
    ("POST", "/v1/notices", _WRITES),
    ("GET", "/v1/notices", _READS),
    ("POST", "/v1/notices/batch", _WRITES),
    ("GET", "/v1/notices/counts", _READS),
    ("GET", "/v1/notices/{notice_id}", _READS),
    ("POST", "/v1/notices/{notice_id}/cancel", _WRITES),
    ("GET", "/v1/notices/{notice_id}/proof", _PROOFS),
    ("POST", "/v1/notices/{notice_id}/evidence", _EVIDENCE),
    ("POST", "/v1/notices/{notice_id}/responses", _WRITES),
    ("PUT", "/v1/templates/{name}", _WRITES),
    ("POST", "/v1/documents", _WRITES),
    ("POST", "/v1/announcements", _WRITES),
    ("GET", "/v1/cases/{case_number}/bundle", _PROOFS),
    ("GET", "/v1/certificates/{number}", _PROOFS),
    ("POST", "/v1/broadcasts", _BROADCASTS),
    ("GET", "/v1/broadcasts/{broadcast_id}", _EITHER),
    ("POST", "/v1/broadcasts/{broadcast_id}/recipients", _BROADCASTS),
    ("GET", "/v1/broadcasts/{broadcast_id}/preview", _BROADCASTS),
    ("POST", "/v1/broadcasts/{broadcast_id}/approve", _APPROVES),
    ("POST", "/v1/broadcasts/{broadcast_id}/pause", _BROADCASTS),
    ("POST", "/v1/broadcasts/{broadcast_id}/resume", _BROADCASTS),
    ("POST", "/v1/broadcasts/{broadcast_id}/cancel", _BROADCASTS),
    ("GET", "/v1/broadcasts/{broadcast_id}/report.csv", _EITHER),
    ("GET", "/v1/broadcasts/{broadcast_id}/events", _EITHER),
    ("GET", "/v1/inbox/{recipient_id}/messages", _INBOX),
    ("POST", "/v1/inbox/{recipient_id}/messages/{message_id}/displayed", _INBOX),
    ("POST", "/v1/inbox/{recipient_id}/messages/{message_id}/opened", _INBOX),
    ("POST", "/v1/inbox/{recipient_id}/messages/{message_id}/acknowledged", _INBOX),
    ("GET", "/v1/inbox/{recipient_id}/stream", _INBOX),
    ("POST", "/v1/inbox/{recipient_id}/token", _INBOX),
    ("GET", "/v1/ledger/tile/entries/{path:path}", _PROOFS),
    ("GET", "/sandbox/messages", _OPS),
)


async def _nothing(call: Call) -> None:  # noqa: ARG001 (every route is given its call)
    raise NotFound


def missing(made: Iterable[Endpoint]) -> tuple[Endpoint, ...]:
    """The doors of the contract's areas that none of these endpoints serves."""
    there = {(endpoint.method, _shape(endpoint.path)) for endpoint in made}
    return tuple(Endpoint(method, path, _nothing, "", scopes) for method, path, scopes in AREAS
                 if (method, _shape(path)) not in there)


def _shape(path: str) -> str:
    """A path without the names of its parameters."""
    return "/".join("{}" if segment.startswith("{") else segment for segment in path.split("/"))
