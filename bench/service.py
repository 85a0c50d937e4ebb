"""The service under measurement: installed and run as an operator would, spoken to over HTTP."""

import contextlib
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx

from tests.support.ports import free_port

NOTICESVC = [sys.executable, "-c", "from noticesvc.cli.main import main; main()"]
POSTGRESQL = {"max_wal_size": "4GB", "min_wal_size": "4GB", "shared_buffers": "1GB"}
"""How PostgreSQL is set up here, as one for millions of notices is (`docs/operating.md`); that of the tests is made for small ones."""
READY = re.compile(r"^ready \S+ \S+$", re.MULTILINE)


def kill(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL; returns when it is gone."""
    process.kill()
    process.wait()


class Service:
    """One installation; `run` starts a process of it. What a folder holds is gone on with, on the database that is named now."""

    def __init__(self, folder: Path, database: str | None, **settings: str) -> None:
        kept = folder / "bench.json"
        known = json.loads(kept.read_text()) if kept.exists() else {}
        self.folder, self.port = folder, known.get("port") or free_port()
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("NOTICESVC_")} | {
            "NOTICESVC_SERVER__PORT": str(self.port), "NOTICESVC_SERVER__PUBLIC_URL": f"http://127.0.0.1:{self.port}",
            **({"NOTICESVC_DATABASE__URL": database} if database else {}),
            **{f"NOTICESVC_{name}": value for name, value in settings.items()}}
        options = ["--database", database] if database else []
        self.key = known.get("key") or self.cli("init", "--dir", str(folder), *options).stdout.strip().splitlines()[-1]
        kept.write_text(json.dumps({"port": self.port, "key": self.key}))
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", headers={"Authorization": f"Bearer {self.key}"}, timeout=120,
                                   trust_env=False)

    def cli(self, *args: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the service; it must succeed."""
        done = subprocess.run([*NOTICESVC, *args], env=self.env, check=False, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{' '.join(args)} ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        return done

    def close(self) -> None:
        """Close the connections to the service."""
        self.client.close()

    def start(self, only: str | None = None) -> subprocess.Popen[bytes]:
        """A process of it that has said `ready`."""
        process, log = self.launch(only)
        self.ready(process, log)
        return process

    def launch(self, only: str | None = None) -> tuple[subprocess.Popen[bytes], Path]:
        """A process of it that was just started, and its log."""
        log = self.folder / f"serve-{only or 'all'}-{time.monotonic_ns()}.log"
        with log.open("wb") as file:
            process = subprocess.Popen([*NOTICESVC, "serve", "--config", str(self.folder / "config.toml"), "--log-level", "warning",
                                        *(["--only", only] if only else [])], env=self.env, stdout=file, stderr=subprocess.STDOUT)
        return process, log

    @staticmethod
    def ready(process: subprocess.Popen[bytes], log: Path) -> None:
        """Wait until a process has said `ready`."""
        ends = time.monotonic() + 60
        while not READY.search(log.read_text()):
            if process.poll() is not None or time.monotonic() > ends:
                kill(process)
                raise SystemExit(f"the service did not start:\n{log.read_text()[-2000:]}")
            time.sleep(0.02)

    @contextlib.contextmanager
    def run(self, only: str | None = None) -> Iterator[subprocess.Popen[bytes]]:
        """Serve until the block ends, then SIGTERM."""
        process = self.start(only)
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                kill(process)

    def load_recipients(self, count: int, domain: str = "example.org", channel: str = "email") -> None:
        """Import `count` recipients with one mailbox or telephone number each, as r0, r1, …"""
        def address(i: int) -> str:
            return f"user{i}@{domain}" if channel == "email" else f"+8613{800_000_000 + i}"
        lines = "".join(json.dumps({"recipient_id": f"r{i}", "source": "bench", "contacts": [
            {"channel": channel, "address": address(i), "confirmation": "confirmed"}]}) + "\n" for i in range(count))
        done = self.client.post("/v1/recipients/import", content=lines.encode(), headers={"Content-Type": "application/x-ndjson"})
        if done.status_code != 200 or done.json()["rejected"]:
            raise SystemExit(f"import failed: {done.status_code} {done.text[:500]}")

    def post_batches(self, count: int, body: dict[str, object], size: int = 500, recipient: Callable[[int], int] = int) -> None:
        """Enqueue `count` notices by /batch, each with its idempotency key, for the first recipients or for whom `recipient` says."""
        run = secrets.token_hex(8)
        for start in range(0, count, size):
            notices = [body | {"recipient_id": f"r{recipient(i)}", "reference": f"b-{i}", "idempotency_key": f"{run}-{i}"}
                       for i in range(start, min(count, start + size))]
            done = self.client.post("/v1/notices/batch", json={"notices": notices})
            bad = [r for r in done.json().get("results", [{}]) if r.get("status") != 202]
            if done.status_code != 200 or bad:
                raise SystemExit(f"batch failed: {done.status_code} {str(bad[:1] or done.text)[:500]}")

    def counts(self, **query: str) -> dict[str, int]:
        """Counts of notices by state."""
        found: dict[str, int] = self.client.get("/v1/notices/counts", params=query).json()["counts"]
        return found
