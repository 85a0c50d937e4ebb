"""Notices for tests of operations and routes: a recipient with contacts, a body to post, and dispatch by hand."""

from typing import Any

from noticesvc.operations import claim, in_site, seal
from noticesvc.operations.seal import Sealed
from tests.support.installation import Installation

PHONE, MAILBOX = "+8613800138000", "li@example.cn"
CONTENT = {"subject": "用户协议更新", "body": "# 更新\n\n新版本自 **12 月 15 日** 起生效。",
           "sms": "【平台】用户协议更新：{link}", "sms_carries": "link"}


def notice(**more: Any) -> dict[str, Any]:
    """A notice that is accepted for `u-1001`; members of `more` replace or, if `...`, leave out."""
    made = {"recipient_id": "u-1001", "category": "agreement", "content": CONTENT} | more
    return {name: value for name, value in made.items() if value is not ...}


async def recipient(here: Installation, recipient_id: str = "u-1001", *, phone: str | None = PHONE, mailbox: str | None = MAILBOX) -> None:
    """Record a recipient with these contacts, and let a second pass."""
    contacts = [{"channel": channel, "address": address, "confirmation": "confirmed"}
                for channel, address in (("sms", phone), ("email", mailbox)) if address is not None]
    reply = await here.http.put(f"/v1/recipients/{recipient_id}/contacts", json={"contacts": contacts, "source": "crm"})
    assert reply.status_code == 200, reply.text
    here.clock.move(1)


async def accepted(here: Installation, **more: Any) -> str:
    """Post a notice; its id."""
    reply = await here.http.post("/v1/notices", json=notice(**more))
    assert reply.status_code == 202, reply.text
    return str(reply.json()["id"])


async def read(here: Installation, notice_id: str) -> dict[str, Any]:
    """The notice as GET shows it."""
    reply = await here.http.get(f"/v1/notices/{notice_id}")
    assert reply.status_code == 200, reply.text
    return dict(reply.json())


async def delivered_in_site(here: Installation) -> int:
    """Deliver what is due in-site."""
    return await here.database.write(in_site.deliver, here.world, 100)


async def sealed(here: Installation, provider: str = "sms") -> list[Sealed]:
    """Claim and seal what is due on other channels and was not sealed before, as a worker does; nothing is called."""
    owner = here.database.sources.new_id()
    claims = await here.database.write(claim.claim, owner, 100, 60)
    return await here.database.write(seal.seal, here.world, owner, [(one, provider) for one in claims if one.unanswered is None])
