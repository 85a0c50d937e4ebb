"""What every mail measurement sends, and the peer that sends the same against the same smtp-sink and PostgreSQL.

Both start from a queue that is full and are timed from the first sign of work. The peer's figure ends with the last message in the
sink, ours with the last evidence durable; when the peer had written its own results is given beside it.
"""

import os
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

from bench import meters
from bench import sink as sinks
from bench.service import Service

BODY = {"category": "agreement", "channels": ["email"], "content": {"subject": "用户协议更新", "body": ("x" * 70 + "\n") * 26}}
_UNWRITTEN = "select count(*) from post_office_email where status is distinct from 0"


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


def until_served(service: Service, count: int, limit_s: float) -> float:
    """The moment at which `count` notices are served."""
    ends = time.monotonic() + limit_s
    while (counts := service.counts())["served"] < count:
        if time.monotonic() > ends:
            raise SystemExit(f"not all served within {limit_s:.0f} s: {counts}")
        time.sleep(0.05)
    return time.monotonic()


def peer(database: str, count: int) -> dict[str, float]:
    """The peer: messages a second for dispatch alone, until its results are stored, and for enqueue and dispatch together."""
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
        server = meters.server_pid(url.port or 0)
        with meters.watching(database) as watch:
            worker = subprocess.Popen([*command, "work"], env=env)
            try:
                first = sink.wait_for(1, 60)
                spent = meters.cpu_s(worker.pid), meters.cpu_s(server)
                last = sink.wait_for(count, 600)
                own, theirs = (now - then for now, then in zip((meters.cpu_s(worker.pid), meters.cpu_s(server)), spent, strict=True))
                while watch.value(_UNWRITTEN):
                    time.sleep(0.01)
                written = time.monotonic()
            finally:
                worker.wait(60)
        return {"rate": count / (last - first), "recorded": count / (written - first), "together": count / (queued - began + last - first),
                "worker_ms": own / count * 1e3, "database_ms": theirs / count * 1e3}
