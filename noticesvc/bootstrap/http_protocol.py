"""uvicorn's HTTP connection, whose answer to what is no HTTP is a problem (RFC 9457) as every other error is. Used by serving."""

import re
from http import HTTPStatus

import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from noticesvc.api import problem

_ROUTED = ("DELETE", "GET", "HEAD", "POST", "PUT")
_REQUEST_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,40}) [^ \r\n]{1,8192} HTTP/1\.[01]\r\n")
_METHODS = frozenset({*_ROUTED, "CONNECT", "OPTIONS", "PATCH", "TRACE"})


class Protocol(HttpToolsProtocol):
    """A connection. The parser under it takes a method that it does not know for broken HTTP; to us it is one not allowed."""

    _newest = b""

    def data_received(self, data: bytes) -> None:
        """Bytes from the client."""
        self._newest = data
        super().data_received(data)

    def send_400_response(self, msg: str) -> None:
        """Answer what the parser refused, and close."""
        line = _REQUEST_LINE.match(self._newest)
        if line is not None and line[1].decode() not in _METHODS:
            status, slug, detail, headers = 405, "method-not-allowed", "No route takes this method.", {"allow": ", ".join(_ROUTED)}
        else:
            status, slug, detail, headers = 400, "malformed", "This is no HTTP/1.1 request that can be read.", {}
        body = msgspec.json.encode(problem.body(status, slug, detail))
        headers |= {"content-type": "application/problem+json", "content-length": str(len(body)), "connection": "close"}
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self.transport.write(f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n{head}\r\n".encode() + body)
        self.transport.close()
