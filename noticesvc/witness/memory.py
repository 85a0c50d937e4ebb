"""What a witness remembers of each log: the largest checkpoint that it cosigned, in a file of its own.

Called by witness.witness. A file is replaced whole and flushed before anybody is answered, so that after a crash the witness never
knows less than it has signed; a lock on the folder keeps a second witness out.
"""

import fcntl
import os
from hashlib import sha256
from pathlib import Path

from noticesvc.errors import ConfigurationError, LedgerError
from noticesvc.ledger import checkpoint as checkpoints
from noticesvc.ledger.checkpoint import Checkpoint


class Memory:
    """The folder of one witness. Keep it: whoever forgets can be made to sign two histories."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = (folder / "lock").open("ab")
        except OSError as error:
            raise ConfigurationError(f"The witness's folder cannot be used ({type(error).__name__}); choose another.") from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.close()
            raise ConfigurationError("Another witness is running on this folder; stop it or choose another.") from None

    def last(self, origin: str) -> Checkpoint | None:
        """The largest checkpoint of a log that was cosigned; null if none was. Raises ConfigurationError if the file is damaged."""
        try:
            text = self._path(origin).read_bytes().decode()
            found = checkpoints.parse(text)
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError, LedgerError):
            found = None
        if found is None or found.origin != origin:
            raise ConfigurationError("What the witness remembers of a log cannot be read; restore the file from its copy.")
        return found

    def remember(self, checkpoint: Checkpoint) -> None:
        """Replace what is remembered of its log; when this returns, it survives a power cut. Raises OSError."""
        path = self._path(checkpoint.origin)
        draft = path.with_suffix(".new")
        with draft.open("wb") as file:
            file.write(checkpoints.format(checkpoint).encode())
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def close(self) -> None:
        """Let another witness have the folder."""
        self._lock.close()

    def _path(self, origin: str) -> Path:
        return self._folder / f"{sha256(origin.encode()).hexdigest()}.checkpoint"
