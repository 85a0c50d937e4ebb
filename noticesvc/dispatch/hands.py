"""What a worker has in hand: claims that wait for a slot, a rate or a breaker, and which more it should claim.

Each channel has a share in hand for bulk and one for single notices, so that whatever waits leaves room for the others:
a worker whose hands are full of bulk still claims single notices, and they go before what waits here.
"""

import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence

from noticesvc.dispatch.pacing import FULL_S, Chosen, Pacing, limited
from noticesvc.dispatch.rates import Rates
from noticesvc.domain import notice
from noticesvc.operations.claim import CALLED, Claim

Start = tuple[Claim, str | None]  # with the provider; null where there is none at all


class Hands:
    """The claims of one worker that nobody called yet; `share`: how many of a channel and kind, before no more are claimed."""

    def __init__(self, pacing: Pacing, rates: Rates, share: int) -> None:
        self._pacing, self._rates, self._share = pacing, rates, share
        self._claims: list[Claim] = []
        self._count: Counter[tuple[str, bool]] = Counter()  # of them by channel, and whether bulk
        self._rested: dict[str, float] = {}  # rates of broadcasts that are used up, and until when
        self._dry: dict[tuple[str, bool], float] = {}  # where nothing was due, and until when nobody asks again without a sign

    def __iter__(self) -> Iterator[Claim]:
        """Those in hand."""
        return iter(tuple(self._claims))

    def stir(self) -> None:
        """Something may have become due anywhere."""
        self._dry.clear()

    def dry(self, channels: Collection[str], *, single: bool, until: float) -> None:
        """Nothing more is due on these channels, for now."""
        self._dry.update(dict.fromkeys([(channel, single) for channel in channels], until))

    def wanted(self, now: float) -> list[tuple[tuple[str, ...], bool]]:
        """Channels to claim from, and whether single notices only, because there is bulk enough in hand."""
        count = self._count
        open_ = [c for c in CALLED if count[c, False] < self._share]
        kinds = {single: tuple(c for c in open_ if (count[c, True] >= self._share) is single and self._dry.get((c, single), 0.0) <= now)
                 for single in (True, False)}
        return [(channels, single) for single, channels in kinds.items() if channels]

    def add(self, claims: Iterable[Claim]) -> None:
        """Take claims in hand: an urgent one overtakes what waits here."""
        self._keep([*self._claims, *claims])

    def worth_sealing(self) -> bool:
        """Whether enough may start now: a transaction for one or two intents of bulk costs as much as one for many."""
        return any(self._pacing.worth(channel, waiting, bulk=bulk) for (channel, bulk), waiting in self._count.items())

    async def choose(self, most: int) -> tuple[list[Start], dict[tuple[str, str], Chosen], float]:
        """Claims that may start now, with their providers, and how long until another may; the others stay in hand, in their order."""
        picked, waiting, chosen, soonest = self._pick(most)
        kept = list(waiting)
        try:
            # Those of broadcasts first: what a provider's rate gives is then taken only by who may go.
            starts = await self._within(picked, kept, chosen)
            wanted = limited(chosen.values())
            granted = {name: list(found) for name, found in (await self._rates.reserve(wanted)).items()} if wanted else {}
        except BaseException:
            for choice in chosen.values():
                choice.withdraw()
            self._keep([one for one, _ in picked] + waiting + self._claims)
            raise
        soonest = min([soonest, *(until - time.monotonic() for until in self._rested.values())])
        allowed: list[Start] = []
        for one, name in starts:
            if name in granted:
                granted[name][0] -= 1
                if granted[name][0] < 0:
                    choice = chosen.pop((one.notice_id, one.channel))
                    choice.withdraw()
                    choice.pace.rested_at = time.monotonic() + granted[name][1] / 1e6
                    soonest = min(soonest, granted[name][1] / 1e6)
                    kept.append(one)
                    continue
            allowed.append((one, name))
        self._keep(kept + self._claims)
        return allowed, chosen, soonest

    async def _within(self, picked: Sequence[Start], kept: list[Claim], chosen: dict[tuple[str, str], Chosen]) -> list[Start]:
        """Those that the rates of their broadcasts let through; the others are kept, and nobody asks again before the time is up."""
        now = time.monotonic()
        self._rested = {name: until for name, until in self._rested.items() if until > now}
        numbers = Counter(one.limit for one, _ in picked if one.limit is not None and (one.notice_id, one.channel) in chosen)
        if not numbers:
            return list(picked)
        granted = await self._rates.reserve({limit[0]: (limit[1], number) for limit, number in numbers.items()})
        room, through = {name: number for name, (number, _) in granted.items()}, list[Start]()
        for one, name in picked:
            key = (one.notice_id, one.channel)
            if one.limit is not None and key in chosen:
                if room[one.limit[0]] <= 0:
                    self._rested[one.limit[0]] = time.monotonic() + granted[one.limit[0]][1] / 1e6
                    chosen.pop(key).withdraw()
                    kept.append(one)
                    continue
                room[one.limit[0]] -= 1
            through.append((one, name))
        return through

    def _keep(self, claims: list[Claim]) -> None:
        """These are in hand, the urgent ones first, else in their order."""
        self._claims = sorted(claims, key=lambda one: one.priority)
        self._count = Counter([(one.channel, one.priority >= notice.BULK) for one in claims])

    def _pick(self, most: int) -> tuple[list[Start], list[Claim], dict[tuple[str, str], Chosen], float]:
        starts: list[Start] = []
        chosen: dict[tuple[str, str], Chosen] = {}
        kept: list[Claim] = []
        now, soonest, at = time.monotonic(), FULL_S, 0
        while at < len(self._claims) and len(starts) < most:
            one = self._claims[at]
            at += 1
            if one.limit is not None and self._rested.get(one.limit[0], 0.0) > now:
                kept.append(one)
                continue
            choice, wait = self._pacing.choose(one.channel, now, one.avoid, bulk=one.bulk)
            if choice is None and wait > 0:
                kept.append(one)
                soonest = min(soonest, wait)
                continue
            if choice is not None:
                chosen[one.notice_id, one.channel] = choice
            starts.append((one, choice.pace.name if choice is not None else None))
        self._claims = self._claims[at:]
        return starts, kept, chosen, soonest
