"""The copy of the last checkpoint outside the database, by which a restored backup is noticed.

Called by dispatch.sequencer. Written whole or not at all: a new file, flushed to disk, takes the old one's name.
"""

import os
from pathlib import Path

from noticesvc.errors import LedgerMismatch
from noticesvc.ledger.note import MAX_NOTE_BYTES


def read(path: Path) -> str | None:
    """The copy, null if there is none yet. Raises LedgerMismatch if it is there and cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(MAX_NOTE_BYTES + 1).decode()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        name = type(error).__name__
        raise LedgerMismatch(f"The outside copy of the checkpoint cannot be read ({name}); restore the file or its mode.") from None


def put_aside(path: Path, size: int) -> Path:
    """Rename the copy, so that it is kept but counts no more; its new path. Raises OSError."""
    aside = path.with_name(f"{path.name}.lost-{size}")
    path.replace(aside)
    return aside


def write(path: Path, note: str) -> None:
    """Replace the copy; when this returns, it survives a power cut. Raises OSError."""
    if path.exists() and path.read_bytes() == note.encode():
        return
    fresh = path.with_name(f".{path.name}.new")
    with fresh.open("wb") as file:
        file.write(note.encode())
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
