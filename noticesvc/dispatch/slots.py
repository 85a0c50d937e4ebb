"""How a worker shares its calls at one time (`concurrency`) out: room is kept for single notices, and for every provider.

Bulk (notices of one request among many) never holds the last quarter of the calls, so that a single notice finds a free one.
And each provider is sure of half an even share, which no other can hold; what is left is shared by whoever comes first. So
a provider that is slow or hangs holds, of C calls and P providers, at most C - (P-1)*sure(C, P), and its bulk less.
"""

from collections import Counter
from collections.abc import Collection


def sure(calls: int, providers: int) -> int:
    """How many of so many calls each of the providers is sure of: half an even share, at least one where there is one for each."""
    return max(calls // (2 * providers), 1) if calls >= providers > 1 else 0


def for_bulk(calls: int) -> int:
    """How many of so many calls bulk may hold: three quarters; where there is but one, that one."""
    return calls - max(1, calls // 4) if calls > 1 else calls


class Slots:
    """The calls of one worker by provider. Every `take` has its `give`."""

    def __init__(self, concurrency: int, providers: Collection[str]) -> None:
        self._calls: Counter[str] = Counter()
        self._bulk: Counter[str] = Counter()
        self._names = tuple(providers)
        self._of_all, self._of_bulk = concurrency, for_bulk(concurrency)

    def room(self, provider: str, *, bulk: bool) -> int:
        """How many more calls of this kind the provider may have now."""
        room = self._left(self._calls, self._of_all, provider)
        return min(room, self._left(self._bulk, self._of_bulk, provider)) if bulk else room

    def held(self, provider: str) -> int:
        """How many calls the provider has now."""
        return self._calls[provider]

    def take(self, provider: str, *, bulk: bool) -> None:
        """A call of this kind begins."""
        self._calls[provider] += 1
        self._bulk[provider] += bulk

    def give(self, provider: str, *, bulk: bool) -> None:
        """It ended."""
        self._calls[provider] -= 1
        self._bulk[provider] -= bulk

    def _left(self, calls: Counter[str], most: int, provider: str) -> int:
        """What remains for a provider of `most` calls, when all others are left what they are sure of."""
        mine = sure(most, len(self._names))
        left = most - calls[provider]
        for name in self._names:
            if name != provider:
                held = calls[name]
                left -= held if held > mine else mine  # noqa: FURB136 (asked for every mail; max() costs thrice as much)
        return left if left > 0 else 0  # noqa: FURB136
