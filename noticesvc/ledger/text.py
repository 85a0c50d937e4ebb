"""What the ledger's texts share: canonical base64, decimals without leading zeros, and checks of what callers pass.

Called by the other files of this room. RFC 4648 section 4 leaves room for several spellings of the same bytes
(dropped padding, stray bits in the last character); only the one that encoding produces is taken, so that no byte of a
proof can change without notice.
"""

import re
from base64 import b64decode
from binascii import b2a_base64

from noticesvc.errors import LedgerError

MAX_NUMBER = 2**63 - 1

_DECIMAL = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)


def is_text(value: object) -> bool:
    """Whether this is a str that is not empty. Here and below annotations alone protect nobody from a caller's JSON."""
    return isinstance(value, str) and bool(value)


def is_bytes(value: object, length: int) -> bool:
    """Whether this is bytes of exactly this length."""
    return isinstance(value, bytes) and len(value) == length


def is_number(value: object, low: int, high: int) -> bool:
    """Whether this is an int, no bool, from `low` to `high`, both included."""
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def to_base64(data: bytes) -> str:
    """Standard base64 with padding."""
    return b2a_base64(data, newline=False).decode("ascii")


def from_base64(text: str, error: type[LedgerError], what: str) -> bytes:
    """The bytes of canonical standard base64; raises `error`, naming `what`, for any other spelling."""
    try:
        data = b64decode(text.encode("ascii"), validate=True)
    except ValueError:
        raise error(f"The base64 of {what} cannot be read.") from None
    if to_base64(data) != text:
        raise error(f"The base64 of {what} is not in its one canonical spelling.")
    return data


def from_decimal(text: str, error: type[LedgerError], what: str) -> int:
    """A number from 0 to 2^63-1 in ASCII digits without leading zeros; raises `error`, naming `what`, otherwise."""
    if not _DECIMAL.fullmatch(text) or int(text) > MAX_NUMBER:
        raise error(f"What stands for {what} is not a decimal without leading zeros from 0 to 2^63-1.")
    return int(text)
