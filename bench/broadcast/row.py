"""The broadcast's row of `make bench`: expansion and memory, at a tenth of the size and at the whole, nothing killed."""

import tempfile
from pathlib import Path

from bench.broadcast.audience import imported
from bench.broadcast.exactly_once import Figures, quiet
from bench.broadcast.house import opened

ROLES = ("api", "worker")


def expansion(database: str, other: str, count: int) -> Figures:
    """Recipients a second from approval to the last notice made, memory of the worker, and urgent notices beside it."""
    found: Figures = {}
    for url, numbers in ((database, range(max(1, count // 10))), (other, range(count))):
        with tempfile.TemporaryDirectory() as folder, opened(Path(folder) / "s", url, ROLES) as house:
            imported(house, numbers)
            figures, wrong = quiet(house, numbers, urgent=True)
        if wrong:
            raise SystemExit(f"a broadcast went wrong: {wrong}")
        found["small_mib"] = found.get("small_mib", figures["worker_mib"])
    return found | {"rate": figures["expansion"], "whole": figures["whole"], "rss_mib": figures["worker_mib"],
                    "p99": figures.get("urgent_p99", 0.0)}
