"""Return tokens: the word by which mail that comes back finds the attempt or delivery that it speaks of.

One stands in the envelope sender of each attempt where the return path asks for it (VERP), one in the Message-ID of each
delivery. It is the notice's id, the attempt's number (0: the whole delivery) and ten bytes of HMAC, in base32 without
distinction of case, since relays change the case of local parts. It is no secret: the recipient sees it. So it says which
attempt a mail means, never that the mail is true; but nobody can make one for a notice that was not sent to them.
"""

import base64
import binascii
import hmac
import uuid
from collections.abc import Iterable

from noticesvc.domain.identity import is_id
from noticesvc.operations.world import World

LETTERS = 45
_HMAC = 10
# Base32 (RFC 4648) without padding, two letters at a time: the standard library's is a loop in Python over each five bytes.
_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"
_PAIRS = tuple(one + other for one in _ALPHABET for other in _ALPHABET)
_SPARE = 6  # bits that fill 28 bytes up to 23 pairs of letters, of which the last is cut to one
_PLACES = tuple(range(220, -1, -10))


def make(world: World, notice_id: str, number: int) -> str:
    """The token of one attempt of a notice's mail, or of its delivery (number 0)."""
    named = bytes.fromhex(notice_id.replace("-", "")) + number.to_bytes(2, "big")
    bits = int.from_bytes(named + _sign(world, named), "big") << _SPARE
    return "".join([_PAIRS[bits >> at & 1023] for at in _PLACES])[:LETTERS]


def message_id(world: World, notice_id: str) -> str:
    """The Message-ID of a notice's mail, without angle brackets: the same over all its attempts."""
    return f"{make(world, notice_id, 0)}@{world.origin.split('/')[0]}"


def read(world: World, tokens: Iterable[str]) -> list[tuple[str, int]]:
    """The (notice id, attempt number) of each word that is a token of ours, those of single attempts first."""
    found = [one for one in (_read(world, token) for token in tokens) if one is not None]
    return sorted(dict.fromkeys(found), key=lambda one: one[1] == 0)


def _read(world: World, token: str) -> tuple[str, int] | None:
    try:
        data = base64.b32decode(token.upper() + "===") if len(token) == LETTERS else b""
    except (binascii.Error, ValueError):
        return None
    named, signature = data[:18], data[18:]
    if len(data) != 18 + _HMAC or not hmac.compare_digest(signature, _sign(world, named)):
        return None
    notice_id = str(uuid.UUID(bytes=named[:16]))
    return (notice_id, int.from_bytes(named[16:], "big")) if is_id(notice_id) else None


def _sign(world: World, named: bytes) -> bytes:
    return world.vault.digest("mail", named.hex())[:_HMAC]
