"""The edges of the HTTP contract, on every engine: methods, query strings, cursors, keys limited to categories, equal documents."""

import re

import pytest

from noticesvc.operations import keys
from tests.support.installation import installed
from tests.support.notices import accepted, notice, recipient


@pytest.fixture
async def here(database_url):
    async with installed(database_url) as made:
        await recipient(made)
        yield made


async def test_a_method_that_a_path_does_not_take_is_405(here):
    """Also where another path with a parameter would take it: GET of /v1/notices/batch asks for no notice. Allow names what is taken."""
    for method, path, allow in (("GET", "/v1/notices/batch", "POST"), ("DELETE", "/v1/notices/counts", "GET, HEAD"),
                                ("PATCH", "/v1/notices", "GET, HEAD, POST"), ("OPTIONS", "/healthz", "GET, HEAD")):
        reply = await here.http.request(method, path)
        assert (reply.status_code, reply.headers["allow"]) == (405, allow), (method, path)
        assert reply.headers["content-type"] == "application/problem+json"


async def test_a_number_in_a_query_has_one_spelling(here):
    """Decimal digits alone; and bytes that are no UTF-8 are no filter."""
    for query in ("limit=%2B5", "limit=1.0", "limit=5_0", "limit=%205", "recipient_id=%ff"):
        assert (await here.http.get(f"/v1/notices?{query}")).status_code == 422, query
    assert (await here.http.get("/v1/notices?limit=5")).status_code == 200


async def test_a_mangled_cursor_is_refused_wherever_it_is_mangled(here):
    """Each character of a cursor that a list gave is exchanged in turn."""
    for _ in range(2):
        await accepted(here)
    given = (await here.http.get("/v1/notices?limit=1")).json()["next_cursor"]
    assert len((await here.http.get("/v1/notices", params={"cursor": given})).json()["items"]) == 1
    for place, old in enumerate(given):
        mangled = given[:place] + ("A" if old != "A" else "B") + given[place + 1:]
        assert (await here.http.get("/v1/notices", params={"cursor": mangled})).status_code == 422, place


async def test_a_key_limited_to_categories_reads_only_those(here):
    """Another category is 403 by id and by filter; lists and counts hold the key's own."""
    theirs, own = await accepted(here), await accepted(here, category="platform")
    secret = await here.database.write(keys.create, "limited", ["notices:read"], ["platform"])
    bearer = {"Authorization": f"Bearer {secret}"}
    statuses = [(await here.http.get(f"/v1/notices{rest}", headers=bearer)).status_code
                for rest in (f"/{theirs}", f"/{own}", "?category=agreement", "/counts?category=agreement")]
    assert statuses == [403, 200, 403, 403]
    assert [one["id"] for one in (await here.http.get("/v1/notices", headers=bearer)).json()["items"]] == [own]
    assert (await here.http.get("/v1/notices/counts", headers=bearer)).json()["counts"]["total"] == 1
    assert (await here.http.get("/v1/notices/counts")).json()["counts"]["total"] == 2


async def test_an_idempotency_key_is_any_text(here):
    """Blanks and characters beyond ASCII count as characters; in a batch's JSON it is the same key."""
    for key in ("order 7, second try", "订单" * 127):
        first = await here.http.post("/v1/notices", json=notice(), headers={"Idempotency-Key": key.encode()})
        assert first.status_code == 202, key
        again = (await here.http.post("/v1/notices/batch", json={"notices": [notice(idempotency_key=key)]})).json()["results"][0]
        assert (again["id"], again["replayed"]) == (first.json()["id"], True)


async def test_an_empty_rule_is_no_default(here):
    """`service_rule` is a rule's name or null."""
    reply = await here.http.post("/v1/notices", json=notice(service_rule=""))
    assert (reply.status_code, reply.json()["errors"][0]["pointer"]) == (422, "/service_rule")


async def test_the_document_describes_what_is_answered(here):
    """A notice's alternatives hold the members of their schema, no more and no fewer (it is closed)."""
    schemas = (await here.http.get("/openapi.json")).json()["components"]["schemas"]
    shown = (await here.http.get(f"/v1/notices/{await accepted(here)}")).json()
    assert shown["service"].keys() == schemas["Service"]["properties"].keys()
    for one in shown["service"]["alternatives"]:
        assert one.keys() == schemas["Alternative"]["properties"].keys()
    assert shown.keys() == schemas["Notice"]["properties"].keys()


async def test_what_is_no_json_is_400(here):
    """NaN and Infinity are no JSON (RFC 8259, 6), wherever they stand; the words inside a text are only words."""
    for spoilt in (b'{"a": NaN}', b'{"recipient_id": "u-1", "metadata": {"a": -Infinity}}', b'{"contacts": [Infinity]}'):
        for method, path in (("POST", "/v1/notices"), ("PUT", "/v1/recipients/u-9/contacts"), ("POST", "/v1/notices/batch")):
            assert (await here.http.request(method, path, content=spoilt)).status_code == 400, (path, spoilt)
    wrong = await here.http.post("/v1/notices", json=notice(category="NaN"))
    assert (wrong.status_code, wrong.json()["errors"][0]["pointer"]) == (422, "/category")
    assert (await here.http.post("/v1/notices", json=notice(reference="Infinity"))).status_code == 202


async def test_a_recipient_may_be_called_import(here):
    """The word stands in a path of ours, and is a caller's id all the same; the import itself still is one."""
    made = await here.http.put("/v1/recipients/import/contacts", json={"contacts": [], "source": "crm"})
    assert made.status_code == 200
    found = await here.http.get("/v1/recipients/import")
    assert (found.status_code, found.json()["recipient_id"]) == (200, "import")
    taken = await here.http.post("/v1/recipients/import", content=b'{"recipient_id": "u-8", "contacts": [], "source": "crm"}')
    assert taken.json()["accepted"] == 1
    refused = await here.http.delete("/v1/recipients/import")
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD, POST")


async def test_the_document_says_which_texts_and_ids_are_taken(here):
    """The patterns of the schemas judge as the route does: lines, texts, the caller's ids and ours."""
    schemas = (await here.http.get("/openapi.json")).json()["components"]["schemas"]
    said = schemas["AskedContent"]["properties"]
    texts = [("subject", said["subject"]["pattern"]), ("body", said["body"]["pattern"]),
             ("reference", schemas["PostNotice"]["properties"]["reference"]["anyOf"][0]["pattern"])]
    for member, pattern in texts:
        for text in ("甲乙", "a\nb", "a\x00b", "a\u2028b", "a\x85b", "a/b", "..", "..."):
            asked = notice(reference=text) if member == "reference" else notice(content={"subject": "s", "body": "b", member: text})
            status = (await here.http.post("/v1/notices", json=asked)).status_code
            assert status == (202 if re.search(pattern, text) else 422), (member, text)
    ours = schemas["PostNotice"]["properties"]["documents"]["anyOf"][0]["items"]["pattern"]
    assert re.search(ours, await accepted(here))
    assert not re.search(ours, "01890A5D-AC96-774B-BCCE-B302099A8057")
