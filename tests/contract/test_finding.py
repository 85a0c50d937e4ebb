"""Finding notices by address, and a notice's whole story, on every engine."""

import pytest

from noticesvc.errors import InputError, NotFound
from noticesvc.operations import finding
from noticesvc.operations.notice_reading import Filter
from tests.support.installation import installed
from tests.support.notices import CONTENT, MAILBOX, PHONE, accepted, read, recipient, sealed

NEW = "li@new.example.cn"


@pytest.fixture
async def here(database_url):
    async with installed(database_url) as made:
        await recipient(made)
        yield made


async def found(here, address=None, limit=50, after=None, **wanted):
    """What is found, as (ids, sent there, more)."""
    made = await here.database.read(finding.find, here.world, Filter(**wanted), address, limit, after)
    return [one["id"] for one in made.items], made.sent_there, made.more


async def test_an_address_finds_whose_it_ever_was_and_what_went_there(here):
    """A shared number finds both recipients' notices; a mailbox that was replaced before dispatch received nothing."""
    await recipient(here, "u-1002", mailbox=None)
    mine = await accepted(here)
    here.clock.move(1)
    other = await accepted(here, recipient_id="u-1002", channels=["sms"])
    await recipient(here, mailbox=NEW)
    assert {(one.notice_id, one.channel) for one in await sealed(here)} == {(mine, "sms"), (mine, "email"), (other, "sms")}
    assert await found(here, PHONE) == ([other, mine], {mine: ["sms"], other: ["sms"]}, False)
    assert await found(here, MAILBOX) == ([mine], {}, False)
    assert await found(here, NEW.upper().replace("LI@", "li@")) == ([mine], {mine: ["email"]}, False)
    assert await found(here, PHONE, recipient_id="u-1002") == ([other], {other: ["sms"]}, False)
    assert await found(here, PHONE, category="judicial") == ([], {}, False)
    assert await found(here, "+8613900000000") == ([], {}, False)


async def test_pages_meet_without_a_gap(here):
    """Page after page every notice comes once, the newest first."""
    ids = []
    for _ in range(5):
        ids.insert(0, await accepted(here, channels=["in_site"]))
        here.clock.move(1)
    first, _, more = await found(here, PHONE, limit=2)
    second, _, again = await found(here, PHONE, limit=2, after=first[-1])
    last = await found(here, limit=2, after=second[-1], recipient_id="u-1001")
    assert (first + second + last[0], more, again, last[2]) == (ids, True, True, False)


async def test_what_can_be_no_address_is_refused(here):
    """Control characters are no address on any channel."""
    with pytest.raises(InputError):
        await found(here, "\x07")


async def test_the_story_is_the_notice_with_its_content_and_every_outcome(here):
    """It has the members that GET gives, the content as accepted, and a traced result for each of the six built-in rules."""
    notice_id = await accepted(here)
    story = await here.database.read(finding.story, here.world, notice_id)
    assert story["content"]["body"] == CONTENT["body"]
    rules = [one["rule"] for one in story.pop("outcomes")]
    assert sorted(rules) == ["agreement-6.2", "agreement-6.2-sent", "agreement-6.3", "agreement-6.3-sent", "court-31", "court-95"]
    story.pop("content")
    assert story == await read(here, notice_id)
    with pytest.raises(NotFound):
        await here.database.read(finding.story, here.world, here.database.sources.new_id())
