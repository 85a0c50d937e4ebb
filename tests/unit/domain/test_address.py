"""noticesvc.domain.address: normal forms, refusals that repeat nothing, and masks."""

import email_validator
import pytest
from hypothesis import given
from hypothesis import strategies as st

from noticesvc.domain import address
from noticesvc.errors import InputError

# Numbers: +86 13x is China Mobile's range (MIIT numbering plan); +44 7700 900xxx is Ofcom's range for drama, which no plan
# calls valid, so the UK example is another mobile number; +1 650 253 0000 is a published office number in California.
PHONES = [
    ("13800138000", "+8613800138000"), ("138 0013 8000", "+8613800138000"), (" 138-0013-8000 ", "+8613800138000"),
    ("+86 138-0013-8000", "+8613800138000"), ("(+86) 138 0013 8000", None), ("008613800138000", "+8613800138000"),
    ("8613800138000", "+8613800138000"), ("＋８６１３８００１３８０００", "+8613800138000"),
    ("+44 7911 123456", "+447911123456"), ("+1 (650) 253-0000", "+16502530000"), ("+861065529988", "+861065529988"),
    ("010 6552 9988", None), ("6502530000", None), ("12345", None), ("", None), ("+", None), ("+86138001380001", None),
    ("1380013800", None), ("not a number", None), ("+1-800-FLOWERS", None), ("+86138001380\n00", None),
    ("+8613800138000;ext=5", None), ("tel:+8613800138000", None), ("+" + "1" * 500, None), ("+8613800138000\x00", None),
]


@pytest.mark.parametrize(("written", "normal"), PHONES, ids=lambda v: repr(v)[:24])
def test_a_number_becomes_e164_or_is_refused(written, normal):
    """A bare Chinese mobile number is +86, every other needs its country code; what is no number is refused at /address."""
    if normal is not None:
        assert address.normalise("sms", written) == normal
        return
    with pytest.raises(InputError) as refused:
        address.normalise("sms", written)
    assert [fault.pointer for fault in refused.value.faults] == ["/address"]


@pytest.mark.parametrize(("written", "normal"), [
    ("li@example.cn", "li@example.cn"), ("Li.Lei+x@EXAMPLE.cn", "Li.Lei+x@example.cn"), (" li@example.cn ", "li@example.cn"),
    ("李雷@例子.中国", "李雷@例子.中国"), ("li@xn--fsqu00a.xn--fiqs8s", "li@例子.中国"), ("a\u0300@b.cn", "\u00e0@b.cn"),
    ("nobody", None), ("a@@b.cn", None), ("a@b.cn\r\nBcc: x@example.cn", None), ("a@b.cn, c@d.cn", None), ("<a@b.cn>", None),
    ("Li <a@b.cn>", None), ("a" * 65 + "@b.cn", None), ("a@" + "b" * 64 + ".cn", None), ("a@" + "b." * 130 + "cn", None),
    ("", None), ("a@b.cn\x00", None), ("a@[127.0.0.1]", None), ("a b@c.cn", None), ("a@localhost", None), ("a@b.cn\ud800", None),
], ids=lambda v: repr(v)[:24])
def test_a_mailbox_is_normalised_or_refused(written, normal):
    """One bare mailbox (RFC 5321, RFC 6531), domain in lower case Unicode, local part as given in NFC; nothing else."""
    if normal is not None:
        assert address.normalise("email", written) == normal
        return
    with pytest.raises(InputError) as refused:
        address.normalise("email", written)
    assert [fault.pointer for fault in refused.value.faults] == ["/address"]


@pytest.mark.parametrize(("written", "normal"), [
    ("北京市海淀区中关村大街 1 号", "北京市海淀区中关村大街 1 号"), ("  北京市\r\n海淀区\n", "北京市\n海淀区"), ("x" * 500, "x" * 500),
    ("x" * 501, None), ("", None), (" \n ", None), ("\x00", None), ("a\tb", None), ("a\u202eb", None), ("a\u2028b", None),
    ("a\ud800", None),
], ids=lambda v: repr(v)[:24])
def test_a_postal_address_is_kept_as_written_or_refused(written, normal):
    """1 to 500 characters in one or several lines, without what cannot be printed or turns the reading direction."""
    if normal is not None:
        assert address.normalise("postal", written) == normal
        return
    with pytest.raises(InputError):
        address.normalise("postal", written)


@given(st.text('ab0.-_+Aé@" ', max_size=70), st.one_of(st.sampled_from([
    "example.cn", "EXAMPLE.cn", "xn--fsqu00a.xn--fiqs8s", "例子.中国", "localhost", "a.local", "b" * 63 + ".cn", "b." * 95 + "cn",
    "[127.0.0.1]", "a--b.cn", "a.test", "1.2", "a_b.cn"]), st.text("ab0.-_A", max_size=20)))
def test_a_mailbox_is_what_the_library_says(local, domain):
    """Whatever shortcut is taken for plain ones: the same form, or refused as well."""
    written = f"{local}@{domain}".strip(" ")
    try:
        normal = email_validator.validate_email(written, check_deliverability=False, strict=True).normalized
    except email_validator.EmailNotValidError:
        with pytest.raises(InputError):
            address.normalise("email", written)
    else:
        assert address.normalise("email", written) == normal


def test_a_channel_without_addresses_is_refused():
    """The account has no address, and an announcement has none."""
    with pytest.raises(InputError) as refused:
        address.normalise("in_site", "x")
    assert [fault.pointer for fault in refused.value.faults] == ["/channel"]


@given(st.sampled_from(address.CONTACT_CHANNELS), st.text(max_size=600))
def test_any_text_has_one_normal_form_or_a_refusal_that_does_not_repeat_it(channel, text):
    """Normalising twice is normalising once, and a refusal never holds the text."""
    try:
        normal = address.normalise(channel, text)
    except InputError as error:
        said = " ".join([str(error), *(fault.detail for fault in error.faults)])
        assert len(text) < 12 or text not in said
        return
    assert address.normalise(channel, normal) == normal


@pytest.mark.parametrize(("channel", "full", "masked"), [
    ("sms", "+8613800138000", "+86138****8000"), ("sms", "+16502530000", "+165****0000"), ("sms", "+29012345", "+29****45"),
    ("email", "li@example.cn", "l*@example.cn"), ("email", "l@example.cn", "*@example.cn"),
    ("email", "zhang.san@example.cn", "z********@example.cn"),
    ("postal", "北京市海淀区中关村大街1号", "北京市海淀区*******"), ("postal", "北京市", "北**"), ("postal", "京", "*"),
])
def test_masks(channel, full, masked):
    """Each hidden character is one star, counted by hand."""
    assert address.mask(channel, full) == masked


@given(st.sampled_from([("sms", st.from_regex(r"\+[1-9][0-9]{6,14}", fullmatch=True)),
                        ("email", st.from_regex(r"[a-z0-9.]{1,20}@[a-z]{1,10}\.cn", fullmatch=True)),
                        ("postal", st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=60))])
       .flatmap(lambda pair: st.tuples(st.just(pair[0]), pair[1])))
def test_a_mask_hides_something_and_shows_nothing_else(pair):
    """The mask has the address's length, hides at least one character, and what it shows stands where it stood."""
    channel, full = pair
    masked = address.mask(channel, full)
    assert len(masked) == len(full)
    assert all(shown in {"*", real} for shown, real in zip(masked, full, strict=True))
    assert any(shown == "*" for shown, real in zip(masked, full, strict=True) if real != "*") or set(full) == {"*"}
