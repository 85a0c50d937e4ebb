"""A Maildir as a way in: each mail is claimed by rename, and deleted only once its bytes are committed.

Called by `mail_intake`. Claimed mails stand in the folder `noticesvc-claimed` beside `new`, so that of several processes only
one has a mail in hand; what a process that died had claimed goes back to `new` after a minute. Taking in a mail twice is
harmless: its second copy is a duplicate.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

POLL_S = 0.5
_LAPSED_S = 60.0
_AT_ONCE = 50
_LARGEST = 32 << 20
CLAIMED = "noticesvc-claimed"


class Maildir:
    """One Maildir. `take_in` makes bytes durable; what it raises leaves the mail where it was."""

    def __init__(self, folder: str, take_in: Callable[[bytes], Awaitable[None]]) -> None:
        self._new, self._claimed = Path(folder) / "new", Path(folder) / CLAIMED
        self._take_in = take_in
        self._in_hand: set[str] = set()

    async def run(self) -> None:
        """Take in what comes, until cancelled. Raises OSError when the folder cannot be used."""
        while True:
            if not await self.once():
                await asyncio.sleep(POLL_S)

    async def once(self) -> bool:
        """Take in what is there now; whether there was anything."""
        names = await asyncio.to_thread(self._claim)
        self._in_hand.update(names)
        try:
            done = await asyncio.gather(*(self._one(name) for name in names), return_exceptions=True)
        finally:
            self._in_hand.difference_update(names)
        failed = next((one for one in done if isinstance(one, BaseException)), None)
        if failed is not None:
            raise failed
        return bool(names)

    async def _one(self, name: str) -> None:
        try:
            raw = await asyncio.to_thread(self._read, name)
            await self._take_in(raw)
        except BaseException:
            (self._claimed / name).rename(self._new / name)
            raise
        await asyncio.to_thread((self._claimed / name).unlink)

    def _read(self, name: str) -> bytes:
        with (self._claimed / name).open("rb") as file:
            return file.read(_LARGEST)

    def _claim(self) -> list[str]:
        """Claim some mails: of two processes that try, rename lets one succeed."""
        if not self._new.is_dir():  # made by the mail system with the first mail
            return []
        self._claimed.mkdir(mode=0o700, exist_ok=True)
        self._give_back()
        claimed = []
        for path in sorted(self._new.iterdir()):
            if path.name.startswith(".") or not path.is_file():
                continue
            try:
                path.rename(self._claimed / path.name)
            except FileNotFoundError:
                continue  # somebody else was first
            claimed.append(path.name)
            if len(claimed) == _AT_ONCE:
                break
        return claimed

    def _give_back(self) -> None:
        """Return to `new` what somebody claimed long ago and never finished; the time of a rename is the file's ctime."""
        for path in self._claimed.iterdir():
            try:
                if path.name not in self._in_hand and time.time() - path.stat().st_ctime > _LAPSED_S:
                    path.rename(self._new / path.name)
            except FileNotFoundError:
                continue
