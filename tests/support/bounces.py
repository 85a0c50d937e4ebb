"""Mails that come back, as tests need them: reports by a relay, forged ones, replies; signed where a test wants that."""

import functools

import dkim
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

BY_POSTFIX = "Received: by relay.example.com (Postfix)\r\n\tid 4DKxyz0001; Mon, 21 Sep 2026 14:13:25 +0000 (UTC)\r\n"
FROM_OUTSIDE = ("Received: from relay.example.com (unknown [203.0.113.9])\r\n\tby relay.example.com (Postfix) with ESMTP id 4DKxyz0002;"
                "\r\n\tMon, 21 Sep 2026 14:13:25 +0000 (UTC)\r\n")
DATE = "Mon, 21 Sep 2026 14:13:25 +0000"  # the test clock's start and five seconds


def report(*, to, recipient, action="failed", status="5.1.1", envelope_id=None, queue_id=None, trace=BY_POSTFIX,
           sender="MAILER-DAEMON@relay.example.com", remote_mta=None):
    """A delivery status notification; `trace` is what stands above its own headers."""
    fields = ["Reporting-MTA: dns; relay.example.com"]
    fields += [f"X-Postfix-Queue-ID: {queue_id}"] if queue_id else []
    fields += [f"Original-Envelope-Id: {envelope_id}"] if envelope_id else []
    about = [f"Final-Recipient: rfc822; {recipient}", f"Action: {action}", f"Status: {status}",
             f"Diagnostic-Code: smtp; 550 {status} as the other side said"]
    about += [f"Remote-MTA: dns; {remote_mta}"] if remote_mta else []
    lines = [f"Date: {DATE}", f"From: {sender}", f"To: {to}", "Subject: Delivery report", "MIME-Version: 1.0",
             'Content-Type: multipart/report; report-type=delivery-status; boundary="B"', "",
             "--B", "Content-Type: text/plain", "",
             "What became of your mail.", "", "--B", "Content-Type: message/delivery-status", "", *fields, "", *about, "", "--B--", ""]
    return trace.encode() + "\r\n".join(lines).encode()


def reply(*, sender, message_id, trace=FROM_OUTSIDE, **headers):
    """A person's answer to one of our mails."""
    more = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return (f"{trace}From: Li <{sender}>\r\nTo: notices@example.com\r\nDate: {DATE}\r\nSubject: Re: x\r\n"
            f"In-Reply-To: <{message_id}>\r\n{more}\r\nReceived, thank you.\r\n").encode()


def displayed(*, sender, message_id, trace=FROM_OUTSIDE):
    """A message disposition notification."""
    lines = [f"From: {sender}", "To: notices@example.com", f"Date: {DATE}", "Subject: Read", "MIME-Version: 1.0",
             'Content-Type: multipart/report; report-type=disposition-notification; boundary="B"', "",
             "--B", "Content-Type: text/plain", "", "Read.", "", "--B", "Content-Type: message/disposition-notification", "",
             f"Final-Recipient: rfc822; {sender}",
             f"Original-Message-ID: <{message_id}>", "Disposition: manual-action/MDN-sent-manually; displayed", "", "--B--", ""]
    return trace.encode() + "\r\n".join(lines).encode()


@functools.cache
def key():
    """A private key as PEM, and its DNS record."""
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption())
    public = private.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return pem, '"v=DKIM1; k=rsa; p=' + '" "'.join(_cut("".join(public.decode().splitlines()[1:-1]), 200)) + '"'


def signed(raw, domain, *, length=False):
    """The same mail with a DKIM signature of this domain, as its outgoing server adds it below nothing but the trace."""
    start = raw.index(b"Date:") if raw.startswith(b"Received") and b"\r\nDate:" in raw and raw.index(b"Date:") < raw.index(b"From:") else (
        raw.index(b"From: "))
    trace, mail = raw[:start], raw[start:]
    return trace + dkim.sign(mail, b"s1", domain.encode(), key()[0], include_headers=[b"from", b"to", b"date", b"subject"],
                             length=length) + mail


def _cut(text, size):
    return [text[at:at + size] for at in range(0, len(text), size)]
