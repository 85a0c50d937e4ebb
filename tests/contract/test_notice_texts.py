"""What notices say, on every engine: templates without holes, documents known by their bytes, announcements published once."""

import pytest

from noticesvc.domain.content import content_sha256
from noticesvc.storage import tables as t
from tests.support.installation import installed
from tests.support.notices import CONTENT, accepted, notice, read, recipient

PATH = "/v1/notices"


@pytest.fixture
async def here(database_url):
    async with installed(database_url) as made:
        await recipient(made)
        yield made


async def refused(here, body, pointer):
    reply = await here.http.post(PATH, json=body)
    assert reply.status_code == 422, pointer
    assert pointer in [error["pointer"] for error in reply.json()["errors"]], (pointer, reply.text)


async def test_templates_are_filled_without_holes(here):
    """Versions count up; parameters are escaped in Markdown; a missing, null, unknown or structured one is named and refused."""
    texts = {"subject": "致 {{ name }}", "body": "**{{ name }}**：{{ days }} 天", "sms": "{{ name }}：{link}", "sms_carries": "link"}
    assert (await here.http.put("/v1/templates/t-1", json=texts)).json() == {"name": "t-1", "version": 1}
    second = await here.http.put("/v1/templates/t-1", json=texts | {"subject": "新：{{ name }}"})
    assert (second.status_code, second.json()["version"]) == (201, 2)

    def use(params, **more):
        return notice(content=..., template={"name": "t-1", "params": params, **more})

    newest = await here.http.post(PATH, params={"dry_run": "true"}, json=use({"name": "[李](http://x)", "days": 3}))
    assert newest.json()["texts"]["in_site"] == "<p><strong>[李](http://x)</strong>：3 天</p>\n"
    assert newest.json()["texts"]["email"].startswith("新：[李](http://x)\n")
    older = await here.http.post(PATH, params={"dry_run": "true"}, json=use({"name": "李", "days": 3}, version=1))
    assert older.json()["texts"]["email"].startswith("致 李\n")
    for params, pointer in (({"name": "李"}, "/template/params/days"), ({"name": None, "days": 1}, "/template/params/name"),
                            ({"name": "李", "days": 1, "x": 1}, "/template/params/x"),
                            ({"name": ["李"], "days": 1}, "/template/params/name"),
                            ({"name": "a\nb", "days": 1}, "/template/params/name"), ({"name": "李", "days": 1.5}, "/template/params/days"),
                            ({"name": "{link}", "days": 1}, "/template/params"), ({"name": "李" * 260, "days": 1}, "/template/params")):
        await refused(here, use(params), pointer)
    await refused(here, use({}, version=9), "/template/name")


async def test_a_template_is_text_and_names_alone(here):
    """Loops, attributes, calls, filters and arithmetic are refused at the member that holds them."""
    for member, text in (("subject", "{% for x in y %}{% endfor %}"), ("subject", "{{ x.__class__ }}"), ("body", "{{ 7 * 7 }}"),
                         ("body", "{{ x"), ("sms", "{{ x|upper }}"), ("body", "{{ f() }}"), ("subject", "a\nb"),
                         ("body", "{# hidden #}{{ x['y'] }}")):
        texts = {"subject": "s", "body": "b", "sms": "m", "sms_carries": "full"} | {member: text}
        reply = await here.http.put("/v1/templates/t", json=texts)
        assert reply.status_code == 422, text
        assert f"/{member}" in [error["pointer"] for error in reply.json()["errors"]], text


async def test_documents_are_known_by_their_bytes(here):
    """PDF, PNG and JPEG are taken and described; other bytes, whatever they are called, are 415; a notice may then carry them."""
    pdf, png, jpeg = b"%PDF-1.7\n...", b"\x89PNG\r\n\x1a\n...", b"\xff\xd8\xff\xe0..."
    ids = []
    for data, media_type in ((pdf, "application/pdf"), (png, "image/png"), (jpeg, "image/jpeg")):
        reply = await here.http.post("/v1/documents", files={"file": ("x.exe", data, "text/plain")})
        assert (reply.status_code, reply.json()["media_type"], reply.json()["size"]) == (201, media_type, len(data))
        ids.append(reply.json())
    assert ids[0]["sha256"] == "d3929c3656b08888f077bbe3b8276bf356dd935b7f35509f58b35b1576388672"  # printf '%s\n...' %PDF-1.7 | sha256sum
    for data in (b"", b"<html>", b"MZ", b" %PDF-1.7", b"\xff\xd8"):
        assert (await here.http.post("/v1/documents", files={"file": ("x.pdf", data, "application/pdf")})).status_code == 415
    shown = await read(here, await accepted(here, documents=[one["id"] for one in ids]))
    assert shown["content_sha256"] == content_sha256(CONTENT["subject"], CONTENT["body"], [one["sha256"] for one in ids])
    assert not any(pdf in bytes(row.sealed) for row in await here.rows(t.document))


async def test_an_upload_is_bounded_and_well_formed(here):
    """Over 20 MiB 413; another part, two files or none 422; a cut or foreign body 4xx; never a 500."""
    too_large = await here.http.post("/v1/documents", files={"file": ("x.pdf", b"%PDF-" + bytes(20 << 20))})
    assert too_large.status_code == 413
    for files in ({"other": ("x.pdf", b"%PDF-")}, [("file", ("x", b"%PDF-")), ("file", ("y", b"%PDF-"))]):
        assert (await here.http.post("/v1/documents", files=files)).status_code == 422
    assert (await here.http.post("/v1/documents", json={})).status_code == 415
    kind = {"Content-Type": "multipart/form-data; boundary=b"}
    begun = b'--b\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n%PDF-'
    for body, headers in ((begun, kind), (b"", kind), (b"--c\r\n", kind), (b"--b\r\n" + b"A: " + b"x" * 9000 + b"\r\n\r\n", kind),
                          (begun, {"Content-Type": "multipart/form-data"}), (b"\x00" * 100, kind)):
        assert (await here.http.post("/v1/documents", content=body, headers=headers)).status_code in {400, 422}


async def test_announcements_are_published_once_and_read_by_everybody(here):
    """Notices with one content share one announcement, which serves them at acceptance; reading needs no key."""
    first = await accepted(here, channels=["announcement"])
    second = await accepted(here, channels=["announcement", "in_site"], category="platform")
    reply = await here.http.get("/v1/announcements", headers={"Authorization": ""})
    assert reply.status_code == 200
    assert [one["subject"] for one in reply.json()["items"]] == [CONTENT["subject"]]
    again = await here.http.post("/v1/announcements", json={"subject": CONTENT["subject"], "body": CONTENT["body"]})
    assert (again.status_code, again.json()["id"]) == (201, reply.json()["items"][0]["id"])
    for notice_id in (first, second):
        shown = await read(here, notice_id)
        assert (shown["state"], shown["service"]["channel"], shown["service"]["revision"]) == ("served", "announcement", 1)
        assert shown["service"]["served_at"] == shown["accepted_at"]
        assert [d["contact"] for d in shown["deliveries"] if d["channel"] == "announcement"] == [None]
    assert [entry["type"] for entry in await here.entries()].count("announcement.published") == 1
