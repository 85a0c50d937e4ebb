"""API keys: made, found by their secret, listed, revoked. Only a hash of the secret is stored; it is shown once."""

import base64
from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError

from noticesvc import vault
from noticesvc.domain.access import SCOPES, Access
from noticesvc.domain.notice import CATEGORIES
from noticesvc.errors import Fault, InputError
from noticesvc.storage import tables as t
from noticesvc.storage.transaction import Tx

PREFIX = "nsk_"


def create(tx: Tx, name: str, scopes: Sequence[str], categories: Sequence[str] = ()) -> str:
    """Make a key and return its secret, which nobody can see again. InputError names an unknown scope or a name in use."""
    unknown = [s for s in scopes if s not in SCOPES] + [c for c in categories if c not in CATEGORIES]
    if unknown or not scopes:
        msg = (
            f"Scopes are {', '.join(SCOPES)}; categories are {', '.join(CATEGORIES)}. Not among them: {', '.join(unknown) or 'none given'}."
        )
        raise InputError(msg)
    if not 0 < len(name) <= 128 or not name.isprintable():
        raise InputError("The name of a key is 1 to 128 printable characters.", (Fault("/name", "cannot be used"),))
    secret = PREFIX + base64.urlsafe_b64encode(tx.sources.random(32)).rstrip(b"=").decode()
    row = {
        "id": tx.new_id(),
        "name": name,
        "secret_hash": vault.fingerprint(secret.encode()),
        "created_at": tx.now,
        "scopes": " ".join(sorted(set(scopes))),
        "categories": " ".join(sorted(set(categories))) or None,
    }
    try:
        with tx.conn.begin_nested():
            tx.insert(t.api_key, [row])
    except IntegrityError:
        raise InputError("A key of this name exists; revoked keys keep their name too. Choose another name.") from None
    return secret


def find_all(tx: Tx, secrets: Collection[str]) -> dict[str, Access]:
    """The keys of these secrets, without those that are not known or revoked."""
    hashes = {vault.fingerprint(secret.encode()): secret for secret in secrets}
    rows = [row for row in tx.rows(t.api_key, "secret_hash", list(hashes)) if row.revoked_at is None]
    return {hashes[row.secret_hash]: _access(row) for row in rows}


def named(tx: Tx, name: str) -> Access:
    """What the key of this name may do, for whoever works on the installation itself. InputError if there is none in force."""
    row = tx.execute(select(t.api_key).where(t.api_key.c.name == name, t.api_key.c.revoked_at.is_(None))).one_or_none()
    if row is None:
        raise InputError("There is no such key, or it was revoked; `noticesvc keys list` shows them.")
    return _access(row)


def _access(row: Any) -> Access:
    return Access(row.id, frozenset(row.scopes.split()), frozenset(row.categories.split()) if row.categories else None)


def listed(tx: Tx) -> list[dict[str, Any]]:
    """All keys without their secrets, in order of making."""
    return [
        {
            "name": r.name,
            "scopes": r.scopes.split(),
            "categories": r.categories.split() if r.categories else None,
            "created_at": r.created_at,
            "revoked_at": r.revoked_at,
        }
        for r in tx.execute(select(t.api_key).order_by(t.api_key.c.id))
    ]


def revoke(tx: Tx, name: str) -> bool:
    """Revoke a key from now on; false if no key has this name. Revoking twice keeps the first time."""
    found = tx.execute(select(t.api_key.c.id).where(t.api_key.c.name == name)).one_or_none()
    if found is None:
        return False
    tx.execute(update(t.api_key).where(t.api_key.c.id == found.id, t.api_key.c.revoked_at.is_(None)).values(revoked_at=tx.now))
    return True
