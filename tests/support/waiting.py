"""Waiting for what another process brings about: as long as a loaded machine may need, and not a moment longer than it takes.

Called by every test whose subject works on after it answered: the sequencer, a worker, a process that starts or ends.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")
PATIENCE_S = 90.0  # a third of what pytest allows a test; a quiet machine needs a hundredth
_POLL_S = 0.05


async def until(look: Callable[[], Awaitable[T]], holds: Callable[[T], bool], within_s: float = PATIENCE_S) -> T:
    """What is seen once something holds of it; fails with what was seen last."""
    end = time.monotonic() + within_s
    while not holds(found := await look()):
        assert time.monotonic() < end, found
        await asyncio.sleep(_POLL_S)
    return found


def seen(look: Callable[[], T], holds: Callable[[T], bool], within_s: float = PATIENCE_S) -> T:
    """The same where there is no event loop."""
    end = time.monotonic() + within_s
    while not holds(found := look()):
        assert time.monotonic() < end, found
        time.sleep(_POLL_S)
    return found
