"""Where the ledger's and the vault's keys come from: the environment, an outside command, or a file of mode 0600.

Called by everything that opens an installation. A command (for a KMS or HSM) prints what the file would hold; it is run without
a shell, and neither its output nor its errors are ever repeated.
"""

import os
import subprocess
from collections.abc import Callable

from noticesvc import vault as vaults
from noticesvc.config import KeySource, Settings
from noticesvc.errors import ConfigurationError, NoteError
from noticesvc.ledger.key import Signer, Verifier
from noticesvc.vault import Vault

_PATIENCE_S = 30


def text(settings: Settings, section: str) -> str:
    """The text of a key: `section` is `ledger` or `vault`. ConfigurationError names the setting that cannot be used."""
    source: KeySource = getattr(settings, section)
    if source.key.get_secret_value():
        return source.key.get_secret_value()
    if source.key_command:
        return _printed(source.key_command, section)
    return vaults.read_secret_file(settings.path(source.key_file), f"{section} key")


def in_file(settings: Settings, section: str) -> bool:
    """Whether the key is kept in the installation's own file, where it can be made and rotated."""
    source: KeySource = getattr(settings, section)
    return not source.key.get_secret_value() and not source.key_command


def require_file(settings: Settings, section: str) -> None:
    """ConfigurationError unless the key is kept in the installation's own file."""
    if not in_file(settings, section):
        raise ConfigurationError(f"The {section} key does not come from a file of this installation; rotate it where it is kept.")


def vault(settings: Settings, random: Callable[[int], bytes] = os.urandom) -> Vault:
    """The vault of an installation."""
    def read() -> tuple[dict[int, bytes], bytes]:
        return vaults.parse(text(settings, "vault"))
    masters, index = read()
    return Vault(masters, index, random, read)


def log_keys(settings: Settings) -> tuple[Signer, tuple[Verifier, ...]]:
    """The ledger's signing key under the name of the configured origin, and the verifier keys of those that it replaced.

    The first line is the secret key, each further line the verifier key of a retired one, so that nobody who can write to the
    database alone can make a key of his own count. C2SP tlog-checkpoint: the name of a log's key is its origin. The name in the
    file is of no weight until the first checkpoint is signed. ConfigurationError says what is wrong.
    """
    lines = text(settings, "ledger").splitlines()
    try:
        signer = Signer.parse(lines[0] if lines else "").named(settings.ledger.origin)
        return signer, tuple(Verifier.parse(line) for line in lines[1:] if line.strip())
    except NoteError as error:
        raise ConfigurationError(f"ledger.key_file: {error}") from None


def _printed(command: list[str], section: str) -> str:
    name = f"{section}.key_command"
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_PATIENCE_S, check=False)  # noqa: S603 (the operator's own)
    except subprocess.TimeoutExpired:
        raise ConfigurationError(f"{name} did not end within {_PATIENCE_S} s; see why its key service does not answer.") from None
    except OSError as error:
        raise ConfigurationError(f"{name} cannot be run ({type(error).__name__}); write the program's whole path.") from None
    if done.returncode != 0:
        raise ConfigurationError(f"{name} ended with status {done.returncode}; run it by hand to see why.")
    try:
        return done.stdout.decode()
    except UnicodeDecodeError:
        raise ConfigurationError(f"{name} printed no text; it must print what the key file would hold.") from None
