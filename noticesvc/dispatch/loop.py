"""One endless loop of a component: turn after turn, woken by a signal with a poll underneath, never ended by a failure."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from noticesvc.errors import UnavailableError

log = structlog.get_logger()


class Loop:
    """Runs `once` again and again. `once` answers whether there may be more to do at once."""

    def __init__(self, name: str, once: Callable[[], Awaitable[bool]], poll_s: float) -> None:
        self.name, self.woken = name, asyncio.Event()
        self._once, self._poll_s = once, poll_s
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin in the running event loop."""
        self._task = asyncio.create_task(self._run(), name=self.name)

    async def stop(self) -> None:
        """End between two turns, or in one that waits."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    @property
    def dead(self) -> bool:
        """Whether it has ended although nobody asked it to."""
        return self._task is not None and self._task.done()

    async def _run(self) -> None:
        pause = 0.1
        while True:
            try:
                self.woken.clear()
                more = await self._once()
                pause = 0.1
                if more:
                    continue
                async with asyncio.timeout(self._poll_s):
                    await self.woken.wait()
            except TimeoutError:
                continue
            except UnavailableError:
                await asyncio.sleep(pause)
                pause = min(pause * 2, 2.0)
            except Exception as error:
                log.error("turn failed", loop=self.name, error=type(error).__name__, exc_info=True)
                await asyncio.sleep(pause)
                pause = min(pause * 2, 5.0)


class Loops:
    """A component that is nothing but loops. `start` and `stop` belong to the event loop that runs them."""

    _loops: list[Loop]

    async def start(self) -> None:
        """Begin."""
        for loop in self._loops:
            loop.start()

    async def stop(self, grace_s: float) -> None:
        """End, each between two turns or in one that waits."""
        for loop in self._loops:
            await loop.stop()

    def faults(self) -> dict[str, str]:
        """Loops that ended although nobody asked them to."""
        return {loop.name: "This loop has ended; restart the process." for loop in self._loops if loop.dead}
