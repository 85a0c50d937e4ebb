"""Every measurement of the table, by name: what it does, and the figures that it answers.

`dispatch`   N notices queued while no worker runs; then the workers start: deliveries a second from the first evidence seen in the
             database until all evidence is durable, with processor time, log bytes and row writes for each
`together`   from the first POST (by /batch) until all evidence is durable, API and worker in processes of their own
`enqueue`    POST /v1/notices over 64 connections, each answered when durable
`urgent`     100 single notices, spread over the time in which bulk mail goes out: from acceptance to the start of the call
Notices and recipients come in by the public ways alone: the import and /batch.
"""

import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from bench import gateway, mail, meters
from bench import sink as sinks
from bench.service import Service

Figures = dict[str, float]
SMS = {"category": "agreement", "channels": ["sms"], "service_rule": "agreement-6.2-sent",
       "content": {"subject": "用户协议更新", "body": "新版用户协议生效。", "sms": "【平台】协议更新，请登录查看。", "sms_carries": "full"}}
IN_SITE = mail.BODY | {"channels": ["in_site"]}
BULK = mail.BODY | {"category": "commercial"}
CONNECTIONS = 64


@contextlib.contextmanager
def _installed(database: str | None, **settings: str) -> Iterator[Service]:
    with tempfile.TemporaryDirectory() as folder:
        own = {"WORKER__CONCURRENCY": "256", "QUIET__FROM": "00:00", "QUIET__TO": "00:00"}
        service = Service(Path(folder) / "s", database, **own | settings)
        with contextlib.closing(service):
            yield service


def _sms(port: int) -> dict[str, str]:
    return {"PROVIDERS__SMS__KIND": "kannel", "PROVIDERS__SMS__CHANNEL": "sms", "PROVIDERS__SMS__FROM_ADDRESS": "1069",
            "PROVIDERS__SMS__URL": f"http://127.0.0.1:{port}/cgi-bin/sendsms"}


def _load_recipients(service: Service, count: int, body: dict[str, object]) -> None:
    service.load_recipients(count, channel="sms" if body is SMS else "email")


def _dispatch(service: Service, database: str, count: int, body: dict[str, object], workers: int = 1) -> Figures:
    with service.run("api"):
        _load_recipients(service, count, body)
        service.post_batches(count, body)
    return worked(service, database, count, workers)


def worked(service: Service, database: str, count: int, workers: int = 1) -> Figures:
    """Figures of workers that start now and have `count` deliveries before them."""
    server = meters.server_pid(urlsplit(database).port or 0)
    with meters.watching(database) as watch:
        writes, log = watch.counted()
        with contextlib.ExitStack() as stack:
            spent = meters.cpu_s(server)
            processes = [stack.enter_context(service.run("worker")) for _ in range(workers)]
            started = [meters.cpu_s(one.pid) for one in processes]
            rate = watch.rate(count)
            own = sum(meters.cpu_s(one.pid) - begun for one, begun in zip(processes, started, strict=True))
            memory = max(meters.rss_mib(one.pid) for one in processes)
            spent = meters.cpu_s(server) - spent
        writes_, log_ = watch.counted()
    return {"rate": rate, "worker_ms": own / count * 1e3, "database_ms": spent / count * 1e3, "log_bytes": (log_ - log) / count,
            "row_writes": (writes_ - writes) / count, "rss_mib": memory}


def email_dispatch(database: str, count: int, workers: int = 1) -> Figures:
    """E-mail by workers alone."""
    with sinks.running() as sink, _installed(database, **mail.settings(sink.port)) as service:
        figures = _dispatch(service, database, count, mail.BODY, workers)
        if sink.count != count:
            raise SystemExit(f"the sink took {sink.count} of {count} messages")
        return figures


def sms_dispatch(database: str, count: int) -> Figures:
    """SMS through an HTTP gateway."""
    with gateway.running() as port, _installed(database, **_sms(port)) as service:
        return _dispatch(service, database, count, SMS)


def in_site_dispatch(database: str, count: int) -> Figures:
    """In-site messages, set-based."""
    with _installed(database) as service:
        return _dispatch(service, database, count, IN_SITE)


def email_together(database: str | None, count: int) -> Figures:
    """E-mail from the first POST to the last evidence; on SQLite in one process."""
    with sinks.running() as sink, _installed(database, **mail.settings(sink.port)) as service:
        return _together(service, database, count, mail.BODY)


def sms_together(database: str, count: int) -> Figures:
    """SMS from the first POST to the last evidence."""
    with gateway.running() as port, _installed(database, **_sms(port)) as service:
        return _together(service, database, count, SMS)


def _together(service: Service, database: str | None, count: int, body: dict[str, object]) -> Figures:
    with contextlib.ExitStack() as stack:
        for role in ("api", "worker") if database else (None,):
            stack.enter_context(service.run(role))
        _load_recipients(service, count, body)
        began = time.monotonic()
        service.post_batches(count, body)
        return {"rate": count / (mail.until_served(service, count, 900) - began)}


def peer(database: str, count: int) -> Figures:
    """The best peer, see peer_post_office."""
    return mail.peer(database, count)


def enqueue(database: str, count: int) -> Figures:
    """POST /v1/notices over many connections."""
    with _installed(database) as service, service.run("api") as api:
        service.load_recipients(min(count, 2000))
        load(service, CONNECTIONS, min(count, 2000))  # connections of the pool, prepared statements
        spent = meters.cpu_s(api.pid)
        found = load(service, count, min(count, 2000))
        return found | {"api_ms": (meters.cpu_s(api.pid) - spent) / count * 1e3}


def load(service: Service, count: int, recipients: int) -> Figures:
    command = [sys.executable, "-m", "bench.post", str(service.port), service.key, str(count), str(CONNECTIONS), str(recipients)]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    if found["statuses"] != {"202": count}:
        raise SystemExit(f"not all were accepted: {found['statuses']}")
    return {name: float(found[name]) for name in ("rate", "p50", "p99")}


def recipients_import(database: str, count: int) -> Figures:
    """The streamed import: a tenth of the recipients first, then all in one request, with the memory after each."""
    with _installed(database) as service, service.run("api") as api:
        service.load_recipients(max(1, count // 10))
        before, began = meters.rss_mib(api.pid), time.monotonic()
        service.load_recipients(count, domain="example.net")
        took = time.monotonic() - began
        return {"rate": count / took, "rss_before_mib": before, "rss_mib": meters.rss_mib(api.pid)}


def urgent(database: str, count: int, singles: int = 100) -> Figures:
    """Single notices, spread over the time in which bulk mail goes out: milliseconds from acceptance to the start of the call."""
    with sinks.running() as sink, _installed(database, **mail.settings(sink.port)) as service:
        with service.run("api"):
            service.load_recipients(count)
            service.post_batches(count, BULK)
            with meters.watching(database) as watch, service.run("worker"):
                ids = []
                for i in range(singles):
                    while watch.to_do > count - 1 - count * i // (singles + 10):
                        time.sleep(0.01)
                    ids.append(_single(service, i))
                if not (left := watch.to_do):
                    raise SystemExit("the bulk was gone before the last single notice was accepted; take more of it")
                while watch.value("select count(*) from notice where category = 'handling' and not served"):
                    time.sleep(0.05)
            waits = sorted(_waited(service, one) for one in ids)
        return {"bulk": float(count), "p50": waits[len(waits) // 2], "p99": waits[max(0, -(-len(waits) * 99 // 100) - 1)],
                "longest": waits[-1], "bulk_left": float(left)}


def _single(service: Service, number: int) -> str:
    body = mail.BODY | {"category": "handling", "recipient_id": f"r{number % 10}"}
    reply = service.client.post("/v1/notices", json=body, headers={"Idempotency-Key": f"urgent-{number}"})
    if reply.status_code != 202:
        raise SystemExit(f"an urgent notice was not accepted: {reply.text[:200]}")
    return str(reply.json()["id"])


def _waited(service: Service, notice_id: str) -> float:
    found = service.client.get(f"/v1/notices/{notice_id}").json()
    return meters.millis(found["deliveries"][0]["attempts"][0]["started_at"]) - meters.millis(found["accepted_at"])
