"""The sandbox does what each address promises, over real SMTP for mail."""

import asyncio

import pytest

from noticesvc.provider import OutcomeUnknown, PermanentFailure, TemporaryFailure
from providers.sandbox import Sandbox
from tests.fakes.provider_peers import Context, inquiry, message


async def submitted(channel, to, number=1, context=None):
    """Hand one message to a sandbox of its own; return the answer and what later receipts say."""
    context = context or Context()
    provider = Sandbox.configure("try", channel, 5, Sandbox.Settings())
    await provider.open(context)
    try:
        answer = await provider.submit(message(channel, to, number=number))
        found = await provider.query(inquiry(channel, to, number=number))
        later = [(after_s, provider.parse_receipt(raw, media_type)) for raw, media_type, after_s in context.scheduled]
    finally:
        await provider.close()
    assert ([receipt.kind for receipt in found.receipts], found.never_taken) == ([answer.outcome], False)
    assert all(receipt.reference == f"0199-d.{number}" and receipt.authenticated_by == "sandbox"
               for _, receipts in later for receipt in receipts)
    return answer, [(after_s, [receipt.kind for receipt in receipts]) for after_s, receipts in later]


@pytest.mark.parametrize(("ending", "number", "kinds"), [
    ("00", 1, ["arrived"]), ("02", 1, ["failed_permanent"]), ("03", 2, ["arrived"]), ("04", 1, []),
    ("05", 1, ["arrived", "relayed", "arrived"]),
])
async def test_numbers_choose_the_receipts(ending, number, kinds):
    """Each ending has its receipts, soon and in this order."""
    answer, later = await submitted("sms", "+86138000000" + ending, number)
    assert answer.outcome == "submitted"
    assert [kind for _, receipt in later for kind in receipt] == kinds
    assert all(0 < after_s <= 0.5 for after_s, _ in later)
    assert sorted(later, key=lambda item: item[0]) == later


async def test_the_duplicate_is_the_same_bytes():
    """A report that comes twice comes unchanged, as a gateway repeats it."""
    context = Context()
    await submitted("sms", "+8613800000005", context=context)
    raws = [raw for raw, _, _ in context.scheduled]
    assert raws[0] == raws[2] != raws[1]


async def test_ending_03_fails_once_only():
    """The first attempt is refused for now and nothing is kept of it."""
    context = Context()
    with pytest.raises(TemporaryFailure):
        await submitted("sms", "+8613800000003", 1, context)
    assert context.kept == context.scheduled == []


@pytest.mark.parametrize(("to", "number", "later"), [
    ("li@example.cn", 1, []), ("slow@example.cn", 2, []), ("李@例子.测试", 1, []),
    ("bounce-7@example.cn", 1, [(2.0, ["failed_permanent"])]), ("dsn-7@example.cn", 1, [(0.1, ["arrived"])]),
])
async def test_mailboxes_choose_the_reports(to, number, later):
    """Mail arrives with the 250 of its MX; bounces come two seconds later, success reports at once."""
    answer, told = await submitted("email", to, number)
    assert answer.outcome == "arrived"
    assert answer.raw.startswith(b"250 2.0.0 Ok: queued as SBX")
    assert told == later


@pytest.mark.parametrize(("to", "kind", "code"), [
    ("refuse-7@example.cn", PermanentFailure, "5.1.1"), ("slow-7@example.cn", TemporaryFailure, "4.2.1"),
])
async def test_mailboxes_that_refuse(to, kind, code):
    """Refusals come from the SMTP conversation, and nothing is kept of them."""
    context = Context()
    with pytest.raises(kind) as caught:
        await submitted("email", to, 1, context)
    assert caught.value.code == code
    assert context.kept == []


async def test_what_was_taken_is_kept_as_a_reader_sees_it():
    """The kept mail has its decoded subject and text, and the reference that `query` asks for."""
    context = Context()
    await submitted("email", "li@example.cn", context=context)
    assert context.kept == [dict(channel="email", to="li@example.cn", subject="Notice",
                                 text="Hello.\n.dot at the start\n", reference="0199-d.1")]


@pytest.mark.parametrize("channel", ["email", "sms"])
async def test_query_says_never_taken(channel):
    """It knows for certain that it kept nothing under a reference."""
    provider = Sandbox.configure("try", channel, 5, Sandbox.Settings())
    await provider.open(Context())
    answer = await provider.query(inquiry(channel))
    assert (list(answer.receipts), answer.never_taken) == ([], True)
    await provider.close()


class Broken(Context):
    """A context whose database hangs or fails."""

    def __init__(self, fault):
        super().__init__()
        self.fault = fault

    async def keep(self, **_):
        if self.fault is None:
            await asyncio.Event().wait()
        raise self.fault


@pytest.mark.parametrize("channel", ["email", "sms"])
@pytest.mark.parametrize("fault", [None, OSError("disk")], ids=["hangs", "fails"])
async def test_a_database_that_fails_is_told_in_the_protocols_words(channel, fault):
    """What may have been kept is unknown; a mailbox that says 451 has taken nothing."""
    provider = Sandbox.configure("try", channel, 60.0 if fault else 0.3, Sandbox.Settings())
    await provider.open(Broken(fault))
    expected = TemporaryFailure if channel == "email" and fault else OutcomeUnknown
    with pytest.raises(expected):
        await provider.submit(message(channel))
    await provider.close()
