"""The import of many recipients: its rate, the memory of the process that imports, and what a kill -9 in the middle leaves.

usage: python -m bench.imports [COUNT] [--sqlite]. A recipient has a mailbox. The list is streamed, made while it is sent.
In the middle the service is killed; it is started again, and the whole list is sent again: every recipient must be there once, with the
contacts of the list, in one version each. Then the list a third time: nothing may change; and a list of as many others, all of them
new. `ledger audit` must hold.
"""

import argparse
import contextlib
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx

from bench import meters
from bench.service import POSTGRESQL, Service, kill
from tests.support import postgres

_LINES = 500  # in a piece of the stream


def lines(count: int, sent: Callable[[int], None] = lambda _: None, begins: str = "r") -> Iterator[bytes]:
    """The list, a piece at a time; `sent` is told how many went before each. `begins`: how their ids begin."""
    for start in range(0, count, _LINES):
        sent(start)
        yield "".join(json.dumps({"recipient_id": f"{begins}{i}", "source": "bench", "contacts": [
            {"channel": "email", "address": f"user{i}@example.org", "confirmation": "confirmed"}]}) + "\n"
            for i in range(start, min(count, start + _LINES))).encode()


def measure(database: str | None, count: int, folder: Path) -> None:
    """Import, kill, import again, and again; print what was seen. SystemExit where something is wrong."""
    with contextlib.closing(Service(folder / "s", database)) as service:
        role = "api" if database else None
        first = service.start(role)

        def at_half(sent: int) -> None:
            if sent >= count // 2:
                _until(lambda: _there(service, count // 4))
                kill(first)
        with contextlib.suppress(httpx.HTTPError):
            _sent(service, lines(count, at_half))
            raise SystemExit("the import was answered although the service was killed")
        print(f"killed when about {count // 2:,} recipients were sent", flush=True)
        with service.run(role) as process:
            for turn, begins in (("after the kill", "r"), ("once more", "r"), ("others", "s")):
                memory: list[float] = []

                def look(sent: int, memory: list[float] = memory) -> None:
                    if sent * 10 // count > len(memory) - 1:
                        memory.append(meters.rss_mib(process.pid))
                began, spent = time.monotonic(), meters.cpu_s(process.pid)
                answer = _sent(service, lines(count, look, begins))
                took, spent = time.monotonic() - began, meters.cpu_s(process.pid) - spent
                print(f"{turn}: {count / took:,.0f}/s, {spent / count * 1e3:.3f} ms of CPU each, {answer['accepted']:,} new, "
                      f"{answer['unchanged']:,} unchanged; MiB at each tenth: {' '.join(f'{one:.0f}' for one in memory)}", flush=True)
                wrong = {"once more": "accepted", "others": "unchanged"}.get(turn, "rejected_total")
                if answer["accepted"] + answer["unchanged"] != count or answer[wrong]:
                    raise SystemExit(f"not every line was taken once: {answer}")
            for i in range(0, count, max(1, count // 50)):
                _checked(service, i)
        with service.run(None if database is None else "worker"):
            _until(lambda: not json.loads(_cli(service, "status", "--json"))["ledger"]["count"])
        _cli(service, "ledger", "audit")
        print(f"all {count:,} are there once, and the others; the audit holds")


def _cli(service: Service, *words: str) -> str:
    return service.cli(*words, "--config", str(service.folder / "config.toml")).stdout


def _there(service: Service, number: int) -> bool:
    return service.client.get(f"/v1/recipients/r{number}").status_code == 200


def _until(holds: Callable[[], bool], limit_s: float = 600.0) -> None:
    ends = time.monotonic() + limit_s
    while not holds():
        if time.monotonic() > ends:
            raise SystemExit("what was waited for did not come")
        time.sleep(0.2)


def _sent(service: Service, content: Iterator[bytes]) -> dict[str, int]:
    answer = service.client.post("/v1/recipients/import", content=content, headers={"Content-Type": "application/x-ndjson"}, timeout=None)
    if answer.status_code != 200 or answer.json()["rejected"]:
        raise SystemExit(f"the import failed: {answer.status_code} {answer.text[:500]}")
    found: dict[str, int] = answer.json()
    return found


def _checked(service: Service, number: int) -> None:
    """One contact, in one version."""
    answer = service.client.get(f"/v1/recipients/r{number}/contacts/history").json()
    if [one["address"] for one in answer["items"]] != [f"user{number}@example.org"]:
        raise SystemExit(f"r{number} has other contacts: {answer}")


def main() -> int:
    """Measure on the database that was asked for."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("count", type=int, nargs="?", default=1_000_000)
    options.add_argument("--sqlite", action="store_true")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if chosen.sqlite:
            measure(None, chosen.count, Path(folder))
        else:
            with postgres.running(durable=True, settings=POSTGRESQL) as server:
                measure(server.new_database(), chosen.count, Path(folder))
    return 0


if __name__ == "__main__":
    sys.exit(main())
