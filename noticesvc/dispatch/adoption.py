"""Adopting the journals of dead workers: what they were answered is recorded, what they began is unknown, the rest was not sent.

Run at start and from time to time. A journal is deleted when everything it says is in the database.
"""

import os
from pathlib import Path

import structlog

from noticesvc.dispatch import journal
from noticesvc.operations import claim, contents, reconcile
from noticesvc.operations.record import Answer, Schedule, record
from noticesvc.operations.world import World
from noticesvc.storage.database import Database
from noticesvc.storage.transaction import Tx

log = structlog.get_logger()
_CHUNK = 200


async def adopt_all(database: Database, world: World, schedule: Schedule, folder: Path, own: Path | None) -> int:
    """Adopt every journal that no lock holds; answers how many."""
    held: list[int] = []
    adopted = 0
    try:
        for path, found in journal.adopt(folder, own, held.append):
            await _adopt(database, world, schedule, found)
            path.unlink(missing_ok=True)
            adopted += 1
    finally:
        for fd in held:
            os.close(fd)
    return adopted


async def _adopt(database: Database, world: World, schedule: Schedule, found: journal.Found) -> None:
    """1. Record the answers. 2. What was begun and not answered is unknown. 3. Intents that were not begun were not sent.
    4. The dead worker's other claims are free again.
    """
    keys = await database.read(contents.keys_of_notices, world, found.notice_ids)
    answers = {f"{a.notice_id}.{a.channel}.{a.number}": a for a in found.answered(keys)}
    ended = list(answers.values()) + [
        _unknown(reference, started) for reference, started in found.starts.items() if reference not in answers
    ]
    for i in range(0, len(ended), _CHUNK):
        part = ended[i : i + _CHUNK]
        await database.write(record, world, schedule, part, [0.0] * len(part))
    unsent = await database.read(_unanswered, found.worker)
    for i in range(0, len(unsent), _CHUNK):
        part = unsent[i : i + _CHUNK]
        await database.write(record, world, schedule, part, [0.0] * len(part))
    await database.write(_free, found.worker)
    log.info("journal adopted", worker=found.worker, answers=len(answers), unknown=len(ended) - len(answers), not_sent=len(unsent))


def _unknown(reference: str, started: int) -> Answer:
    notice_id, channel, number = reference.split(".")
    return Answer(notice_id, channel, int(number), "unknown", started, started)


def _unanswered(tx: Tx, worker: str) -> list[Answer]:
    """The attempts of a dead worker that nobody answered: sealed, but never begun, since their journal says nothing of them."""
    return reconcile.never_called(tx, claim.held_by(tx, worker))


def _free(tx: Tx, worker: str) -> None:
    claim.release(tx, worker, claim.held_by(tx, worker))
