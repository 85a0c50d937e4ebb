"""Compares what two sides say as sets, in constant memory: each side adds keyed hashes of what it says, in any order.

Called by the audit for rows and entries. Equal sums of 64-bit hashes under a random key that nobody else knows mean equal
multisets, but for a chance of one in 2^64 that whoever changed a row could not aim at. Only unequal sums are looked into.
"""

import os
from collections import defaultdict

_BITS = (1 << 64) - 1


class Sums:
    """One sum for each subject of comparison; `add` is called for both sides, with another name each."""

    def __init__(self) -> None:
        self._salt = os.urandom(16).hex()  # beside Python's own random key for hashes of strings
        self._sums: dict[str, int] = defaultdict(int)
        self._counts: dict[str, int] = defaultdict(int)

    def add(self, what: str, said: str) -> None:
        """Add to the sum `what` all that is said, joined by commas. An empty text says nothing."""
        if said:
            salted = (self._salt + said.replace(",", "," + self._salt)).split(",")
            self._sums[what] += sum(map(hash, salted))
            self._counts[what] += len(salted)

    def equal(self, one: str, other: str) -> bool:
        """Whether both sums were given the same, each as often."""
        return self._counts[one] == self._counts[other] and (self._sums[one] - self._sums[other]) & _BITS == 0
