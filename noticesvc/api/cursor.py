"""Opaque cursors over our own ids: base64url of the sixteen bytes and a check of them, in the one canonical spelling.

Called by routes that list. The check is no secret: it tells a mangled cursor from one that a list has given.
"""

import base64
import binascii
import uuid

from noticesvc.errors import Fault, InputError

_CHECK_BYTES = 5  # with the id 21 bytes, so that no base64 character has bits to spare


def _checked(data: bytes) -> bytes:
    return data + binascii.crc32(data).to_bytes(_CHECK_BYTES)


def encode_id(last: str | None) -> str | None:
    """The cursor behind an id; null for none."""
    return None if last is None else base64.urlsafe_b64encode(_checked(uuid.UUID(last).bytes)).decode()


def decode_id(text: str | None) -> str | None:
    """The id again. InputError at `/cursor` for anything that `encode_id` does not write."""
    if text is None:
        return None
    try:
        data = base64.b64decode(text, altchars=b"-_", validate=True)[:-_CHECK_BYTES]
        found = str(uuid.UUID(bytes=data))
    except (ValueError, binascii.Error):
        found = None
    if found is None or encode_id(found) != text:
        raise InputError("A query parameter cannot be used.", (Fault("/cursor", "is no cursor that a list has given"),))
    return found
