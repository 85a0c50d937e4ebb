"""Vendors that send only approved templates: a notice that none of them can send is refused when it is posted."""

from dataclasses import replace

import pytest

from noticesvc.dispatch.call import render
from tests.fakes.provider_peers import PEERS
from tests.support.installation import installed
from tests.support.notices import notice, recipient, sealed

TEXTS = {"subject": "通知 {{ name }}", "body": "您好 {{ name }}，{{ days }} 天。", "sms": "【平台】{{ name }}：{link}",
         "sms_carries": "link"}


@pytest.fixture
async def here(database_url):
    async with installed(database_url) as made:
        await recipient(made)
        for name in ("mapped", "other"):
            assert (await made.http.put(f"/v1/templates/{name}", json=TEXTS)).status_code == 201
        made.house.world = made.world = replace(made.world, sms_templates=frozenset({"mapped"}))
        made.house.acceptor._world = made.world
        yield made


def templated(name, **more):
    return notice(content=..., template={"name": name, "params": {"name": "李 *雷*", "days": 3}}, **more)


async def test_no_mapping_is_refused_when_enqueued(here):
    """A template that no vendor has, or a free text, is 422 with a pointer; in a batch it spoils nothing else; dry runs say so too."""
    for body, pointer in ((templated("other"), "/template/name"), (notice(), "/content/sms")):
        for path in ("/v1/notices", "/v1/notices?dry_run=true"):
            reply = await here.http.post(path, json=body)
            assert (reply.status_code, [e["pointer"] for e in reply.json()["errors"]]) == (422, [pointer])
    batch = (await here.http.post("/v1/notices/batch", json={"notices": [templated("other"), templated("mapped")]})).json()["results"]
    assert [r["status"] for r in batch] == [422, 202]


async def test_without_sms_nothing_is_asked_of_a_vendor(here):
    """A notice that goes by other channels needs no mapping."""
    for body in (templated("other", channels=["in_site", "email"]), notice(channels=["email"])):
        assert (await here.http.post("/v1/notices", json=body)).status_code == 202


async def test_the_vendor_is_given_our_parameters_and_the_link(here):
    """Parameters reach the provider as they were posted, beside the text that they made, and the link whole and by its last part."""
    assert (await here.http.post("/v1/notices", json=templated("mapped", channels=["sms"]))).status_code == 202
    one, = await sealed(here, "gate")
    peer = PEERS["aliyun"]()
    peer.server = type("Nobody", (), {"url": "http://127.0.0.1:1"})
    message = render(here.world, one, peer.provider())
    link = message.template_params["link"]
    assert message.text == f"【平台】李 *雷*：{link}"
    assert message.template == "mapped"
    assert message.template_params == {"name": "李 *雷*", "days": "3", "link": link, "link_token": one.link_token}
    assert link == f"http://test/d/{one.link_token}"


def test_the_installation_knows_what_its_vendors_can_send():
    """The union of the mappings; any text where one provider takes any, or where there is none."""
    from types import SimpleNamespace

    from noticesvc.bootstrap.installation import sms_templates
    from noticesvc.config import ProviderSettings, Settings

    def known(**templates):
        made = Settings(providers={n: ProviderSettings(kind="x", channel="email" if n == "mail" else "sms") for n in templates})
        return sms_templates(made, {n: SimpleNamespace(templates=t) for n, t in templates.items()})

    assert known(a=frozenset({"x"}), b=frozenset({"y"}), mail=None) == {"x", "y"}
    assert known(a=frozenset({"x"}), b=None) is None
    assert known(mail=None) is None
    assert known(a=frozenset()) == frozenset()


