"""A DNS server on loopback that knows what a test tells it: records by (name, type), NXDOMAIN else, SERVFAIL or silence on order."""

import asyncio
from dataclasses import dataclass, field

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset


@dataclass
class DnsServer:
    """Use as `async with DnsServer({("example.cn", "MX"): ["10 mx.example.cn."]}) as server`; `server.address` is `host:port`."""

    records: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    failing: bool = False  # answer SERVFAIL
    asked: list[tuple[str, str]] = field(default_factory=list)

    async def __aenter__(self):
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: _Protocol(self), local_addr=("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._transport.get_extra_info('sockname')[1]}"
        return self

    async def __aexit__(self, *_):
        self._transport.close()

    def answer(self, query):
        question = query.question[0]
        name, kind = question.name.to_text(omit_final_dot=True).lower(), dns.rdatatype.to_text(question.rdtype)
        self.asked.append((name, kind))
        reply = dns.message.make_response(query)
        reply.flags |= dns.flags.RA
        if self.failing:
            reply.set_rcode(dns.rcode.SERVFAIL)
        elif (name, kind) in self.records:
            reply.answer.append(dns.rrset.from_text_list(question.name, 300, "IN", kind, self.records[name, kind]))
        elif not any(known == name or known.endswith("." + name) for known, _ in self.records):
            reply.set_rcode(dns.rcode.NXDOMAIN)
        return reply


class _Protocol(asyncio.DatagramProtocol):
    def __init__(self, server):
        self._server = server

    def connection_made(self, transport):
        self._transport = transport

    def datagram_received(self, data, peer):
        self._transport.sendto(self._server.answer(dns.message.from_wire(data)).to_wire(), peer)
