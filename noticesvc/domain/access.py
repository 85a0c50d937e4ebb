"""What an API key may do: the closed list of scopes, and keys limited to categories."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from noticesvc.errors import Forbidden

SCOPES: Final = ("notices:write", "notices:read", "contacts:write", "contacts:read", "broadcasts:write",
                 "broadcasts:approve", "proofs:read", "inbox", "evidence:write", "ops")


SYSTEM_ID: Final = "00000000-0000-7000-8000-000000000000"
"""In place of a key's id: the service itself."""


@dataclass(frozen=True, slots=True)
class Access:
    """Whoever calls: a key of ours, or the bearer of an inbox token for one recipient."""

    key_id: str
    scopes: frozenset[str]
    categories: frozenset[str] | None = None
    inbox_of: str | None = None  # subject id: an inbox token, good for that recipient's inbox alone

    def require(self, scopes: Sequence[str]) -> None:
        """Raise Forbidden, naming the scope, unless the key has one of these."""
        if scopes and not self.scopes.intersection(scopes):
            raise Forbidden(f"This key lacks the scope {' or '.join(scopes)}.")

    def allows_category(self, category: str) -> bool:
        """Whether a notice of this category may be sent, read or cancelled with the key."""
        return self.categories is None or category in self.categories

    def require_category(self, category: str) -> None:
        """Raise Forbidden, naming the category, unless the key may use it."""
        if not self.allows_category(category):
            raise Forbidden(f"This key may not be used for notices of the category {category}.")


SYSTEM: Final = Access(SYSTEM_ID, frozenset())
"""Whoever acts when the service does something by itself, such as a cure notice."""
