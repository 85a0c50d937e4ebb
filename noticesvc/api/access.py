"""Who calls: `Authorization: Bearer <key>`, or an inbox token where an endpoint takes one.

Every call looks the key up, so that a revoked key is refused at once by every process.
"""

from starlette.requests import Request

from noticesvc.api.context import House
from noticesvc.domain.access import Access
from noticesvc.errors import Unauthenticated
from noticesvc.operations import inbox_token as tokens

LONGEST = 512


async def authenticate(request: Request, house: House, *, inbox_token: bool = False) -> Access:
    """The caller's key. Raises Unauthenticated for none, a malformed one, or one that is not known or revoked."""
    headers = request.headers.getlist("authorization")
    if len(headers) != 1:
        raise Unauthenticated("Give one key: Authorization: Bearer <key>.")
    scheme, _, secret = headers[0].partition(" ")
    if scheme.lower() != "bearer" or not secret or len(secret) > LONGEST or not secret.isascii() or " " in secret:
        raise Unauthenticated("Give the key as: Authorization: Bearer <key>.")
    if inbox_token and secret.startswith(tokens.PREFIX):
        return tokens.verify(house.world.vault, secret, house.database.sources.clock())
    return await house.key_lookup.find(secret)
