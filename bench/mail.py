"""E-mail end to end: the service and the peer in turn against the same smtp-sink and PostgreSQL.

`dispatch`  N notices queued while no worker runs; then the worker starts: from the sink's first message until all evidence is
            durable (all notices served), N over that time
`together`  API and worker in one process: from the first POST (by /batch) until all evidence is durable
"""

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

from bench import sink as sinks
from bench.service import Service

BODY = {"category": "agreement", "channels": ["email"], "content": {"subject": "用户协议更新", "body": ("x" * 70 + "\n") * 26}}


def settings(port: int) -> dict[str, str]:
    """The service's mail provider: the sink, which counts as an MX of the recipients' domain."""
    return {
        "PROVIDERS__MAIL__KIND": "smtp",
        "PROVIDERS__MAIL__HOST": "127.0.0.1",
        "PROVIDERS__MAIL__PORT": str(port),
        "PROVIDERS__MAIL__FROM_ADDRESS": "notices@example.com",
        "PROVIDERS__MAIL__HOST_IS": "recipient_mx",
        "PROVIDERS__MAIL__TLS": "none",
        "PROVIDERS__MAIL__CONNECTIONS": "16",
    }


def _until_served(service: Service, count: int, limit_s: float) -> float:
    ends = time.monotonic() + limit_s
    while (counts := service.counts())["served"] < count:
        if time.monotonic() > ends:
            raise SystemExit(f"not all served within {limit_s:.0f} s: {counts}")
        time.sleep(0.05)
    return time.monotonic()


def dispatch(database: str, count: int, workers: int = 1) -> float:
    """Messages a second for dispatch alone (PostgreSQL: the API runs beside the workers only to be asked for counts)."""
    with sinks.running() as sink, tempfile.TemporaryDirectory() as folder:
        service = Service(Path(folder) / "s", database, **settings(sink.port))
        with service.run("api"):
            service.load_recipients(count)
            service.post_batches(count, BODY)
            with contextlib.ExitStack() as stack:
                for _ in range(workers):
                    stack.enter_context(service.run("worker"))
                began = sink.wait_for(1, 60)
                return count / (_until_served(service, count, 600) - began)


def together(database: str | None, count: int) -> float:
    """Messages a second from the first POST to the last evidence."""
    with sinks.running() as sink, tempfile.TemporaryDirectory() as folder:
        service = Service(Path(folder) / "s", database, **settings(sink.port))
        with service.run():
            service.load_recipients(count)
            began = time.monotonic()
            service.post_batches(count, BODY)
            return count / (_until_served(service, count, 600) - began)


def peer(database: str, count: int) -> tuple[float, float]:
    """The peer's dispatch alone, and enqueue with dispatch, in messages a second."""
    url = urlsplit(database)
    with sinks.running() as sink:
        env = os.environ | {
            "PEER_DSN": f"{url.hostname} {url.port} {url.path[1:]} {url.username}",
            "SINK_PORT": str(sink.port),
            "N": str(count),
        }
        command = [sys.executable, "-W", "ignore", str(Path(__file__).with_name("peer_post_office.py"))]
        subprocess.run([*command, "prepare"], env=env, check=True)
        began = time.monotonic()
        subprocess.run([*command, "enqueue"], env=env, check=True)
        queued = time.monotonic()
        worker = subprocess.Popen([*command, "work"], env=env)
        try:
            first = sink.wait_for(1, 60)
            last = sink.wait_for(count, 600)
        finally:
            worker.wait(60)
        return count / (last - first), count / (queued - began + last - first)
