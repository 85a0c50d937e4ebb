"""What the service counts for Prometheus, in a registry of its own; `/metrics` writes it out, of the API or of a server without one.

Any room may count here. Labels hold words from closed lists (route templates, channels, outcomes), never an id, an
address or anything that a caller sent.
"""

from functools import lru_cache
from threading import Thread
from typing import Final
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest, start_http_server
from prometheus_client.exposition import CONTENT_TYPE_LATEST

REGISTRY: Final = CollectorRegistry()
ProcessCollector(registry=REGISTRY)

HTTP_REQUESTS: Final = Counter(
    "noticesvc_http_requests_total", "Requests answered, by route template and status.", ("method", "route", "status"),
    registry=REGISTRY)
HTTP_SECONDS: Final = Histogram(
    "noticesvc_http_request_seconds", "Seconds until a request was answered; of a stream, until it began.",
    ("method", "route"), registry=REGISTRY, buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10))
NOTICES_ACCEPTED: Final = Counter(
    "noticesvc_notices_accepted_total", "Notices made durable by this process.", ("category",), registry=REGISTRY)
ATTEMPTS: Final = Counter(
    "noticesvc_attempts_total", "Attempts answered, by provider, channel and outcome.", ("provider", "channel", "outcome"),
    registry=REGISTRY)
CALL_SECONDS: Final = Histogram(
    "noticesvc_call_seconds", "Seconds that a provider took to answer.", ("provider",), registry=REGISTRY,
    buckets=(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 60))
attempts = lru_cache(maxsize=512)(ATTEMPTS.labels)  # looked up for every attempt; all its labels are from closed lists
call_seconds = lru_cache(maxsize=512)(CALL_SECONDS.labels)
LEASES_LOST: Final = Counter(
    "noticesvc_leases_lost_total", "Deliveries whose lease ended while this worker still held them.", registry=REGISTRY)

# Seen by looking at the database every few seconds (dispatch.watch), where a worker runs; the same in each such process.
QUEUE: Final = Gauge("noticesvc_queue_deliveries", "Due deliveries not begun, by category; counted up to 10,000 a priority.",
                     ("category",), registry=REGISTRY)
QUEUE_AGE: Final = Gauge("noticesvc_queue_oldest_seconds", "Since when the oldest of them is due.", ("category",), registry=REGISTRY)
UNKNOWN: Final = Gauge("noticesvc_deliveries_unknown", "Deliveries whose outcome is unknown.", registry=REGISTRY)
UNOWNED: Final = Gauge("noticesvc_deliveries_unowned", "Deliveries that nobody is to take care of; anything but 0 is an alarm.",
                       registry=REGISTRY)
RECEIPTS_LATE: Final = Gauge("noticesvc_receipts_late", "SMS deliveries without a receipt for over an hour.", registry=REGISTRY)
RECEIPTS_WAITING: Final = Gauge("noticesvc_receipts_waiting", "Raw receipts stored and not yet read.", registry=REGISTRY)
RECEIPTS_ORPHANED: Final = Gauge("noticesvc_receipts_orphaned", "Receipts of an attempt that nobody knows.", registry=REGISTRY)
EVENTS_WAITING: Final = Gauge("noticesvc_events_waiting", "Outgoing events that are due.", registry=REGISTRY)
EVENTS_AGE: Final = Gauge("noticesvc_events_oldest_seconds", "Since when the oldest of them is due.", registry=REGISTRY)
LEDGER_LAG: Final = Gauge("noticesvc_ledger_waiting_seconds", "Since when the oldest entry waits for its index.", registry=REGISTRY)
CHECKPOINT_AGE: Final = Gauge("noticesvc_ledger_checkpoint_age_seconds", "Since when the newest checkpoint is signed.", registry=REGISTRY)
CHECKPOINT_SIZE: Final = Gauge(
    "noticesvc_ledger_checkpoint_size", "Entries under the last checkpoint that this process signed.", registry=REGISTRY)
ANCHOR_OWES: Final = Gauge("noticesvc_anchor_owing_seconds", "Since when an outside anchor owes an answer, 0 if it owes none; told by the "
                           "process whose sequencer is in office, 0 in the others.", ("anchor",), registry=REGISTRY)
ANCHORED: Final = Counter("noticesvc_anchor_answers_total", "Times that an outside anchor was asked, by whether it failed.",
                          ("anchor", "result"), registry=REGISTRY)
UP_SINCE: Final = Gauge("noticesvc_started_timestamp_seconds", "When this process became ready.", registry=REGISTRY)


def exposition() -> tuple[bytes, str]:
    """All metrics as text, and its media type."""
    return generate_latest(REGISTRY), CONTENT_TYPE_LATEST


def serve(host: str, port: int) -> tuple[WSGIServer, Thread]:
    """Answer Prometheus at this place, in a thread, until the server is shut down."""
    return start_http_server(port, host, REGISTRY)
