"""Inbox tokens: a Bearer for one recipient's inbox alone, so that a web page can read 站内信 without a key of ours.

A token is its own record: subject, end, and an HMAC over both under the vault's index key; nothing is stored.
"""

import hmac
import re

from noticesvc.domain.access import Access
from noticesvc.errors import Unauthenticated
from noticesvc.vault import Vault

PREFIX = "nsi_"
LIFETIME_S = 3600
_FORM = re.compile(r"nsi_([0-9a-f-]{36})\.(\d{16})\.([A-Za-z0-9_-]{24})")


def issue(vault: Vault, subject_id: str, now: int) -> tuple[str, int]:
    """A token and when it ends (microseconds)."""
    ends = now + LIFETIME_S * 1_000_000
    return f"{PREFIX}{subject_id}.{ends:016d}.{vault.token('inbox', f'{subject_id}.{ends}')}", ends


def verify(vault: Vault, token: str, now: int) -> Access:
    """The access that a token gives. Unauthenticated if it is forged, malformed or over."""
    match = _FORM.fullmatch(token)
    if match is None or not hmac.compare_digest(vault.token("inbox", f"{match[1]}.{int(match[2])}"), match[3]):
        raise Unauthenticated("The inbox token is not one of ours.")
    if now >= int(match[2]):
        raise Unauthenticated("The inbox token has ended; ask for a new one.")
    return Access("", frozenset({"inbox"}), inbox_of=match[1])
