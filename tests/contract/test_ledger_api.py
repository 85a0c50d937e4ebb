"""The ledger's routes: canonical paths only, nothing that no checkpoint covers, headers, scopes."""

from types import SimpleNamespace

import httpx
import pytest
from starlette.applications import Starlette

from noticesvc.api import ledger as routes
from noticesvc.api import problem
from noticesvc.api.key_lookup import KeyLookup
from noticesvc.ledger import checkpoint, entry, merkle
from noticesvc.operations import keys
from noticesvc.proof.entry_types import ENTRY_TYPES
from tests.support.ledger import SIGNER, all_entries, opened, sequenced, subject_entries


@pytest.fixture
async def house(database_url):
    """A client of the ledger's routes alone, over 300 entries, and the database behind them."""
    async with opened(database_url) as database:
        await database.write(subject_entries, 200)
        await database.write(subject_entries, 100)
        await sequenced(database)
        app = Starlette(routes=[endpoint.route() for endpoint in routes.ENDPOINTS])
        app.add_exception_handler(problem.errors.NoticesvcError, problem.on_error)
        app.state.house = SimpleNamespace(database=database, world=None, key_lookup=KeyLookup(database))
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            yield SimpleNamespace(client=client, database=database)


async def test_checkpoint_and_key_are_public_text(house):
    """Both are plain text that must not be cached; the checkpoint verifies under the first key."""
    text = await house.client.get("/v1/ledger/checkpoint")
    assert text.status_code == 200
    assert (text.headers["content-type"], text.headers["cache-control"]) == ("text/plain; charset=utf-8", "no-cache")
    assert checkpoint.verify(text.content, [SIGNER.verifier]).checkpoint.size == 300
    known = await house.client.get("/v1/ledger/key")
    assert (known.headers["content-type"], known.text) == ("text/plain; charset=utf-8", f"{SIGNER.verifier.vkey}\n")


async def test_hash_tiles_are_public_and_immutable(house):
    """Full and partial tiles are the joined leaf hashes, and the upper tile their roots."""
    hashes = [merkle.leaf_hash(item) for item in await house.database.read(all_entries)]
    upper = merkle.root_hash(hashes[:256])
    for path, data in [("0/000", b"".join(hashes[:256])), ("0/001.p/44", b"".join(hashes[256:])), ("1/000.p/1", upper)]:
        reply = await house.client.get(f"/v1/ledger/tile/{path}")
        assert (reply.status_code, reply.content) == (200, data)
        assert reply.headers["content-type"] == "application/octet-stream"
        assert reply.headers["cache-control"] == "max-age=31536000, immutable"


async def test_entry_bundles_need_the_scope_and_stay_private(house):
    """Without a key 401, with another scope 403, with proofs:read the entries as tlog-tiles frames them."""
    path = "/v1/ledger/tile/entries/001.p/44"
    assert (await house.client.get(path)).status_code == 401
    other = await house.database.write(keys.create, "other", ["ops"])
    assert (await house.client.get(path, headers={"Authorization": f"Bearer {other}"})).status_code == 403
    secret = await house.database.write(keys.create, "proofs", ["proofs:read"])
    reply = await house.client.get(path, headers={"Authorization": f"Bearer {secret}"})
    assert (reply.status_code, reply.headers["cache-control"]) == (200, "private, max-age=31536000, immutable")
    assert entry.unframe(reply.content) == (await house.database.read(all_entries))[256:]
    assert (await house.client.get("/v1/ledger/tile/entries/001", headers={"Authorization": f"Bearer {secret}"})).status_code == 404


@pytest.mark.parametrize("path", [
    "0/001", "0/001.p/45", "0/002.p/1", "0/001.p/0", "0/000.p/256", "0/000.p/044", "0/0", "00/000", "0/000/", "/0/000", "0//000",
    "0/00%30", "%30/000", "0/x000/000", "0/x001/000", "2/000.p/1", "64/000", "-1/000", "0/-01", "0/000.p", "0/000.p/", "0/000.P/1",
    "0/000.p/+1", "0", "", "0/%EF%BC%90%EF%BC%90%EF%BC%90", "0/0%000", "0/%2E%2E/0/000", "0/999.p/1", "entries", "0/" + "x" * 5000,
    "0/x999/x999/x999/x999/x999/x999/999",
])
async def test_every_other_path_is_not_found(house, path):
    """One spelling a tile, and only what a signed checkpoint covers; the rest is 404 without a word about it."""
    reply = await house.client.get(httpx.URL("http://test").copy_with(raw_path=f"/v1/ledger/tile/{path}".encode()))
    assert reply.status_code == 404


async def test_entries_that_wait_are_not_shown(house):
    """An entry is in no tile before its checkpoint is signed."""
    await house.database.write(subject_entries, 1)
    assert (await house.client.get("/v1/ledger/tile/0/001.p/45")).status_code == 404
    await sequenced(house.database)
    assert (await house.client.get("/v1/ledger/tile/0/001.p/45")).status_code == 200


async def test_schemas_of_all_entry_types_are_public(house):
    """One JSON Schema for each type, no key needed."""
    reply = await house.client.get("/v1/ledger/schemas.json")
    assert set(reply.json()) == set(ENTRY_TYPES)


async def test_before_the_first_checkpoint_the_answer_is_come_back_later(database_url):
    """A ledger that no sequencer has seen yet is 503 with Retry-After, not an error of ours."""
    async with opened(database_url) as database:
        app = Starlette(routes=[endpoint.route() for endpoint in routes.ENDPOINTS])
        app.add_exception_handler(problem.errors.NoticesvcError, problem.on_error)
        app.state.house = SimpleNamespace(database=database, world=None, key_lookup=KeyLookup(database))
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            reply = await client.get("/v1/ledger/checkpoint")
    assert (reply.status_code, reply.headers["retry-after"]) == (503, "1")
