"""Rotation of the ledger's signing key in its file: the new secret first, the verifier keys that it replaces behind it.

Called by `noticesvc ledger rotate`. Checkpoints that older keys signed keep verifying; the database learns the new key when a
worker starts with it.
"""

import os

from noticesvc import vault
from noticesvc.bootstrap import key_sources, secret_files
from noticesvc.config import Settings
from noticesvc.ledger import key


def rotate(settings: Settings) -> str:
    """Put a fresh signing key in the place of the current one, whose secret is gone then; the new verifier key.

    ConfigurationError if the key is not in a file, or the file cannot be used.
    """
    key_sources.require_file(settings, "ledger")
    path = settings.path(settings.ledger.key_file)
    with secret_files.alone(path):
        vault.read_secret_file(path, "ledger key")
        old, retired = key_sources.log_keys(settings)
        new = key.generate(settings.ledger.origin, os.urandom(key.KEY_BYTES))
        lines = [new.private_text(), old.verifier.vkey, *(one.vkey for one in retired)]
        secret_files.replace(path, "".join(f"{line}\n" for line in lines))
    return new.verifier.vkey
