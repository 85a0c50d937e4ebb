"""What a mail that came back says: read receipts, replies, automatic answers and bounces in words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.shared.mail_reading import receipts_in, tokens_in

TOKEN = "a2b3c4d5e6f7" * 3 + "ghijklmno"
OURS = f"<{TOKEN}@notices.example.com>"


def mail(body="Received, thank you.\r\n", **headers):
    given_headers = {"From": "Li <li@Example.CN>", "To": "notices@example.com", "Date": "Sun, 22 Nov 2026 10:48:38 +0800",
                     "In-Reply-To": OURS} | {name.replace("_", "-"): value for name, value in headers.items()}
    return ("".join(f"{name}: {value}\r\n" for name, value in given_headers.items() if value is not None) + "\r\n" + body).encode()


def mdn(disposition):
    return mail(
        "--B\r\nContent-Type: text/plain\r\n\r\nThe message was displayed.\r\n"
        "--B\r\nContent-Type: message/disposition-notification\r\n\r\n"
        f"Final-Recipient: rfc822; li@example.cn\r\nOriginal-Message-ID: {OURS}\r\nDisposition: {disposition}\r\n\r\n--B--\r\n",
        Content_Type='multipart/report; report-type=disposition-notification; boundary="B"', In_Reply_To=None)


def test_a_reply_acknowledges():
    """A person's answer to a mail of ours, by whom and when, and to which mail."""
    (receipt,) = receipts_in(mail())
    assert (receipt.kind, receipt.source, receipt.sender) == ("acknowledged", "reply", "li@example.cn")
    assert receipt.return_tokens == (TOKEN,)
    assert receipt.claimed_at == "2026-11-22T02:48:38.000Z"
    assert receipt.authenticated_by is None


@pytest.mark.parametrize("header", [
    {"Auto-Submitted": "auto-replied (vacation)"}, {"Auto-Submitted": "auto-generated"}, {"Precedence": "bulk"},
    {"X-Autoreply": "yes"}, {"Return-Path": "<>"}, {"Subject": "Automatic reply: 用户协议更新"}, {"Subject": "自动回复：用户协议更新"},
    {"Subject": "Out of Office: x"}, {"From": "postmaster@example.cn"},
], ids=str)
def test_an_automatic_answer_is_neither_bounce_nor_acknowledgement(header):
    """RFC 3834 and its unwritten forebears: what a program wrote acknowledges nothing and strikes nothing."""
    assert {receipt.kind for receipt in receipts_in(mail(**header))} == {"unmapped"}


@pytest.mark.parametrize("header", [{"Auto-Submitted": "no"}, {"Subject": "Re: automatic payments, office and vacation"}], ids=str)
def test_words_of_programs_in_a_persons_mail_change_nothing(header):
    """Auto-Submitted: no, and a subject that only speaks of such things, leave a reply a reply."""
    assert [receipt.kind for receipt in receipts_in(mail(**header))] == ["acknowledged"]


@pytest.mark.parametrize("header", [{"In-Reply-To": None}, {"In-Reply-To": "<another@example.org>"}, {"From": None},
                                    {"From": "a@example.cn, b@example.cn"}], ids=str)
def test_a_mail_that_answers_nothing_of_ours_is_no_reply(header):
    """Without one of our Message-IDs, or without one author, a mail acknowledges nothing."""
    assert receipts_in(mail(**header)) == ()


def test_a_reply_that_quotes_a_bounce_is_a_reply():
    """Who writes about a failure does not report one."""
    text = "You wrote:\r\n> <li@example.cn>: 550 5.1.1 User unknown\r\n> This is a permanent error.\r\n"
    assert [receipt.kind for receipt in receipts_in(mail(text))] == ["acknowledged"]


@pytest.mark.parametrize(("disposition", "kind"), [
    ("manual-action/MDN-sent-manually; displayed", "accessed"),
    ("automatic-action/MDN-sent-automatically; displayed/warning", "accessed"),
    ("manual-action/MDN-sent-manually; deleted", "unmapped"), ("", "unmapped"), ("displayed-not", "unmapped"),
])
def test_only_displayed_is_access(disposition, kind):
    """RFC 8098 §3.2.6: deleted, dispatched, processed and what nobody knows say nothing about reading."""
    (receipt,) = receipts_in(mdn(disposition))
    assert (receipt.kind, receipt.source, receipt.sender, receipt.recipient) == (kind, "mdn", "li@example.cn", "li@example.cn")
    assert receipt.return_tokens == (TOKEN,)


@pytest.mark.parametrize(("reason", "kind", "code"), [
    ("550 5.1.1 <li@example.cn>: user unknown", "failed_permanent", "5.1.1"),
    ("554 delivery error: This user doesn't have an account here", "failed_permanent", "5.1.1"),
    ("552 mailbox is full", "rejected", "5.2.2"),
    ("550 account has been disabled", "rejected", "5.2.1"),
    ("554 blocked by policy", "rejected", "5.7.1"),
    ("retry timeout exceeded", "expired", "4.4.7"),
    ("something went wrong", "rejected", "5.0.0"),
])
def test_a_bounce_in_words_means_what_they_say(reason, kind, code):
    """Only a missing mailbox is permanent; full, closed and policy are not (RFC 3463: they do not say that nobody is there)."""
    raw = mail(f"I could not deliver your message.\r\n\r\n<li@example.cn>:\r\n{reason}\r\n\r\n--- Below this line is a copy\r\n",
               From="Mail Delivery System <MAILER-DAEMON@mx.example.cn>", Subject="Undeliverable: Notice", Return_Path="<>",
               In_Reply_To=None)
    (receipt,) = receipts_in(raw)
    assert (receipt.kind, receipt.code, receipt.recipient, receipt.source) == (kind, code, "li@example.cn", "dsn")


def test_a_warning_strikes_nothing():
    """A mail that is still being tried decides nothing."""
    raw = mail("Your message to li@example.cn has not yet been delivered. We will keep trying.\r\n", In_Reply_To=None,
               From="MAILER-DAEMON@mx.example.cn", Subject="Warning: message delayed 4 hours", Return_Path="<>")
    assert {receipt.kind for receipt in receipts_in(raw)} <= {"unmapped"}
    assert receipts_in(raw)


def test_a_complaint_is_kept_and_means_nothing():
    """A feedback report (RFC 5965) says that somebody pressed a button, not whether the notice came."""
    raw = mail("--B\r\nContent-Type: message/feedback-report\r\n\r\nFeedback-Type: abuse\r\n\r\n--B--\r\n", In_Reply_To=None,
               Content_Type='multipart/report; report-type=feedback-report; boundary="B"')
    assert [(receipt.kind, receipt.code) for receipt in receipts_in(raw)] == [("unmapped", "feedback-report")]


def test_tokens_are_found_in_any_case_and_none_is_invented():
    """Relays change the case of local parts; longer and shorter words are none of ours."""
    assert tokens_in(f"To: <bounces+{TOKEN.upper()}@example.com>".encode()) == (TOKEN,)
    assert tokens_in(f"{TOKEN}a {TOKEN[:-1]} x{TOKEN}".encode()) == ()


@given(st.binary(max_size=300), st.sampled_from(["", "multipart/report; boundary=B", "message/disposition-notification", "text/html"]),
       st.sampled_from([b"", b"--B\r\nContent-Type: message/disposition-notification\r\n\r\nDisposition: x; displayed\r\n"]))
def test_hostile_bytes_never_raise(garbage, content_type, start):
    """Whatever comes, the answer is a tuple of receipts, and none of them is authenticated."""
    raw = f"From: MAILER-DAEMON@x.example\r\nReturn-Path: <>\r\nContent-Type: {content_type}\r\n\r\n".encode() + start + garbage
    for bytes_ in (raw, garbage):
        assert all(receipt.authenticated_by is None for receipt in receipts_in(bytes_))
