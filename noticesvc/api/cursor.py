"""Opaque cursors over our own ids: base64url of the sixteen bytes, in the one canonical spelling. Called by routes that list."""

import base64
import binascii
import uuid

from noticesvc.errors import Fault, InputError


def encode_id(last: str | None) -> str | None:
    """The cursor behind an id; null for none."""
    return None if last is None else base64.urlsafe_b64encode(uuid.UUID(last).bytes).rstrip(b"=").decode()


def decode_id(text: str | None) -> str | None:
    """The id again. InputError at `/cursor` for anything that `encode_id` does not write."""
    if text is None:
        return None
    try:
        found = str(uuid.UUID(bytes=base64.b64decode(text + "==", altchars=b"-_", validate=True)))
    except (ValueError, binascii.Error):
        found = None
    if found is None or encode_id(found) != text:
        raise InputError("A query parameter cannot be used.", (Fault("/cursor", "is no cursor that a list has given"),))
    return found
