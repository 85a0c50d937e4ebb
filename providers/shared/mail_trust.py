"""Who wrote a mail that came back, as far as that can be proved (docs/legal-model.md).

Called by the providers that take in mail. Whether what is proved here is enough for the attempt that the mail speaks of is
decided where its recipient is known (noticesvc.domain.mail_trust). Three proofs, the first that holds:

1. `dsn-own-relay`: our own relay wrote the report. Its topmost trace line (Received), below as many as our own systems
   add behind it (`relay_hops`), was written by a mail system for a mail of its own making, and there is no further one.
   Whatever comes in from outside has a line `from` whoever brought it on top of all lines that it brought with it.
2. `dkim`: a DKIM signature (RFC 6376) that covers the whole body verifies, and its domain is aligned with the one author's.
3. `spf` or `dkim` in an Authentication-Results line (RFC 8601) of a system that we were told to trust (`authserv_ids`).

For a report the author must be a mail system (MAILER-DAEMON, postmaster): a person with a mailbox at the domain has its
signature too. A report `relayed` to a host that is an MX of the recipient's domain is `arrived`: its 250 was that MX's.
"""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from email import message_from_bytes
from email.message import Message

import dkim

from noticesvc.provider import Receipt, TemporaryFailure
from providers.shared.dns_lookup import Lookup, Unanswered
from providers.shared.dsn import read_report
from providers.shared.mail_fields import MAX_BYTES, field, mailbox
from providers.shared.mail_reading import is_daemon

_MOST_SIGNATURES = 4
_LARGEST_SIGNED = 8 << 20
# Postfix: `by relay (Postfix) id …`; sendmail: `from localhost (localhost) by relay (8.…) id …`, without `with`; Exim: `from its
# own account by relay with local (Exim …)`. Postfix's pickup says `(Postfix, from userid …)`: that is a user, not the system.
_OF_ITS_OWN_MAKING = tuple(re.compile(pattern) for pattern in (
    r"by (?P<by>\S+) \([A-Za-z0-9 .+-]+\)\s+id \S+",
    r"from localhost \(localhost\) by (?P<by>\S+) \(8\.[0-9./A-Za-z-]+\) id \S+",
    r"from (?:Debian-exim|exim|mailnull) by (?P<by>\S+) with local \(Exim [0-9._-]+\)",
))
_RESULT = re.compile(r"(?P<method>dkim|spf)\s*=\s*pass\b(?P<rest>[^;]*)", re.IGNORECASE)
_PROVED = {
    "dkim": re.compile(r"header\.d\s*=\s*([A-Za-z0-9.-]+)"),
    "spf": re.compile(r"smtp\.(?:helo|mailfrom)\s*=\s*(?:[^\s@;]*@)?([A-Za-z0-9.-]+)"),
}


@dataclass(frozen=True, slots=True)
class Trust:
    """Whom to believe: the names that our relays write into Received (empty: any), and whose Authentication-Results."""

    relay_names: tuple[str, ...] = ()
    relay_hops: int = 0
    authserv_ids: tuple[str, ...] = ()


async def vouched(raw: bytes, receipts: Sequence[Receipt], trust: Trust, lookup: Lookup) -> Sequence[Receipt]:
    """Return the receipts with `authenticated_by` and `aligned_domain` where it is proved who wrote the mail.

    Raises TemporaryFailure when a signature's key cannot be asked for now.
    """
    message = message_from_bytes(raw[:MAX_BYTES])
    report = all(receipt.source == "dsn" for receipt in receipts)
    if report and by_own_relay(message, trust):
        arrived = await _taken_by_an_mx(raw, lookup)
        return [replace(one, authenticated_by="dsn-own-relay", kind="arrived" if one.kind == "relayed" and (
            one.final_recipient or "").lower() in arrived else one.kind) for one in receipts]
    authors = message.get_all("From") or []
    author = mailbox(message, "From")
    if len(authors) != 1 or not author or (report and not is_daemon(author)):
        return receipts
    domain = author.rpartition("@")[2]
    proved = _told(message, trust, domain) or await _signed(raw, domain, lookup)
    if proved is None:
        return receipts
    return [replace(one, authenticated_by=proved[0], aligned_domain=proved[1]) for one in receipts]


def by_own_relay(message: Message, trust: Trust) -> bool:
    """Whether our own relay made this mail itself; see the first proof in this module's head."""
    lines = [" ".join(str(value).split()) for key, value in message.raw_items() if key.lower() == "received"]
    if len(lines) != trust.relay_hops + 1 or field(message, "Return-Path") not in {"", "<>"}:
        return False
    found = next((match for pattern in _OF_ITS_OWN_MAKING if (match := pattern.match(lines[-1]))), None)
    return found is not None and (not trust.relay_names or found["by"].lower() in {name.lower() for name in trust.relay_names})


def _told(message: Message, trust: Trust, domain: str) -> tuple[str, str] | None:
    """Return method and domain from the Authentication-Results of a system that we trust."""
    ours = {name.lower() for name in trust.authserv_ids}
    for key, value in message.raw_items():
        name, _, results = " ".join(str(value).split()).partition(";")
        if key.lower() != "authentication-results" or not ours or name.split(" ")[0].lower() not in ours:
            continue
        for result in _RESULT.finditer(results):
            method = result["method"].lower()
            found = _PROVED[method].search(result["rest"])
            if found and _below(found[1].lower(), domain):
                return method, found[1].lower()
    return None


async def _signed(raw: bytes, domain: str, lookup: Lookup) -> tuple[str, str] | None:
    """Return `dkim` and the domain of the first signature that holds and is aligned with the author's."""
    if len(raw) > _LARGEST_SIGNED or b"dkim-signature" not in raw[:MAX_BYTES].lower():
        return None
    verifier = dkim.DKIM(raw)
    for index in range(_MOST_SIGNATURES):
        try:
            prepared = verifier.verify_headerprep(index)
            if not prepared:
                return None
            fields, include, headers = prepared
            signed = fields[b"d"].decode("ascii").lower()
            if b"l" in fields or not _below(signed, domain):  # `l=` leaves the end of the body to anybody
                continue
            texts = await lookup.texts(f"{fields[b's'].decode('ascii')}._domainkey.{signed}")
            holds = bool(texts) and await asyncio.to_thread(verifier.verify_sig, fields, include, headers[index], _Answer(texts[0]))
        except Unanswered:
            raise TemporaryFailure("The DNS does not answer; the mail is looked at again.") from None
        except Exception:  # dkimpy has no closed set of errors for hostile headers and keys
            holds = False
        if holds:
            return "dkim", signed
    return None


class _Answer:
    """The answer that dkimpy asks for, which was asked for beforehand."""

    def __init__(self, text: bytes) -> None:
        self._text = text

    def __call__(self, name: bytes, timeout: float = 0) -> bytes:
        return self._text


async def _taken_by_an_mx(raw: bytes, lookup: Lookup) -> set[str]:
    """Return the recipients (lower case) of a report's `relayed` whose remote system is an MX of their domain."""
    report = read_report(raw)
    found = set()
    for one in () if report is None else report.recipients:
        domain = one.final_recipient.rpartition("@")[2]
        if one.action == "relayed" and one.remote_mta and domain:
            try:
                hosts = {host.lower() for _, host in await lookup.mx(domain)}
            except Unanswered:
                continue
            if one.remote_mta.rstrip(".").lower() in hosts:
                found.add(one.final_recipient.lower())
    return found


def _below(one: str, other: str) -> bool:
    """Relaxed alignment (RFC 7489, 3.1) of two ASCII domains; a top level domain stands above nobody."""
    one, other = one.rstrip("."), other.rstrip(".")
    return one == other or any("." in upper and lower.endswith("." + upper) for lower, upper in ((one, other), (other, one)))
