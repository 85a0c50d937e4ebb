"""Callbacks of providers: kept raw before anybody interprets them, verified by their provider, answered as it requires.

No key of ours opens this route: each provider verifies in its own way, and a callback address that we gave out carries a token
bound to its attempt. What was refused is kept too, and has no effect.
"""

import hmac
import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qsl

from starlette.responses import Response

from noticesvc.api import problem, wire
from noticesvc.api.context import Call
from noticesvc.api.endpoint import Endpoint
from noticesvc.errors import InputError, NotFound
from noticesvc.operations import callback_address, inquiries, receipts
from noticesvc.operations.world import World
from noticesvc.provider import Callback, Receipt
from noticesvc.storage.transaction import Tx

_LONGEST_QUERY = 16 << 10
_MOST_MEMBERS = 200
_REFERENCE = re.compile(r"[0-9a-z_.-]{1,80}")
_TOKEN_PAIR = re.compile(rb"(?:^|&)token=[^&]*")
_REFUSED = ("malformed", "This is no callback of this provider; it is kept and changes nothing.")
_REFUSALS = {401: ("unauthenticated", "The callback is not signed as this provider signs; it is kept and changes nothing."),
             404: ("not-found", "This provider takes no callbacks.")}
# What providers sign with; whatever else a proxy adds is none of their words.
_KEPT_HEADERS = re.compile(r"x-[a-z0-9-]{1,60}|content-type|authorization|date|digest|[a-z0-9-]{0,40}signature[a-z0-9-]{0,40}")


async def take(call: Call) -> Response:
    """Keep what came and answer it; durable before the answer."""
    request = call.request
    name = str(request.path_params["name"])
    provider = call.house.providers.get(name)
    if provider is None or request.method == "HEAD":
        raise NotFound("There is no such provider.")
    query_bytes: bytes = request.scope.get("query_string", b"")
    if len(query_bytes) > _LONGEST_QUERY:
        raise InputError("The query string is too long.")
    body = await wire.read_body(request)
    query = _members(query_bytes)
    token, reference = query.pop("token", None), query.get("reference")
    headers = {key: value for key, value in request.headers.items() if _KEPT_HEADERS.fullmatch(key)}
    ours = _ours(call, reference, token)
    callback = Callback(method=request.method, query=query, headers=headers, body=body, reference=ours, url=_url(call, query_bytes),
                        ours=ours is not None or _same(callback_address.token(call.house.world.vault, provider=name), token))
    answer = provider.parse_callback(callback)
    if answer.status != 404:  # this provider takes none
        data: dict[str, Any] = {"method": callback.method, "query": query, "headers": headers, "reference": callback.reference,
                                "ours": callback.ours, "url": callback.url, "media_type": _word(request.headers.get("content-type"))}
        raw = body if request.method == "POST" else _TOKEN_PAIR.sub(b"", query_bytes).removeprefix(b"&")
        doubted = answer.receipts if answer.status == 401 and provider.can_be_asked else ()
        await call.write(_keep, name, data, raw, doubted, answer.status >= 400)
    if answer.status >= 400:  # whoever is refused learns it as at every other route
        return problem.answer(answer.status, *_REFUSALS.get(answer.status, _REFUSED))
    return Response(answer.body, answer.status, {"Content-Type": answer.media_type})


def _keep(tx: Tx, world: World, name: str, data: dict[str, Any], raw: bytes, doubted: Sequence[Receipt],
          refused: bool) -> None:
    """Keep a callback; of one that nobody vouches for the provider itself is asked at once."""
    receipts.store(tx, world, name, "callback", data, raw, refused=refused)
    inquiries.doubt(tx, world, name, doubted)


def _ours(call: Call, reference: str | None, token: str | None) -> str | None:
    """The attempt that the address was made for, if its token says so."""
    if reference is None or _REFERENCE.fullmatch(reference) is None:
        return None
    return reference if _same(callback_address.token(call.house.world.vault, reference=reference), token) else None


def _same(expected: str, token: str | None) -> bool:
    return token is not None and hmac.compare_digest(expected.encode(), token.encode("utf-8", "replace"))


def _url(call: Call, query: bytes) -> str:
    """The whole address as the outside called it: behind our public one, with path and query as they came."""
    path: bytes = call.request.scope.get("raw_path") or call.request.scope["path"].encode()
    return f"{call.house.world.public_url}{path.partition(b'?')[0].decode('latin-1')}" + (f"?{query.decode('latin-1')}" if query else "")


def _members(query: bytes) -> dict[str, str]:
    """Members of a query string, the first of each name."""
    try:
        pairs = parse_qsl(query.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=_MOST_MEMBERS)
    except ValueError:
        raise InputError("The query string cannot be read.") from None
    return dict(reversed(pairs))


def _word(media_type: str | None) -> str | None:
    """The media type without parameters, as it may stand open beside the evidence."""
    found = (media_type or "").partition(";")[0].strip().lower()
    return found if re.fullmatch(r"[a-z0-9.+-]{1,40}/[a-z0-9.+-]{1,60}", found) else None


_PATH = "/v1/providers/{name}/callbacks"

ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint("POST", _PATH, take, "A callback of a provider", raw_body=True, media_type="application/octet-stream",
             reply_media_type="text/plain", errors=(401, 404, 503)),
    Endpoint("GET", _PATH, take, "A callback of a provider that uses GET", reply_media_type="text/plain",
             errors=(400, 401, 404, 413, 422, 503)),
)
