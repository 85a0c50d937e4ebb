"""Encryption of personal data at rest: a key for each recipient, wrapped by the master key; and keyed blind indexes.

Destroying a recipient's wrapped key makes everything sealed under it unreadable. AES-256-GCM with a random 96-bit nonce;
every sealed value is bound to where it stands (`place`), so that ciphertexts cannot be swapped between rows. The master key
file holds one line a key, `<version> <base64>`, the current one last, and one line `index <base64>` for blind indexes, which
outlives rotations of the master key. Called by operations and dispatch; storage sees only ciphertext.
"""

import base64
import binascii
import hashlib
import hmac
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from noticesvc.errors import ConfigurationError, VaultError

KEY_BYTES = 32
NONCE_BYTES = 12
_WRAP = b"noticesvc/wrap/v1\0"


class DataKey(NamedTuple):
    """An unwrapped data key: seals and opens values of one recipient, or of the system."""

    aead: AESGCM
    random: Callable[[int], bytes]

    def __repr__(self) -> str:
        return "DataKey()"

    def seal(self, value: bytes, place: str, nonce: bytes = b"") -> bytes:
        """Encrypt a value for one place (`table.column:id`). Who seals very many gives a fresh random `nonce` for each."""
        nonce = nonce or self.random(NONCE_BYTES)
        return nonce + self.aead.encrypt(nonce, value, place.encode())

    def open(self, sealed: bytes, place: str) -> bytes:
        """Decrypt; VaultError if the key, the bytes or the place are not the ones it was sealed with."""
        try:
            return self.aead.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], place.encode())
        except (InvalidTag, ValueError):
            msg = "A sealed value cannot be opened: it was changed, moved, or sealed under another key. Run `noticesvc ledger audit`."
            raise VaultError(msg) from None


class Vault:
    """The master keys of an installation and what follows from them."""

    def __init__(self, masters: Mapping[int, bytes], index_key: bytes, random: Callable[[int], bytes],
                 reload: Callable[[], tuple[dict[int, bytes], bytes]] | None = None) -> None:
        self._reload = reload
        self._keys, self._masters = dict(masters), {version: AESGCM(key) for version, key in masters.items()}
        self._index_key, self._random = index_key, random
        self.current = max(masters)

    @property
    def masters(self) -> dict[int, bytes]:
        """The master keys by version, for a second process of ours: they go to it over a pipe, and nowhere else."""
        return self._keys

    def new_key(self, place: str) -> tuple[DataKey, bytes]:
        """A fresh data key and its wrapped form to store at `place`."""
        key = self._random(KEY_BYTES)
        return DataKey(AESGCM(key), self._random), self._wrap(key, place)

    def unwrap(self, wrapped: bytes, place: str) -> DataKey:
        """The data key again. VaultError if its master key is not here or the bytes were changed."""
        return DataKey(AESGCM(self._unwrap(wrapped, place)), self._random)

    def rewrap(self, wrapped: bytes, place: str) -> bytes | None:
        """Wrapped under the current master key; null if it already is (rotation)."""
        if wrapped[0] == self.current:
            return None
        return self._wrap(self._unwrap(wrapped, place), place)

    def index(self, kind: str, value: str) -> bytes:
        """A keyed blind index: finds equal values of a kind without revealing them (HMAC-SHA-256, 16 bytes)."""
        return hmac.digest(self._index_key, kind.encode() + b"\0" + value.encode("utf-8", "surrogatepass"), "sha256")[:16]

    def token(self, kind: str, value: str) -> str:
        """An unguessable URL-safe token bound to a value (130 bits and more); the same each time."""
        return base64.urlsafe_b64encode(self.digest(kind, value)[:18]).decode()

    def digest(self, kind: str, value: str) -> bytes:
        """The HMAC-SHA-256 that tokens are made of."""
        return hmac.digest(self._index_key, b"token\0" + kind.encode() + b"\0" + value.encode(), "sha256")

    def _wrap(self, key: bytes, place: str) -> bytes:
        nonce = self._random(NONCE_BYTES)
        return bytes([self.current]) + nonce + self._masters[self.current].encrypt(nonce, key, _WRAP + place.encode())

    def _unwrap(self, wrapped: bytes, place: str) -> bytes:
        try:
            master = self._masters[wrapped[0]]
        except (KeyError, IndexError, TypeError):
            master = self._fresh_master(wrapped)
        try:
            return master.decrypt(wrapped[1:1 + NONCE_BYTES], wrapped[1 + NONCE_BYTES:], _WRAP + place.encode())
        except InvalidTag:
            msg = "A wrapped key cannot be unwrapped: the vault key file belongs to another installation, or the row was changed."
            raise VaultError(msg) from None

    def _fresh_master(self, wrapped: bytes) -> AESGCM:
        """A master key that was not there when this process started: another one may have rotated it since. Then it is the current one."""
        if wrapped and self._reload is not None:
            masters, _ = self._reload()
            self._keys |= masters
            self._masters |= {version: AESGCM(key) for version, key in masters.items()}
            self.current = max(self._masters)
        if not wrapped or wrapped[0] not in self._masters:
            msg = "A key is wrapped under a master key that the vault key file does not hold; restore that line of the file."
            raise VaultError(msg)
        return self._masters[wrapped[0]]


def new_key_file(random: Callable[[int], bytes]) -> str:
    """The text of a fresh vault key file."""
    return f"index {_b64(random(KEY_BYTES))}\n1 {_b64(random(KEY_BYTES))}\n"


def rotated(text: str, random: Callable[[int], bytes]) -> str:
    """The key file with a further master key, from now on the current one."""
    masters, _ = parse(text)
    return text.rstrip("\n") + f"\n{max(masters) + 1} {_b64(random(KEY_BYTES))}\n"


def retired(text: str) -> str:
    """The key file with only the index key and the current master key."""
    masters, index = parse(text)
    return f"index {_b64(index)}\n{max(masters)} {_b64(masters[max(masters)])}\n"


def parse(text: str) -> tuple[dict[int, bytes], bytes]:
    """Master keys by version, and the index key. ConfigurationError says which line is wrong, never what it holds."""
    masters: dict[int, bytes] = {}
    index: bytes | None = None
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, _, rest = line.partition(" ")
        try:
            key = base64.b64decode(rest.strip(), validate=True)
        except binascii.Error:
            key = b""
        if len(key) != KEY_BYTES or not (name == "index" or (name.isascii() and name.isdigit() and 0 < int(name) < 256)):
            msg = f"Line {number} of the vault key file is not `<version> <base64 of 32 bytes>`; restore the file."
            raise ConfigurationError(msg)
        if name == "index":
            index = key
        else:
            masters[int(name)] = key
    if index is None or not masters:
        msg = "The vault key file lacks its index key or a master key; restore it from where keys are kept."
        raise ConfigurationError(msg)
    return masters, index


def read_secret_file(path: Path, what: str) -> str:
    """The text of a key file, refused unless only its owner can read it."""
    check_secret_file(path, f"The {what} file")
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        msg = f"The {what} file cannot be read ({type(error).__name__}); check the path in the configuration, or run `noticesvc init`."
        raise ConfigurationError(msg) from None


def check_secret_file(path: Path, what: str) -> None:
    """Raise ConfigurationError unless the file is there and only its owner can read it."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        msg = f"{what} cannot be read ({type(error).__name__}); check the path in the configuration, or run `noticesvc init`."
        raise ConfigurationError(msg) from None
    if stat.S_IMODE(mode) & 0o077:
        msg = f"{what} can be read by others than its owner; run `chmod 600` on it."
        raise ConfigurationError(msg)


def fingerprint(value: bytes) -> bytes:
    """SHA-256, for hashes of secrets that are themselves long and random (API keys, tokens)."""
    return hashlib.sha256(value).digest()


def _b64(value: bytes) -> str:
    return base64.b64encode(value).decode()
