"""The id under which a mail server knows a message, from its reply to the final dot, where that is recognisable.

Called by the providers that send mail. There is no rule for it; these are the forms of common servers, and guessing at others is
not worth it: the whole reply is kept anyway.
"""

import re

_FORMS = tuple(re.compile(pattern) for pattern in (
    rb"\bqueued as ([0-9A-Za-z-]{5,64})\b",                   # Postfix
    rb"\bid=([0-9A-Za-z-]{5,64})\b",                          # Exim
    rb"^250 2\.0\.0 ([0-9A-Za-z]{10,32}) Message accepted",   # sendmail
    rb"^250 2\.0\.0 OK +\d+ ([0-9a-z.-]{8,80}) - gsmtp",      # Google
    rb"\bInternalId=(\d{5,30})\b",                            # Exchange
    rb"^250 ok (\d+ qp \d+)\r?$",                             # qmail
))


def queue_id(reply: bytes) -> str | None:
    """Return the queue id in a reply; null if there is none that we know."""
    for form in _FORMS:
        found = form.search(reply)
        if found is not None:
            return found.group(1).decode("ascii")
    return None
