"""Questions to the DNS, with the answers that mail needs: MX with their order, addresses, and texts (DKIM, MTA-STS).

Called by `mx` and `mail_trust`. dnspython does the work and keeps answers as long as their TTL allows; servers and port may be
given, for a resolver of one's own. "There is none" is an answer; everything else is `Unanswered`, which passes.
"""

import ipaddress
from collections.abc import Sequence

import dns.asyncresolver
import dns.exception
import dns.name
import dns.rdatatype
import dns.resolver
from dns.rdata import Rdata
from dns.rdtypes.ANY.MX import MX
from dns.rdtypes.ANY.TXT import TXT

_TIMEOUT_S = 5.0


class Unanswered(Exception):
    """The DNS does not answer now: no server, a time-out, SERVFAIL, or nonsense."""


class Lookup:
    """A resolver. `servers` are `address` or `address:port` (IPv6 in brackets); empty: the system's."""

    def __init__(self, servers: Sequence[str] = ()) -> None:
        self._resolver = dns.asyncresolver.Resolver(configure=not servers)
        if servers:
            pairs = [split_server(one) for one in servers]
            self._resolver.nameservers = [address for address, _ in pairs]
            self._resolver.nameserver_ports = dict(pairs)
        self._resolver.cache = dns.resolver.LRUCache(10_000)
        self._resolver.lifetime = _TIMEOUT_S

    async def mx(self, domain: str) -> list[tuple[int, str]]:
        """Return (preference, host) of a domain's MX records, hosts without the final dot ("" is a null MX); empty: there is none."""
        answer = await self._ask(domain, "MX")
        return [(one.preference, one.exchange.to_text(omit_final_dot=True).rstrip(".")) for one in answer if isinstance(one, MX)]

    async def addresses(self, host: str) -> list[str]:
        """Return the addresses of a host, IPv4 first; empty: there is none."""
        found = [one.to_text() for kind in ("A", "AAAA") for one in await self._ask(host, kind)]
        return list(dict.fromkeys(found))

    async def texts(self, name: str) -> list[bytes]:
        """Return the TXT records of a name, their strings joined; empty: there is none."""
        return [b"".join(one.strings) for one in await self._ask(name, "TXT") if isinstance(one, TXT)]

    async def _ask(self, name: str, kind: str) -> list[Rdata]:
        try:
            answer = await self._resolver.resolve(dns.name.from_text(name), kind, raise_on_no_answer=False)
        except (dns.resolver.NXDOMAIN, dns.name.EmptyLabel, dns.name.LabelTooLong, dns.name.NameTooLong):
            return []
        except (dns.exception.DNSException, OSError, ValueError, UnicodeError):
            raise Unanswered from None
        return [] if answer.rrset is None else [one for one in answer.rrset if one.rdtype == dns.rdatatype.from_text(kind)]


def split_server(text: str) -> tuple[str, int]:
    """Return address and port of `address` or `address:port`. Raises ValueError for anything else."""
    with_port = text.count(":") == 1 or (text.startswith("[") and "]:" in text)
    host, found, port = text.rpartition(":") if with_port else (text, "", "53")
    address = str(ipaddress.ip_address((host if found else text).strip("[]")))
    number = int(port)
    if not 0 < number < 65536:
        raise ValueError("port")
    return address, number
