"""Whether a mail that came back may be believed of an attempt (docs/legal-model.md). Pure.

Called when receipts are recorded. A provider says how a mail vouches for itself; only here is it known whom the attempt
wrote to, and a proof of origin counts for that recipient alone:

| vouched for by   | what it says                                    | believed when                                                |
|------------------|-------------------------------------------------|--------------------------------------------------------------|
| `dsn-own-relay`  | our own relay wrote the report                  | it names the queue id of our hand-over, or as its recipient  |
|                  |                                                 | the attempt's address: others can make our relay report, too |
| `dkim`, `spf`    | it comes from a domain; a report from its mail  | report: the domain is aligned with that of the address.      |
|                  | system, a reply or read receipt from an author  | reply, read receipt: the author is the address itself        |
"""

import idna

MAIL_SOURCES = frozenset({"dsn", "mdn", "reply", "feedback"})
OWN_RELAY = "dsn-own-relay"
BY_DOMAIN = frozenset({"dkim", "spf"})
_REPORTS = "dsn"


def believed(
    *, source: str, vouched_by: str | None, address: str, final_recipient: str | None, sender: str | None, domain: str | None,
    same_queue: bool,
) -> str | None:
    """How the mail is authenticated for an attempt to `address`, null if it is not. See the table in this module's head.

    `same_queue`: it names the queue id that our relay gave this attempt.
    """
    if vouched_by is None or source not in MAIL_SOURCES:
        return vouched_by
    if vouched_by == OWN_RELAY:
        return vouched_by if same_queue or same_mailbox(final_recipient, address) else None
    if vouched_by not in BY_DOMAIN:
        return vouched_by
    if domain is None or not aligned(domain, domain_of(address)):
        return None
    return vouched_by if source == _REPORTS or same_mailbox(sender, address) else None


def aligned(one: str, other: str) -> bool:
    """Relaxed alignment (RFC 7489, 3.1): equal, or one below the other; a top level domain stands above nobody."""
    one, other = ascii_domain(one), ascii_domain(other)
    if not one or not other:
        return False
    return one == other or any("." in upper and lower.endswith("." + upper) for lower, upper in ((one, other), (other, one)))


def same_mailbox(one: str | None, other: str) -> bool:
    """Whether two spellings are one mailbox: domains compared as A-labels, local parts without case, as mail systems do."""
    if one is None or not _local(one):
        return False
    return _local(one) == _local(other) and bool(ascii_domain(domain_of(one))) and (
        ascii_domain(domain_of(one)) == ascii_domain(domain_of(other)))


def domain_of(address: str) -> str:
    """What stands behind the last @."""
    return address.rpartition("@")[2]


def ascii_domain(domain: str) -> str:
    """A domain in A-labels and lower case, without a final dot; empty for what is none."""
    domain = domain.rstrip(".").lower()
    if domain.isascii():
        return domain
    try:
        return idna.encode(domain, uts46=True).decode()
    except (idna.IDNAError, UnicodeError):
        return ""


def _local(address: str) -> str:
    return address.rpartition("@")[0].casefold()
