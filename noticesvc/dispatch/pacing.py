"""Which provider takes the next message of a channel: priority, breakers, rates, slots. On the monotonic clock, given by the caller.

A rate, or a want of slots, makes messages wait; a breaker, or a provider that this delivery is to avoid, lets the next provider
take them. A breaker belongs to one worker: it opens after failures in a row, and when its rest is over exactly one message probes.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from noticesvc.config import ProviderSettings
from noticesvc.dispatch.slots import Slots
from noticesvc.domain.delivery import PassedOver
from noticesvc.provider import Provider

log = structlog.get_logger()
PROBED_S = 0.5  # how soon to look again while a probe is out; its answer wakes the worker earlier
AT_ONCE = 256  # messages sealed together at most
FULL_S = 0.5  # the same while all slots are taken


@dataclass(slots=True)
class Breaker:
    """Closed; open until a time; then half open, with at most one probe out."""

    after: int
    open_s: float
    failures: int = 0
    open_until: float | None = None  # null: closed
    probing: bool = False

    def wait_s(self, now: float) -> float:
        """Seconds until it lets a message through; 0: now."""
        if self.open_until is None:
            return 0.0
        return PROBED_S if self.probing else max(0.0, self.open_until - now)

    def admit(self) -> bool:
        """Let one message through; whether it is the probe."""
        self.probing = self.open_until is not None
        return self.probing

    def withdrawn(self, *, probe: bool) -> None:
        """A message that was let through was not called after all."""
        if probe:
            self.probing = False

    def answered(self, now: float, *, failed: bool, probe: bool) -> bool:
        """Count an answer; whether that opened or closed it. While it is open only the probe's answer says anything new."""
        if probe:
            self.probing, self.failures = False, 0
            self.open_until = now + self.open_s if failed else None
            return True
        if self.open_until is not None:
            return False
        self.failures = self.failures + 1 if failed else 0
        if self.failures >= self.after:
            self.open_until = now + self.open_s
        return self.open_until is not None


@dataclass(slots=True)
class Pace:
    """One provider, its breaker, and until when its rate is used up."""

    name: str
    provider: Provider
    settings: ProviderSettings
    breaker: Breaker
    rested_at: float = 0.0

    @property
    def rate(self) -> float:
        """Messages a second; 0: no limit."""
        return self.settings.rate_per_s


@dataclass(slots=True)
class Chosen:
    """A provider for one message, with a slot for its call; `probe` if it is the one that tries an open breaker.

    `passed_over` are the providers that go before it by priority and were not to have this message, and why. It ends with
    `withdraw` or `answered`, once.
    """

    pace: Pace
    probe: bool
    slots: Slots
    bulk: bool
    passed_over: PassedOver = ()

    def withdraw(self) -> None:
        """It is not called after all."""
        self.slots.give(self.pace.name, bulk=self.bulk)
        self.pace.breaker.withdrawn(probe=self.probe)

    def answered(self, now: float, *, failed: bool) -> None:
        """It was called, and failed in a way that speaks of the provider, or not."""
        self.slots.give(self.pace.name, bulk=self.bulk)
        breaker = self.pace.breaker
        if breaker.answered(now, failed=failed, probe=self.probe):
            state = "closed" if breaker.open_until is None else "open"
            log.warning("breaker", provider=self.pace.name, state=state, probe=self.probe)


@dataclass(slots=True)
class Pacing:
    """All providers of a worker, by channel in order of priority."""

    paces: dict[str, Pace]
    slots: Slots
    _by_channel: dict[str, Sequence[Pace]] = field(default_factory=dict)

    @classmethod
    def of(cls, providers: Mapping[str, Provider], settings: Mapping[str, ProviderSettings], concurrency: int) -> "Pacing":
        """From the configuration."""
        paces = {name: Pace(name, provider, settings[name], Breaker(settings[name].breaker_after, settings[name].breaker_open_s))
                 for name, provider in providers.items()}
        made = cls(paces, Slots(concurrency, paces))
        for channel in {s.channel for s in settings.values()}:
            made._by_channel[channel] = sorted((p for p in paces.values() if p.settings.channel == channel),
                                               key=lambda p: (p.settings.priority, p.name))
        return made

    def alternatives(self) -> dict[str, frozenset[str]]:
        """The names of the providers of each channel."""
        return {channel: frozenset(p.name for p in paces) for channel, paces in self._by_channel.items()}

    def choose(self, channel: str, now: float, avoid: Collection[str] = (), *, bulk: bool = False) -> tuple[Chosen | None, float]:
        """The provider for the next message of a channel, or null and how long to wait; null and 0: there is none at all.

        The first by priority that is not to be avoided and whose breaker lets one through; it may have to wait for its rate or a slot.
        """
        paces = self._by_channel.get(channel, ())
        avoided = avoid if any(p.name not in avoid for p in paces) else ()
        waits: list[float] = []
        passed: list[tuple[str, str]] = []
        for pace in paces:
            wait = pace.breaker.wait_s(now)
            if pace.name in avoided:
                passed.append((pace.name, "refused"))
            elif wait > 0:
                waits.append(wait)
                passed.append((pace.name, "breaker_open"))
            elif pace.rested_at > now:
                return None, pace.rested_at - now
            elif self.slots.room(pace.name, bulk=bulk) == 0:
                return None, FULL_S
            else:
                self.slots.take(pace.name, bulk=bulk)
                return Chosen(pace, pace.breaker.admit(), self.slots, bulk, tuple(passed)), 0.0
        return None, min(waits, default=0.0)

    def worth(self, channel: str, waiting: int, *, bulk: bool) -> bool:
        """Whether so many may start now that a seal of their own pays: any single one, of bulk half of what could be under way."""
        for pace in self._by_channel.get(channel, ()):
            room = self.slots.room(pace.name, bulk=bulk)
            if room and (not bulk or room >= min(waiting, AT_ONCE, (room + self.slots.held(pace.name)) // 2)):
                return True
        return channel not in self._by_channel

    def resting(self, now: float) -> dict[str, float]:
        """Providers whose breaker is open, and for how many seconds yet."""
        return {p.name: wait for p in self.paces.values() if (wait := p.breaker.wait_s(now)) > 0}


def limited(chosen: Collection[Chosen]) -> dict[str, tuple[float, int]]:
    """Rate and number of messages by provider, of those that have a rate."""
    counts = Counter(one.pace.name for one in chosen if one.pace.rate > 0)
    return {one.pace.name: (one.pace.rate, counts[one.pace.name]) for one in chosen if one.pace.rate > 0}
