"""Tokens of RFC 3161 over checkpoints: read, and checked against roots. Called by the verifier, the audit and dispatch.anchors.

rfc3161-client reads whole responses only, so that a stored token is wrapped in a response that says `granted` (RFC 3161, 2.4.2).
Certificates need to have been valid at the time in the token, not today, so that proofs outlive them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256

import rfc3161_client
from cryptography import x509

from noticesvc.errors import VerificationError

MAX_TOKEN_BYTES = 64 << 10
_GRANTED = b"\x30\x03\x02\x01\x00"  # PKIStatusInfo with status 0
_SHA256 = x509.ObjectIdentifier("2.16.840.1.101.3.4.2.1")


@dataclass(frozen=True, slots=True)
class Token:
    """What a token says; nothing is verified but its form and that it is of exactly this message."""

    at: datetime  # aware, the service's own time
    nonce: int | None


def roots(pem: bytes) -> list[x509.Certificate]:
    """The certificates of a PEM file. VerificationError if there are none."""
    try:
        found = x509.load_pem_x509_certificates(pem)
    except ValueError:
        found = []
    if not found:
        raise VerificationError("The file of roots holds no certificate in PEM.")
    return found


def read(token: bytes, message: bytes) -> Token:
    """What a token over this message says. VerificationError if it is none, or of another message."""
    info = _response(token).tst_info
    if info.message_imprint.hash_algorithm != _SHA256 or info.message_imprint.message != sha256(message).digest():
        raise VerificationError("The token is of another text.")
    at = info.gen_time
    return Token(at if at.tzinfo is not None else at.replace(tzinfo=UTC), info.nonce)


def check(token: bytes, message: bytes, trusted: Sequence[x509.Certificate], nonce: int | None = None) -> Token:
    """What a token over this message says, once its signature leads to one of the trusted roots. VerificationError."""
    said = read(token, message)
    builder = rfc3161_client.VerifierBuilder(roots=list(trusted), nonce=nonce)
    try:
        builder.build().verify(_response(token), sha256(message).digest())
    except (rfc3161_client.VerificationError, ValueError, TypeError, AssertionError):
        raise VerificationError("The token's signature does not lead to a given root, or was made for another request.") from None
    return said


def _response(token: bytes) -> rfc3161_client.TimeStampResponse:
    if not 2 <= len(token) <= MAX_TOKEN_BYTES:
        raise VerificationError("The token is too long or too short to be one.")
    content = _GRANTED + token
    try:
        found = rfc3161_client.decode_timestamp_response(b"\x30" + _length(len(content)) + content)
        if found.time_stamp_token() != token:
            raise VerificationError("The token is not spelled as RFC 3161 demands (DER).")
        _ = found.tst_info.message_imprint.message, found.tst_info.gen_time
        signers = list(found.signed_data.signer_infos)
        # RFC 5652, 5.1 and 5.3: numbers that follow from the content, which no signature covers.
        if found.signed_data.version != 3 or [one.version for one in signers] != [1]:
            raise VerificationError("The token has another version or number of signers than RFC 3161 tokens have.")
    except (ValueError, TypeError, OverflowError):
        raise VerificationError("The token cannot be read.") from None
    return found


def _length(count: int) -> bytes:
    """A length in DER."""
    if count < 0x80:
        return bytes([count])
    octets = count.to_bytes(-(-count.bit_length() // 8), "big")
    return bytes([0x80 | len(octets)]) + octets
