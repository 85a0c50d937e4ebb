"""Spans of a real process: a collector on loopback hears of a request in its caller's trace and of an attempt in its notice's."""

import asyncio
import http.server
import threading

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.support.process import delivered, running

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.fixture
def collector():
    """An OTLP receiver; `spans` holds what it got."""

    class Taking(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                import gzip
                body = gzip.decompress(body)
            request = ExportTraceServiceRequest.FromString(body)
            self.server.spans += [span for one in request.resource_spans for scope in one.scope_spans for span in scope.spans]
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            return

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Taking) as server:
        server.spans = []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


async def test_requests_and_attempts_are_spans_without_anything_personal(tmp_path, collector):
    """The process sends what it has at its end; no address, content or recipient stands in any span."""
    async with running(tmp_path, None, patient=True) as here:
        url = f"http://127.0.0.1:{collector.server_port}/v1/traces"
        await here.service.start(environment={"NOTICESVC_TELEMETRY__OTLP_URL": url})
        notice_id = await here.post(await here.recipient())
        await here.until(notice_id, delivered)
        await here.caller.once("GET", "/v1/ledger/key", headers={"traceparent": f"00-{TRACE}-{PARENT}-01"})
        assert await here.service.stop() == [0]
    await asyncio.to_thread(collector.shutdown)
    spans = {span.name: span for span in collector.spans}
    asked = spans["GET /v1/ledger/key"]
    assert (asked.trace_id.hex(), asked.parent_span_id.hex()) == (TRACE, PARENT)
    attempt = spans["submit email"]
    assert attempt.trace_id.hex() == notice_id.replace("-", "")
    assert {one.key: one.value.string_value for one in attempt.attributes}["provider"] == "mail"
    whole = b"".join(span.SerializeToString() for span in collector.spans)
    assert b"sink.example" not in whole
    assert b"u-1" not in whole
