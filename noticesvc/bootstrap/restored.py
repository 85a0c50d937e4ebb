"""A database that is older than the outside copy of its checkpoint: noticed at start, and gone on with only when told to.

Called by `serving`, which then runs read-only, and by `noticesvc ledger recover`.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path

from noticesvc.bootstrap.installation import Installation
from noticesvc.dispatch import outside_copy
from noticesvc.errors import LedgerBehind, LedgerMismatch
from noticesvc.operations import recovering, sequence


async def hold_if_behind(installation: Installation) -> str | None:
    """Hold all writing if a backup was restored; why, or null. Other mismatches are for the sequencer to refuse."""
    copy_file = installation.settings.path(installation.settings.ledger.checkpoint_copy)
    try:
        copy = await asyncio.to_thread(outside_copy.read, copy_file)
        await installation.database.read(sequence.check, installation.signer, copy, installation.retired)
    except LedgerBehind as error:
        installation.database.hold(str(error))
        return str(error)
    except LedgerMismatch:
        return None
    return None


async def recover(installation: Installation, agreed: Callable[[recovering.Loss], bool]) -> Path | None:
    """Record the loss as an entry and put the copy aside, if that is agreed to; where the copy lies then.

    Raises Conflict if nothing is missing. Interrupted in between, it can be done again.
    """
    copy_file = installation.settings.path(installation.settings.ledger.checkpoint_copy)
    copy = await asyncio.to_thread(outside_copy.read, copy_file)
    lost = await installation.database.read(recovering.loss, installation.signer, installation.retired, copy)
    if not agreed(lost):
        return None
    await installation.database.write(recovering.record, lost)
    return await asyncio.to_thread(outside_copy.put_aside, copy_file, lost.lost_size)
