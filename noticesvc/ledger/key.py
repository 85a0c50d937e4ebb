"""Ed25519 keys of signed notes: verifier keys, signer keys and their one-line spellings.

Called by note (which offers these names), `ledger keygen`, the configuration and the witness. C2SP signed-note: a key
is known by its name and its key id, SHA-256(name ‖ 0x0A ‖ type ‖ public key)[:4]. Type 0x01 signs note texts, type 0x04
signs timestamped cosignatures of checkpoints (C2SP tlog-cosignature). The private spelling is the one of Go's sumdb.
"""

from dataclasses import dataclass
from hashlib import sha256
from typing import Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from noticesvc.errors import NoteError
from noticesvc.ledger.text import from_base64, is_bytes, is_number, is_text, to_base64

ED25519 = 0x01
COSIGNATURE = 0x04
KEY_ID_BYTES = 4
KEY_BYTES = 32
SIGNATURE_BYTES = 64

_PRIVATE = "PRIVATE+KEY+"


def check_name(name: object) -> None:
    """Raises NoteError unless this can name a key: not empty, UTF-8, no space of any kind, no plus, no control."""
    if not isinstance(name, str) or not name:
        raise NoteError("A key has no name; use the ledger's origin, such as example.com/ledger.")
    if any(char.isspace() or char == "+" or char < " " or "\ud800" <= char <= "\udfff" for char in name):
        raise NoteError("A key's name holds a space, a plus or a character that is not allowed; choose another.")


def _check_type(key_type: object) -> None:
    if not is_number(key_type, ED25519, COSIGNATURE) or key_type not in {ED25519, COSIGNATURE}:
        raise NoteError("A key's type is not supported; only Ed25519 (1) and cosignature/v1 (4) are.")


@dataclass(frozen=True, slots=True)
class Verifier:
    """A public key with its name: what checks signatures. Raises NoteError if name, type or key cannot be."""

    name: str
    public_key: bytes
    key_type: int = ED25519

    def __post_init__(self) -> None:
        check_name(self.name)
        _check_type(self.key_type)
        if not is_bytes(self.public_key, KEY_BYTES):
            raise NoteError("A public key is not 32 bytes long; copy the whole verifier key.")

    @classmethod
    def parse(cls, vkey: str) -> Self:
        """Reads `name+hex+base64`. Raises NoteError if it is malformed or its key id does not belong to it."""
        name, key_id, key_type, key = _split(vkey, "verifier key")
        verifier = cls(name, key, key_type)
        if verifier.key_id != key_id:
            raise NoteError("A verifier key's id does not belong to its name and key; copy it again.")
        return verifier

    @property
    def key_id(self) -> bytes:
        """Four bytes that tell this key from others of its name."""
        material = self.name.encode() + b"\n" + bytes([self.key_type]) + self.public_key
        return sha256(material).digest()[:KEY_ID_BYTES]

    @property
    def vkey(self) -> str:
        """The one-line spelling `name+hex+base64` that is given to those who verify."""
        return f"{self.name}+{self.key_id.hex()}+{to_base64(bytes([self.key_type]) + self.public_key)}"

    def holds(self, message: bytes, signature: bytes) -> bool:
        """Whether this Ed25519 signature over exactly these bytes is this key's."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public_key).verify(signature, message)
        except (InvalidSignature, ValueError):
            return False
        return True


class Signer:
    """A private key with its name. Never shows its secret in `repr`; `private_text` is for the key file only."""

    __slots__ = ("_key", "_seed", "verifier")

    def __init__(self, name: str, seed: bytes, key_type: int = ED25519) -> None:
        if not is_bytes(seed, KEY_BYTES):
            raise NoteError("The seed of a signing key is not 32 bytes long; draw 32 fresh random bytes.")
        self._seed = seed
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.verifier = Verifier(name, self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw), key_type)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads `PRIVATE+KEY+name+hex+base64` (one line feed at the end is fine). Raises NoteError if malformed."""
        if not is_text(text) or not text.startswith(_PRIVATE):
            raise NoteError("A signing key does not begin with PRIVATE+KEY+; make one with noticesvc ledger keygen.")
        name, key_id, key_type, seed = _split(text.removeprefix(_PRIVATE).removesuffix("\n"), "signing key")
        signer = cls(name, seed, key_type)
        if signer.verifier.key_id != key_id:
            raise NoteError("A signing key's id does not belong to its name and key; restore it from its copy.")
        return signer

    @property
    def name(self) -> str:
        """The key's name."""
        return self.verifier.name

    @property
    def key_type(self) -> int:
        """0x01 for notes, 0x04 for cosignatures."""
        return self.verifier.key_type

    def named(self, name: str) -> Self:
        """The same secret under another name, which is another key to those who verify. Raises NoteError for a bad name."""
        return type(self)(name, self._seed, self.key_type)

    def private_text(self) -> str:
        """The secret spelling for a file with mode 0600, without line feed: `PRIVATE+KEY+name+hex+base64`."""
        return f"{_PRIVATE}{self.name}+{self.verifier.key_id.hex()}+{to_base64(bytes([self.key_type]) + self._seed)}"

    def raw_signature(self, message: bytes) -> bytes:
        """The 64 bytes of the Ed25519 signature (RFC 8032) over these bytes."""
        return self._key.sign(message)

    def __repr__(self) -> str:
        return f"Signer({self.verifier.vkey!r})"


def generate(name: str, seed: bytes, key_type: int = ED25519) -> Signer:
    """A signer of this name from 32 fresh random bytes, which the caller draws. Raises NoteError for a bad name."""
    return Signer(name, seed, key_type)


def _split(text: object, what: str) -> tuple[str, bytes, int, bytes]:
    """Name, key id, type and 32 bytes of key of `name+hex+base64`."""
    # A name holds no plus, base64 may: so at most two splits, from the left.
    parts = text.split("+", 2) if isinstance(text, str) else []
    if len(parts) != 3:
        raise NoteError(f"A {what} is not of the form name+hex+base64; copy the whole line.")
    name, hexadecimal, encoded = parts
    if len(hexadecimal) != 2 * KEY_ID_BYTES or not set(hexadecimal) <= set("0123456789abcdef"):
        raise NoteError(f"The key id of a {what} is not eight lower-case hexadecimal digits; copy the whole line.")
    data = from_base64(encoded, NoteError, f"a {what}")
    if len(data) != 1 + KEY_BYTES:
        raise NoteError(f"A {what} does not hold a type and a key of 32 bytes; copy the whole line.")
    return name, bytes.fromhex(hexadecimal), data[0], data[1:]
