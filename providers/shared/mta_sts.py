"""MTA-STS (RFC 8461): which mail exchangers of a domain may be spoken to, and that only over trusted TLS.

Called by the `mx` provider. A policy is fetched over HTTPS from `mta-sts.<domain>` when the domain's TXT record names a new id, and
kept for its `max_age`; one that cannot be fetched leaves the kept one in force. Without a record or a policy nothing is required.
"""

import asyncio
import ssl
import time
from dataclasses import dataclass

import httpx

from providers.shared.dns_lookup import Lookup, Unanswered

_LARGEST = 64 * 1024
_FETCH_S = 5.0
_LONGEST_AGE_S = 31_557_600
_AGAIN_S = 300.0
_MOST_KEPT = 10_000


@dataclass(frozen=True, slots=True)
class Policy:
    """What a domain asks of those who send it mail; `mode` is enforce, testing or none."""

    mode: str
    hosts: tuple[str, ...]
    max_age_s: int

    def allows(self, host: str) -> bool:
        """Whether a host matches one of the patterns (RFC 8461 §4.1: `*.` stands for exactly one label)."""
        host = host.lower().rstrip(".")
        return any(host == pattern or (pattern.startswith("*.") and host.partition(".")[2] == pattern[2:]) for pattern in self.hosts)


@dataclass(slots=True)
class _Kept:
    id: str
    policy: Policy | None
    until: float  # when it lapses, or, without a policy, when fetching is tried again


def read_policy(text: str) -> Policy | None:
    """Read a policy file (RFC 8461 §3.2); null for what is none."""
    fields: dict[str, list[str]] = {}
    for line in text.splitlines():
        name, found, value = line.partition(":")
        if found:
            fields.setdefault(name.strip().lower(), []).append(value.strip())
    mode, age = fields.get("mode", [""])[0], fields.get("max_age", [""])[0]
    hosts = tuple(host.lower().rstrip(".") for host in fields.get("mx", []))
    if fields.get("version") != ["STSv1"] or mode not in {"enforce", "testing", "none"} or not (age.isascii() and age.isdigit()):
        return None
    if mode != "none" and not hosts:
        return None
    return Policy(mode, hosts, min(int(age[:12]), _LONGEST_AGE_S))


def policy_id(texts: list[bytes]) -> str | None:
    """Return the id in a domain's `_mta-sts` records; null unless exactly one is of this version (RFC 8461 §3.1)."""
    found = [text for text in (one.decode("ascii", "replace") for one in texts) if text.startswith("v=STSv1")]
    pairs = [pair.partition("=") for pair in found[0].split(";")] if len(found) == 1 else []
    ids = [value.strip() for name, _, value in pairs if name.strip() == "id"]
    return ids[0] if len(ids) == 1 and ids[0].isalnum() and len(ids[0]) <= 32 else None


class Policies:
    """The policies of domains, kept in this process. `port` and `ca_file` are for policy hosts of one's own."""

    def __init__(self, lookup: Lookup, *, port: int = 443, ca_file: str = "") -> None:
        self._lookup, self._port = lookup, port
        self._context = ssl.create_default_context(cafile=ca_file or None)
        self._kept: dict[str, _Kept] = {}

    async def of(self, domain: str) -> Policy | None:
        """Return the policy of a domain; null if it has none that can be had."""
        kept, now = self._kept.get(domain), time.monotonic()
        try:
            new = policy_id(await self._lookup.texts(f"_mta-sts.{domain}"))
        except Unanswered:
            new = None
        valid = kept is not None and kept.until > now
        if kept is not None and valid and new in {None, kept.id}:
            return kept.policy
        if new is None:
            return None
        fetched = await self._fetch(domain)
        if fetched is None and kept is not None and kept.policy is not None and valid:
            return kept.policy
        if len(self._kept) >= _MOST_KEPT:
            self._kept.pop(next(iter(self._kept)))
        self._kept[domain] = _Kept(new, fetched, now + (_AGAIN_S if fetched is None else fetched.max_age_s))
        return fetched

    async def _fetch(self, domain: str) -> Policy | None:
        """Fetch a policy; null whatever goes wrong. Redirects are not followed (RFC 8461 §3.3)."""
        host = f"mta-sts.{domain}"
        try:
            async with asyncio.timeout(_FETCH_S):
                addresses = await self._lookup.addresses(host)
                if not addresses:
                    return None
                address = f"[{addresses[0]}]" if ":" in addresses[0] else addresses[0]
                async with (
                    httpx.AsyncClient(verify=self._context, trust_env=False, follow_redirects=False) as client,
                    client.stream("GET", f"https://{address}:{self._port}/.well-known/mta-sts.txt", headers={"Host": host},
                                  extensions={"sni_hostname": host}) as answer,
                ):
                    if answer.status_code != httpx.codes.OK:
                        return None
                    body = b""
                    async for chunk in answer.aiter_bytes():
                        body += chunk
                        if len(body) > _LARGEST:
                            return None
        except (httpx.HTTPError, httpx.InvalidURL, OSError, Unanswered, ValueError, UnicodeError):
            return None
        return read_policy(body.decode("utf-8", "replace"))
