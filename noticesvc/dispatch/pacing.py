"""Which provider takes the next message of a channel: priority, rates and breakers. On the monotonic clock, given by the caller."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from noticesvc.config import ProviderSettings
from noticesvc.provider import Provider


@dataclass(slots=True)
class Pace:
    """One provider's allowance: a token bucket of one second, and a breaker after failures in a row."""

    name: str
    provider: Provider
    settings: ProviderSettings
    tokens: float = 0.0
    filled_at: float = 0.0
    failures: int = 0
    open_until: float = 0.0

    def wait_s(self, now: float) -> float:
        """Seconds until it may take one more message; 0: now."""
        if now < self.open_until:
            return self.open_until - now
        rate = self.settings.rate_per_s
        if rate <= 0:
            return 0.0
        burst = max(1.0, rate)
        self.tokens = burst if self.filled_at == 0.0 else min(burst, self.tokens + (now - self.filled_at) * rate)
        self.filled_at = now
        return 0.0 if self.tokens >= 1 else (1 - self.tokens) / rate

    def take(self) -> None:
        """Count one message."""
        if self.settings.rate_per_s > 0:
            self.tokens -= 1

    def answered(self, outcome: str, now: float) -> None:
        """Count failures in a row that speak of the provider itself; open the breaker after enough of them."""
        if outcome in ("failed_temporary", "unknown"):
            self.failures += 1
            if self.failures >= self.settings.breaker_after:
                self.open_until = now + self.settings.breaker_open_s
                self.failures = self.settings.breaker_after - 1  # half open: the next failure opens it again
        else:
            self.failures = 0


class Pacing:
    """All providers of a worker, by channel in order of priority."""

    def __init__(self, providers: Mapping[str, Provider], settings: Mapping[str, ProviderSettings]) -> None:
        self.paces = {name: Pace(name, provider, settings[name]) for name, provider in providers.items()}
        self._by_channel: dict[str, Sequence[Pace]] = {}
        for channel in {s.channel for s in settings.values()}:
            self._by_channel[channel] = sorted((p for p in self.paces.values() if p.settings.channel == channel),
                                               key=lambda p: (p.settings.priority, p.name))

    def choose(self, channel: str, now: float) -> tuple[Pace | None, float]:
        """The provider for the next message of a channel, or null and how long to wait; null and 0: there is none at all."""
        paces = self._by_channel.get(channel, ())
        waits = []
        for pace in paces:
            wait = pace.wait_s(now)
            if wait <= 0:
                return pace, 0.0
            waits.append(wait)
        return None, min(waits, default=0.0)
