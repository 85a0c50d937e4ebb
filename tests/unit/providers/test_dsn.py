"""Reading and writing delivery status notifications, against the examples of RFC 3464 and what Postfix writes."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.shared.dsn import kind_of, read_report, receipts_of, write_report

# RFC 3464, appendix E.1 (a failed delivery), shortened to the parts that matter.
RFC_3464_E1 = b"""\
Date: Thu, 7 Jul 1994 17:16:05 -0400
From: Mail Delivery Subsystem <MAILER-DAEMON@CS.UTK.EDU>
Message-Id: <199407072116.RAA14128@CS.UTK.EDU>
Subject: Returned mail: Cannot send message for 5 days
To: <owner-info-mime@cs.utk.edu>
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status;
      boundary="RAA14128.773615765/CS.UTK.EDU"

--RAA14128.773615765/CS.UTK.EDU

The original message was received at Sat, 2 Jul 1994 17:10:28 -0400
--RAA14128.773615765/CS.UTK.EDU
content-type: message/delivery-status

Reporting-MTA: dns; cs.utk.edu

Original-Recipient: rfc822;louisl@larry.slip.umd.edu
Final-Recipient: rfc822;louisl@larry.slip.umd.edu
Action: failed
Status: 4.0.0
Diagnostic-Code: smtp; 426 connection timed out
Last-Attempt-Date: Thu, 7 Jul 1994 17:15:49 -0400

--RAA14128.773615765/CS.UTK.EDU
content-type: message/rfc822

Message-ID: <returned@example.org>
Subject: original

--RAA14128.773615765/CS.UTK.EDU--
"""

POSTFIX = b"""\
Date: Sun, 22 Nov 2026 10:48:38 +0000 (UTC)
From: MAILER-DAEMON@relay.test (Mail Delivery System)
Content-Type: multipart/report; report-type=delivery-status; boundary="B/relay.test"
MIME-Version: 1.0

--B/relay.test
Content-Type: message/delivery-status

Reporting-MTA: dns; relay.test
Original-Envelope-Id: 0199-abc.1
X-Postfix-Queue-ID: 4DKxyz0001
X-Postfix-Sender: rfc822; notices@here.test
Arrival-Date: Sun, 22 Nov 2026 10:48:37 +0000 (UTC)

Final-Recipient: rfc822; zhang@gone.test
Original-Recipient: rfc822;zhang@gone.test
Action: failed
Status: 5.1.1
Remote-MTA: dns; [127.0.0.1]
Diagnostic-Code: smtp; 550 5.1.1 No such
    user here

--B/relay.test--
"""


def test_the_example_of_rfc_3464():
    """Five days of trying that ended: expired, at the last attempt, which is the end of that second in UTC."""
    report = read_report(RFC_3464_E1)
    (receipt,) = receipts_of(RFC_3464_E1, authenticated_by=None)
    assert report.message_id == "returned@example.org"
    assert report.reporting_mta == "cs.utk.edu"
    assert (receipt.kind, receipt.code, receipt.recipient) == ("expired", "4.0.0", "louisl@larry.slip.umd.edu")
    assert receipt.text == "426 connection timed out"
    assert receipt.claimed_time_raw == "Thu, 7 Jul 1994 17:15:49 -0400"
    assert receipt.claimed_at == "1994-07-07T21:15:49.999Z"
    assert (receipt.reference, receipt.authenticated_by, receipt.source) == (None, None, "dsn")


def test_what_postfix_writes():
    """Our reference, Postfix's queue id and the date of the report, never the date at which the relay took the mail."""
    (receipt,) = receipts_of(POSTFIX, authenticated_by="dsn-own-relay")
    assert (receipt.kind, receipt.reference, receipt.provider_reference) == (
        "failed_permanent", "0199-abc.1", "4DKxyz0001")
    assert receipt.text == "550 5.1.1 No such user here"
    assert receipt.claimed_at == "2026-11-22T10:48:38.999Z"
    assert receipt.authenticated_by == "dsn-own-relay"


@pytest.mark.parametrize(("action", "status", "kind"), [
    ("delivered", "2.0.0", "arrived"), ("relayed", "2.0.0", "relayed"),
    *(("failed", status, "failed_permanent") for status in ("5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10")),
    *(("failed", status, "rejected") for status in ("5.2.2", "5.7.1", "5.1.7", "5.1.8", "5.0.0", "")),
    *(("failed", status, "expired") for status in ("4.4.7", "4.4.1", "5.4.7")),
    ("delayed", "4.2.1", "unmapped"), ("expanded", "2.0.0", "unmapped"), ("invented", "5.1.1", "unmapped"),
])
def test_what_actions_mean(action, status, kind):
    """RFC 3464 §2.3.3 and RFC 3463 §3: only a missing mailbox or domain is permanent; delays decide nothing."""
    assert kind_of(action, status) == kind


def test_several_recipients_and_internationalised_reports():
    """One receipt a recipient; RFC 6533's message/global-delivery-status with a UTF-8 address is read as well."""
    two = POSTFIX.replace(b"--B/relay.test--", b"").rstrip() + (
        b"\n\nFinal-Recipient: rfc822; b@gone.test\nAction: delivered\nStatus: 2.0.0\n\n--B/relay.test--\n")
    assert [receipt.kind for receipt in receipts_of(two, authenticated_by=None)] == ["failed_permanent", "arrived"]
    utf8 = POSTFIX.replace(b"message/delivery-status", b"message/global-delivery-status").replace(
        b"rfc822; zhang@", "utf-8; 张@".encode()).replace(b"rfc822;zhang@", "utf-8;张@".encode())
    (receipt,) = receipts_of(utf8, authenticated_by=None)
    assert (receipt.kind, receipt.recipient) == ("failed_permanent", "张@gone.test")


def test_what_is_no_report_gives_nothing():
    """An ordinary mail that quotes a status in its text says nothing."""
    assert read_report(b"Subject: x\r\n\r\nFinal-Recipient: rfc822; a@b\r\nAction: failed\r\nStatus: 5.1.1\r\n") is None
    assert read_report(b"Content-Type: message/delivery-status\r\n\r\n").recipients == ()


@pytest.mark.parametrize("date", ["", "yesterday", "Sun, 22 Nov 2026 10:48:38", "Sun, 22 Nov 2026 10:48:38 -0000",
                                  "Sun, 99 Nov 99999 99:99:99 +9999"])
def test_a_date_without_a_zone_or_sense_is_no_claim(date):
    """A claim that cannot be read or has no offset counts as absent, but its text is kept."""
    raw = POSTFIX.replace(b"Sun, 22 Nov 2026 10:48:38 +0000 (UTC)", date.encode())
    (receipt,) = receipts_of(raw, authenticated_by=None)
    assert receipt.claimed_at is None
    assert receipt.claimed_time_raw == (date or None)


NAME = st.text(st.characters(codec="utf-8", categories=["L", "N"]), min_size=1, max_size=20)


@given(name=NAME, action=st.sampled_from(["failed", "delivered", "delayed", "relayed", "expanded"]),
       status=st.sampled_from(["2.0.0", "4.4.7", "5.1.1", "5.2.2"]),
       reference=st.text("0123456789abcxyz_.-", min_size=1, max_size=80),
       at=st.datetimes(datetime(1980, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)))
def test_what_was_written_is_read(name, action, status, reference, at):
    """Writing a report and reading it gives back every fact that was put in."""
    raw = write_report(to="n@example.com", reporting_mta="sandbox.invalid", envelope_id=reference,
                       recipient=f"{name}@example.cn", action=action, status=status, diagnostic="550 text",
                       message_id="m@n.example", at=at)
    report = read_report(raw)
    (told,) = report.recipients
    assert (report.envelope_id, report.message_id) == (reference, "m@n.example")
    assert report.reporting_mta == "sandbox.invalid"
    assert (told.action, told.status, told.final_recipient) == (action, status, f"{name}@example.cn")
    (receipt,) = receipts_of(raw, authenticated_by="sandbox")
    assert receipt.claimed_at.startswith(at.strftime("%Y-%m-%dT%H:%M:%S."))
