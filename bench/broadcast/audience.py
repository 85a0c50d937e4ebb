"""Recipients of a run, by number: what the import is given and what is uploaded, made line by line so that size costs no memory."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from bench.broadcast.house import House

PORTION = 50_000  # recipients of one import
_LINES = 2_000  # of one chunk that is sent


def recipient_id(number: int) -> str:
    """The caller's id."""
    return f"r{number}"


def with_mailbox(number: int) -> list[dict[str, str]]:
    """The contacts of somebody with a mailbox."""
    return [{"channel": "email", "address": f"user{number}.ok@example.org", "confirmation": "confirmed"}]


def chunks(lines: Iterable[str]) -> Iterator[bytes]:
    """Lines, some thousand at a time."""
    held: list[str] = []
    for line in lines:
        held.append(line)
        if len(held) == _LINES:
            yield "".join(held).encode()
            held.clear()
    yield "".join(held).encode()


def import_line(number: int, contacts: list[dict[str, str]]) -> str:
    """One line of the import."""
    return json.dumps({"recipient_id": recipient_id(number), "source": "registration", "contacts": contacts}) + "\n"


def imported(house: House, numbers: range, contacts: Any = with_mailbox) -> None:
    """Record them by the public import; again: nothing changes."""
    for start in range(numbers.start, numbers.stop, PORTION):
        some = range(start, min(numbers.stop, start + PORTION))
        answer = house.service.client.post("/v1/recipients/import", headers={"Content-Type": "application/x-ndjson"}, timeout=None,
                                           content=chunks(import_line(number, contacts(number)) for number in some))
        if answer.status_code != 200 or answer.json()["rejected"]:
            raise SystemExit(f"the import was answered with {answer.status_code}: {answer.text[:500]}")


def csv(numbers: Iterable[int]) -> Iterator[bytes]:
    """The upload of these recipients."""
    yield b"recipient_id\n"
    yield from chunks(f"{recipient_id(number)}\n" for number in numbers)
