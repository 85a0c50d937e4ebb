"""Keeps our own HTTP calls out of private networks (SSRF): the address is judged when the socket for it is made.

Called by dispatch.events. Judging names, or addresses resolved beforehand, would leave a gap in which a name can be bound to another
address (DNS rebinding); the socket is made for the very address that is connected to. Ranges: RFC 6890 and the IANA registries.
"""

import ipaddress
import socket
from collections.abc import Callable
from urllib.parse import urlsplit

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
AddressInfo = tuple[int | socket.AddressFamily, int | socket.SocketKind, int, str, tuple[object, ...]]


class PrivateAddress(OSError):
    """The name leads into a private network, and the configuration does not allow that."""


def is_public(address: str) -> bool:
    """Whether an address belongs to the public internet. What carries an IPv4 address in it is judged by that."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF) if ip in _NAT64 else None)
        if inner is not None:
            ip = inner
    return ip.is_global and not ip.is_multicast


def names_itself(url: str) -> bool:
    """Whether a URL names an address, or the host itself, in so many words: whoever configured it has allowed it."""
    host = urlsplit(url).hostname or ""
    if host == "localhost" or host.endswith(".localhost"):  # RFC 6761, 6.3
        return True
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def sockets(*, private: bool) -> Callable[[AddressInfo], socket.socket]:
    """What makes sockets for aiohttp; unless `private`, none for an address outside the public internet."""
    def made(info: AddressInfo) -> socket.socket:
        family, kind, protocol, _, address = info
        if not private and not is_public(str(address[0])):
            raise PrivateAddress("The receiver's name leads into a private network; name its address, or set events.allow_private.")
        return socket.socket(family, kind, protocol)
    return made
