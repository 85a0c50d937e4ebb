"""A running service with time-stamping services that hang or are dead: /readyz names them, notices still go, good tokens still come."""

import json

import pytest

from tests.fakes.tsa import Authority, Tsa
from tests.support.ports import free_port
from tests.support.process import running
from tests.support.waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
# A service is asked at most once a minute, and may be late for as long: here it is fractions of a second.
HASTE = """
from noticesvc.dispatch.anchors import Anchors
Anchors.__init__.__kwdefaults__["timeout_s"] = 2.0
_add = Anchors.add_tsa
Anchors.add_tsa = lambda self, url, roots, every_s, late_after_s=None: _add(self, url, roots, 0.2, 0.1)
"""


async def test_a_late_time_stamping_service_is_named_and_holds_up_nothing(tmp_path, database_url, needs):
    """One hangs, one does not listen at all: both are degraded with 200; a mail goes out, and the third one's token is in its proof."""
    needs("openssl", "apt-get install openssl")
    authority = Authority(tmp_path / "tsa")
    dead = free_port()
    async with (Tsa(None) as hanging, Tsa(authority.own) as good,
                running(tmp_path, database_url, wrapper=HASTE, patient=True) as house):
        house.service.environment = {
            "NOTICESVC_ANCHORS__TSA_URLS": json.dumps([hanging.url, f"http://127.0.0.1:{dead}/tsr", good.url]),
            "NOTICESVC_ANCHORS__TSA_ROOTS": str(authority.roots_file)}
        await house.service.start()
        await house.post(await house.recipient())
        await house.taken(1)
        names = {f"tsa:{url.split('/')[2]}" for url in (hanging.url, f"http://127.0.0.1:{dead}/tsr")}

        async def late():
            status, ready = await house.caller.request("GET", "/readyz")
            return status, {one["name"]: one["detail"] for one in ready.get("degraded", []) if one["name"].startswith("tsa:")}
        status, _ = await until(late, lambda answer: names <= answer[1].keys() and all(
            "has vouched for no newer checkpoint" in said for said in answer[1].values()))
        assert status == 200
        assert hanging.asked > 0
        second = await house.post("u-1")
        await house.taken(2)
        path = f"/v1/notices/{second}/proof?reason=late"
        _, proof = await until(lambda: house.caller.request("GET", path), lambda answer: answer[1].get("timestamps"))
        (tmp_path / "proof.json").write_text(json.dumps(proof))
        status, said = await house.service.command("verify", str(tmp_path / "proof.json"), "--tsa-roots", str(authority.roots_file))
        assert status == 0, said
        await until(late, lambda answer: answer[1].keys() == names)
