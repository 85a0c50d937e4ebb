"""The ledger over HTTP: checkpoint, keys, hash tiles (public), entry bundles (`proofs:read`), entry schemas.

Paths and bodies after C2SP tlog-tiles. A tile has one canonical path, compared as the client sent it; every other spelling,
and whatever no signed checkpoint covers, is 404. Full and partial tiles never change, so both may be kept for ever.
"""

from starlette.responses import Response

from noticesvc.api.context import Call
from noticesvc.api.endpoint import Endpoint
from noticesvc.errors import LedgerError, NotFound
from noticesvc.ledger.tile import Tile
from noticesvc.operations import ledger_reading
from noticesvc.proof.entry_types import json_schemas

PREFIX = "/v1/ledger/"
TEXT = "text/plain; charset=utf-8"
BYTES = "application/octet-stream"
FOR_EVER = "max-age=31536000, immutable"


async def checkpoint(call: Call) -> Response:
    """The newest signed checkpoint."""
    return Response(await call.read(ledger_reading.checkpoint), headers={"Content-Type": TEXT, "Cache-Control": "no-cache"})


async def key(call: Call) -> Response:
    """The verifier keys, the current one first, one a line."""
    return Response(await call.read(ledger_reading.keys), headers={"Content-Type": TEXT, "Cache-Control": "no-cache"})


async def schemas(_call: Call) -> dict[str, object]:
    """The JSON Schema of every type of entry, by type."""
    return json_schemas()


async def hash_tile(call: Call) -> Response:
    """A hash tile, full or partial."""
    return await _tile(call, entries=False)


async def entry_bundle(call: Call) -> Response:
    """An entry bundle, full or partial."""
    return await _tile(call, entries=True)


async def _tile(call: Call, *, entries: bool) -> Response:
    raw: bytes = call.request.scope.get("raw_path") or call.request.scope["path"].encode()
    try:
        # What stands on the wire is compared: %30 for 0 is another spelling of the path.
        wanted = Tile.parse(raw.decode("ascii", "replace").removeprefix(PREFIX))
    except LedgerError:
        raise NotFound from None
    if (wanted.level is None) is not entries or not raw.startswith(PREFIX.encode()):
        raise NotFound
    data = await call.read(ledger_reading.tile_bytes, wanted)
    return Response(data, headers={"Content-Type": BYTES, "Cache-Control": f"private, {FOR_EVER}" if entries else FOR_EVER})


ENDPOINTS = (
    Endpoint("GET", f"{PREFIX}checkpoint", checkpoint, "The newest signed checkpoint (C2SP tlog-checkpoint)",
             reply_media_type=TEXT, errors=(503,)),
    Endpoint("GET", f"{PREFIX}key", key, "The ledger's verifier keys, the current one first", reply_media_type=TEXT, errors=(503,)),
    Endpoint("GET", f"{PREFIX}schemas.json", schemas, "JSON Schemas of all entry types"),
    # Before the hash tiles, whose path would match it too.
    Endpoint("GET", f"{PREFIX}tile/entries/{{path:path}}", entry_bundle, "An entry bundle: <N>[.p/<W>] (C2SP tlog-tiles)",
             scopes=("proofs:read",), reply_media_type=BYTES, errors=(404,)),
    Endpoint("GET", f"{PREFIX}tile/{{path:path}}", hash_tile, "A hash tile: <L>/<N>[.p/<W>] (C2SP tlog-tiles)",
             reply_media_type=BYTES, errors=(404,)),
)
