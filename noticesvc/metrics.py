"""What the service counts for Prometheus, in a registry of its own; `/metrics` writes it out.

Any room may count here. Labels hold words from closed lists (route templates, channels, outcomes), never an id, an
address or anything that a caller sent.
"""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
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
    "noticesvc_attempts_total", "Attempts answered, by channel and outcome.", ("channel", "outcome"), registry=REGISTRY)
CHECKPOINT_SIZE: Final = Gauge(
    "noticesvc_ledger_checkpoint_size", "Entries under the last checkpoint that this process signed.", registry=REGISTRY)
UP_SINCE: Final = Gauge("noticesvc_started_timestamp_seconds", "When this process became ready.", registry=REGISTRY)


def exposition() -> tuple[bytes, str]:
    """All metrics as text, and its media type."""
    return generate_latest(REGISTRY), CONTENT_TYPE_LATEST
