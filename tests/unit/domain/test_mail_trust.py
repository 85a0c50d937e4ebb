"""Whom a mail that came back is believed about: our own relay, the recipient's mail system, the recipient himself."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noticesvc.domain.mail_trust import aligned, ascii_domain, believed, same_mailbox

ADDRESS = "li@example.cn"


def asked(source="dsn", vouched_by="dkim", **more):
    given_ = dict(address=ADDRESS, final_recipient=None, sender=None, domain=None, same_queue=False) | more
    return believed(source=source, vouched_by=vouched_by, **given_)


@pytest.mark.parametrize(("one", "other", "expected"), [
    ("example.cn", "example.cn", True), ("Example.CN.", "example.cn", True), ("mx.example.cn", "example.cn", True),
    ("example.cn", "a.b.example.cn", True), ("cn", "example.cn", False), ("ample.cn", "example.cn", False), ("", "example.cn", False),
    ("example.cn", "", False), ("xn--fsqu00a.cn", "例子.cn", True), ("a.example.cn", "b.example.cn", False),
])
def test_alignment_is_relaxed_and_never_by_a_top_level_domain(one, other, expected):
    """RFC 7489 §3.1: the same domain or one below the other, whoever asks first."""
    assert aligned(one, other) is expected
    assert aligned(other, one) is expected


@pytest.mark.parametrize(("one", "other", "expected"), [
    ("li@example.cn", "LI@EXAMPLE.CN", True), ("李@例子.cn", "李@xn--fsqu00a.cn", True), ("li@mx.example.cn", "li@example.cn", False),
    ("wang@example.cn", "li@example.cn", False), (None, "li@example.cn", False), ("li", "li", False), ("", "", False),
])
def test_a_mailbox_is_one_however_it_is_spelt(one, other, expected):
    """Case and the form of the domain say nothing; a subdomain is another mailbox."""
    assert same_mailbox(one, other) is expected


def test_our_own_relay_is_believed_of_its_queue_id_or_the_address():
    """Whoever else makes our relay report, reports on another mail."""
    assert asked(vouched_by="dsn-own-relay", same_queue=True) == "dsn-own-relay"
    assert asked(vouched_by="dsn-own-relay", final_recipient="Li@example.cn") == "dsn-own-relay"
    assert asked(vouched_by="dsn-own-relay", final_recipient="somebody@example.com") is None
    assert asked(vouched_by="dsn-own-relay") is None


@pytest.mark.parametrize("how", ["dkim", "spf"])
def test_a_domain_speaks_for_its_mailboxes_and_an_author_for_his_own(how):
    """A report needs the domain, a reply or a read receipt the address itself as well."""
    assert asked(vouched_by=how, domain="mx.example.cn") == how
    assert asked(vouched_by=how, domain="example.org") is None
    for source in ("mdn", "reply"):
        assert asked(source, how, domain="example.cn", sender=ADDRESS) == how
        assert asked(source, how, domain="example.cn", sender="wang@example.cn") is None
        assert asked(source, how, domain="example.org", sender=ADDRESS) is None
        assert asked(source, how, domain="example.cn") is None


def test_what_is_no_mail_is_left_as_its_provider_said():
    """Callbacks and queries are authenticated elsewhere, and what nobody vouches for stays so."""
    assert asked("gateway", "hmac-token") == "hmac-token"
    assert asked("dsn", "sandbox") == "sandbox"
    assert asked("dsn", None, same_queue=True, final_recipient=ADDRESS) is None


@given(st.sampled_from(["dsn", "mdn", "reply", "feedback"]), st.sampled_from(["dkim", "spf", "dsn-own-relay"]),
       *(st.one_of(st.none(), st.text(max_size=30), st.just("x@evil.example"), st.just("evil.example")) for _ in range(3)))
def test_nobody_else_is_ever_believed(source, how, final_recipient, sender, domain):
    """Whatever somebody says of himself, without our queue id, our recipient or his domain it proves nothing."""
    found = asked(source, how, final_recipient=final_recipient, sender=sender, domain=domain)
    named = same_mailbox(final_recipient, ADDRESS) or same_mailbox(sender, ADDRESS)
    assert found is None or named or aligned(domain or "", "example.cn")


@given(st.text(max_size=60))
def test_any_text_is_a_domain_or_none(text):
    """No text makes it raise, and what is answered is ASCII."""
    assert ascii_domain(text).isascii()
