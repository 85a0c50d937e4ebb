"""Looks at a broadcast all along, from a thread of its own: every answer's counts must add up, and none may go backwards.

What is found wrong is kept in `wrong`; when notices were made and finished, for rates, in `seen`.
"""

import contextlib
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import httpx

from bench.service import Service

STATES = ("queued", "in_progress", "served", "unserved", "cancelled", "expired")
DELIVERY_STATES = ("pending", "sent", "delivered", "failed", "undeliverable", "unknown", "cancelled", "expired")
_MOST_WRONG = 20


class Seen(NamedTuple):
    """One answer: when, on the monotonic clock; how many notices were made, and how many have ended."""

    at: float
    state: str
    total: int
    expanded: int
    ended: int


class Poll:
    """GET after GET until it is closed."""

    def __init__(self, service: Service, broadcast_id: str, total: int, every_s: float = 0.05) -> None:
        self.wrong: list[str] = []
        self.polls = self.refused = 0
        self.last: dict[str, Any] = {}
        self.seen: list[Seen] = []
        self._path, self._total, self._every_s = f"/v1/broadcasts/{broadcast_id}", total, every_s
        self._http = httpx.Client(base_url=service.client.base_url, headers=service.client.headers, timeout=30, trust_env=False)
        self._over, self._looked = threading.Event(), threading.Condition()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def progress(self) -> float:
        """From 0 to 1: half of it that the notices are made, half that they have ended."""
        if not self.seen:
            return 0.0
        return (self.seen[-1].expanded + self.seen[-1].ended) / (2 * self._total)

    @property
    def state(self) -> str:
        """The state that was answered last."""
        return self.seen[-1].state if self.seen else ""

    def _run(self) -> None:
        took = 0.0
        while not self._over.wait(max(self._every_s, 3 * took)):  # a busy service is not kept busy by us
            began = time.monotonic()
            with contextlib.suppress(httpx.TransportError):  # it is dead at the moment
                answer = self._http.get(self._path)
                if answer.status_code == 200:
                    self._judge(answer.json())
                else:
                    self.refused += 1
                    if answer.status_code != 503:
                        self._say(f"a poll was answered with {answer.status_code}")
            took = time.monotonic() - began
            with self._looked:
                self._looked.notify_all()

    def _judge(self, body: dict[str, Any]) -> None:
        counts, before = body["counts"], self.last.get("counts")
        self.polls += 1
        self.last = body
        six = sum(counts[name] for name in STATES)
        if counts["total"] != six:
            self._say(f"total {counts['total']} is not the sum of the six, {six}")
        if body["state"] != "draft" and counts["total"] != self._total:
            self._say(f"total {counts['total']} instead of {self._total}")
        if not 0 <= counts["expanded"] <= counts["total"] or min(counts[name] for name in STATES) < 0:
            self._say(f"impossible counts: {counts}")
        for channel, mine in counts["by_channel"].items():
            if mine["total"] != sum(mine[name] for name in DELIVERY_STATES) or mine["total"] != counts["total"]:
                self._say(f"{channel} does not add up: {mine}")
        if before is not None and counts["expanded"] < before["expanded"]:
            self._say(f"expanded went from {before['expanded']} to {counts['expanded']}")
        ended = counts["total"] - counts["queued"] - counts["in_progress"]
        self.seen.append(Seen(time.monotonic(), body["state"], counts["total"], counts["expanded"], ended))

    def _say(self, sentence: str) -> None:
        if len(self.wrong) < _MOST_WRONG:
            self.wrong.append(sentence)

    def until(self, progress: float, limit_s: float) -> None:
        """Wait until it has come so far or has ended."""
        self._wait(lambda: self.progress >= progress or self.state in ("completed", "cancelled"), limit_s)

    def until_ended(self, limit_s: float) -> None:
        """Wait until it is completed or cancelled."""
        self.until(2.0, limit_s)

    def until_expanded(self, limit_s: float) -> None:
        """Wait until all notices are made."""
        self._wait(lambda: bool(self.seen) and self.seen[-1].expanded == self._total, limit_s)

    def _wait(self, come: Callable[[], bool], limit_s: float) -> None:
        with self._looked:
            if not self._looked.wait_for(come, limit_s):
                raise SystemExit(f"the broadcast stands still: {self.last}")

    def expanded_at(self) -> float | None:
        """When all notices were first seen made, on the monotonic clock."""
        return next((one.at for one in self.seen if one.expanded == self._total), None)

    def close(self) -> None:
        """Look no more."""
        self._over.set()
        self._thread.join()
        self._http.close()
