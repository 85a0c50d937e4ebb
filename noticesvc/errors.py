"""The exception tree. Imports nothing, so that every room may raise from it.

    NoticesvcError
    ├── ConfigurationError          the configuration cannot be used; names the setting and the remedy
    ├── InputError                  what a caller sent cannot be accepted (HTTP 422); holds `faults` with JSON pointers
    │   ├── MalformedInput          it could not even be read (HTTP 400)
    │   └── InputTooLarge           it is over a size limit (HTTP 413)
    ├── RefusedError                understood, but refused in this state; `slug` names why
    │   ├── NotFound                no such thing (HTTP 404)
    │   ├── Conflict                the present state forbids it (HTTP 409)
    │   └── Unprocessable           a rule of the contract forbids it (HTTP 422)
    ├── AccessError
    │   ├── Unauthenticated         no key, or none that is known (HTTP 401)
    │   └── Forbidden               the key lacks a scope or a category (HTTP 403)
    │       └── FourEyes            it takes a second key
    ├── UnavailableError            cannot be done now, can be repeated later (HTTP 503)
    │   └── DatabaseUnavailable     the database or its disk cannot be read or written
    │       ├── DatabaseLocked      another transaction keeps what this one needs, for longer than this one may wait
    │       └── Overtaken           another transaction was quicker; this one did nothing and may run again at once
    ├── LedgerError
    │   ├── ProofError              a Merkle proof is impossible or does not hold
    │   ├── NoteError               a signed note or key is malformed, unverified or forged
    │   ├── EntryError              an entry is not canonical, too long, or lacks what every entry has
    │   └── LedgerMismatch          the stored tree and its last signed checkpoint disagree
    │       └── LedgerBehind        the database is older than a checkpoint that was seen outside: a restored backup
    ├── VerificationError           a proof bundle does not hold; one sentence a failure
    ├── CertificateError            a certificate cannot be made as it must be, for instance for want of a glyph
    ├── VaultError                  sealed data cannot be opened (wrong key, changed bytes, destroyed key)
    └── ProviderError               raised by providers, see noticesvc.provider
        ├── TemporaryFailure
        ├── PermanentFailure
        ├── Rejected
        └── OutcomeUnknown

Every message says what happened and what to do, and never holds an address, content, key or rejected value.
"""

from dataclasses import dataclass
from typing import ClassVar


class NoticesvcError(Exception):
    """Anything this project raises on purpose."""


class ConfigurationError(NoticesvcError):
    """The configuration cannot be used; the message names the setting and what to do."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with an input: where (RFC 6901 pointer) and what, without the rejected value."""

    pointer: str
    detail: str


class InputError(NoticesvcError):
    """What a caller sent cannot be accepted; `faults` says where and why."""

    slug: ClassVar[str] = "invalid-input"

    def __init__(self, detail: str, faults: tuple[Fault, ...] = ()) -> None:
        super().__init__(detail)
        self.detail = detail
        self.faults = faults


class MalformedInput(InputError):
    """The input could not be read at all, for instance because it is no JSON."""

    slug = "malformed-json"


class InputTooLarge(InputError):
    """The input is longer than this route takes."""

    slug = "too-large"


class RefusedError(NoticesvcError):
    """Understood, but refused in the present state; `slug` names the reason for programs."""

    def __init__(self, slug: str, detail: str, faults: tuple[Fault, ...] = ()) -> None:
        super().__init__(detail)
        self.slug = slug
        self.detail = detail
        self.faults = faults


class NotFound(RefusedError):
    """No such thing; the same answer whether it never was or is not this key's to see."""

    def __init__(self, detail: str = "There is nothing under this address.") -> None:
        super().__init__("not-found", detail)


class Conflict(RefusedError):
    """The present state forbids it; repeating it unchanged will not help."""


class Unprocessable(RefusedError):
    """A rule of the contract forbids it, for instance an unknown recipient."""


class AccessError(NoticesvcError):
    """The caller may not do this."""


class Unauthenticated(AccessError):
    """No key was given, or none that is known and not revoked."""


class Forbidden(AccessError):
    """The key is known but lacks a scope or a category, which the message names."""

    slug: ClassVar[str] = "forbidden"


class FourEyes(Forbidden):
    """It takes another key than the one that has done the first half."""

    slug = "four-eyes"


class UnavailableError(NoticesvcError):
    """It cannot be done now but may be repeated; `retry_after_s` says when."""

    def __init__(self, detail: str, retry_after_s: int = 1) -> None:
        super().__init__(detail)
        self.detail = detail
        self.retry_after_s = retry_after_s


class DatabaseUnavailable(UnavailableError):
    """The database or the disk under it cannot be read or written at the moment."""


class DatabaseLocked(DatabaseUnavailable):
    """Another transaction keeps a lock that this one needs, for longer than this one may wait."""


class Overtaken(DatabaseUnavailable):
    """Another transaction was quicker, so that this one did nothing; whoever runs transactions runs it again from its start."""


class LedgerError(NoticesvcError):
    """Something about the tamper-evident ledger does not hold."""


class ProofError(LedgerError):
    """A Merkle proof cannot exist for these numbers, or does not hold."""


class NoteError(LedgerError):
    """A signed note, signature line or key is malformed, unverified or forged."""


class EntryError(LedgerError):
    """An entry cannot be written or read: not canonical JSON, too long, or lacking a common member."""


class LedgerMismatch(LedgerError):
    """The stored tree and the last signed checkpoint disagree: restored backup or tampering."""


class LedgerBehind(LedgerMismatch):
    """The database does not extend a checkpoint that was seen outside: a backup was restored. Says which entries are missing."""


class VerificationError(NoticesvcError):
    """A proof bundle does not hold; the message is one sentence saying which step failed and why."""


class CertificateError(NoticesvcError):
    """A certificate cannot be made: a character that no installed font has, or no certificate to sign with."""


class VaultError(NoticesvcError):
    """Sealed data cannot be opened: wrong master key, changed bytes or a destroyed key."""


class ProviderError(NoticesvcError):
    """A provider could not take a message; see noticesvc.provider for the kinds."""
