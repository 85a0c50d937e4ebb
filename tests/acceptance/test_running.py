"""The real command line and process: init, serve, ready, health, stop; and every refusal in one sentence."""

import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from tests.support import shell
from tests.support.ports import free_port
from tests.support.waiting import PATIENCE_S, seen

SCOPES = "notices:write notices:read contacts:write contacts:read broadcasts:write broadcasts:approve proofs:read inbox evidence:write ops"
COMMAND = [sys.executable, "-c", "from noticesvc.cli.main import main; main()"]


class Installed:
    """An installation in a folder, and the processes that a test runs on it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.config = folder, folder / "config.toml"
        self.port = free_port()
        self.processes: list[subprocess.Popen[str]] = []
        self.secret = ""

    def env(self, more: dict[str, str]) -> dict[str, str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("NOTICESVC_")}
        return clean | {"NOTICESVC_SERVER__PORT": str(self.port)} | more

    def run(self, *args: str, **more: str) -> subprocess.CompletedProcess[str]:
        return shell.run(*args, env=self.env(more), timeout_s=PATIENCE_S)

    def init(self, *more: str) -> "Installed":
        done = self.run("init", "--dir", str(self.folder), *more)
        assert done.returncode == 0, done.stderr
        self.secret = done.stdout.splitlines()[-1]
        return self

    def serve(self, *args: str, **more: str) -> str:
        """Start a process and wait for its line `ready`, which is the answer."""
        with (self.folder / f"log-{time.monotonic_ns()}").open("w") as log:
            process = subprocess.Popen([*COMMAND, "serve", "--config", str(self.config), *args], env=self.env(more), cwd="/",
                                       stdout=subprocess.PIPE, stderr=log, text=True)
        self.processes.append(process)
        line = process.stdout.readline()
        assert line, f"serve ended: {self.log()}"
        return line.rstrip("\n")

    def log(self) -> str:
        """What the process that started last has logged."""
        return max(self.folder.glob("log-*"), key=lambda path: path.name).read_text()

    def stop(self) -> int:
        process = self.processes.pop()
        process.send_signal(signal.SIGTERM)
        status = process.wait(timeout=PATIENCE_S)
        process.stdout.close()
        return status

    def get(self, path: str, key: str | None = None) -> httpx.Response:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return httpx.get(f"http://127.0.0.1:{self.port}{path}", headers=headers, trust_env=False, timeout=PATIENCE_S)


@pytest.fixture
def installed(tmp_path):
    """A folder for an installation; whatever still runs at the end is killed."""
    made = Installed(tmp_path / "svc")
    yield made
    for process in made.processes:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture(scope="module")
def unchanged(tmp_path_factory):
    """An installation on SQLite for tests that are refused and change nothing."""
    return Installed(tmp_path_factory.mktemp("unchanged") / "svc").init()


@pytest.fixture
def sqlite(installed):
    """A fresh installation on SQLite."""
    return installed.init()


def refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    """A refusal is one sentence on stderr, status 1, no traceback, and says these words."""
    assert done.returncode == 1
    assert done.stderr.startswith("noticesvc: ")
    assert "Traceback" not in done.stderr
    assert [word for word in words if word not in done.stderr] == []


def test_init_makes_everything_for_its_owner_alone(sqlite):
    """Configuration (it may hold a password), keys and database have mode 0600; the key has every scope."""
    for name in ("config.toml", "ledger.key", "vault.key", "noticesvc.db"):
        assert (sqlite.folder / name).stat().st_mode & 0o777 == 0o600, name
    (key,) = json.loads(sqlite.run("keys", "list", "--json", "--config", str(sqlite.config)).stdout)
    assert sorted(key["scopes"]) == sorted(SCOPES.split())
    assert re.fullmatch(r"nsk_[A-Za-z0-9_-]{43}", sqlite.secret)


def test_a_second_init_changes_nothing_and_says_so(sqlite):
    """Not a byte of configuration and keys changes, no second key is made, and the status is 1."""
    before = {path.name: path.read_bytes() for path in sqlite.folder.iterdir() if path.suffix in {".toml", ".key"}}
    again = sqlite.run("init", "--dir", str(sqlite.folder))
    refused_text = again.stderr
    assert again.returncode == 1
    assert again.stdout == ""
    assert all(name in refused_text for name in before)
    assert {path.name: path.read_bytes() for path in sqlite.folder.iterdir() if path.suffix in {".toml", ".key"}} == before
    assert len(json.loads(sqlite.run("keys", "list", "--json", "--config", str(sqlite.config)).stdout)) == 1


def test_an_interrupted_init_is_completed(installed):
    """With only the configuration written, the next init makes the rest."""
    installed.init()
    for path in installed.folder.iterdir():
        if path.name != "config.toml":
            path.unlink()
    assert installed.init().secret.startswith("nsk_")


def test_a_lost_vault_key_is_never_made_anew(sqlite):
    """A new key beside sealed data would lose it silently, so init refuses and says what to restore."""
    (sqlite.folder / "vault.key").unlink()
    refused(sqlite.run("init", "--dir", str(sqlite.folder)), "vault.key", "restore")
    assert not (sqlite.folder / "vault.key").exists()


def test_serve_says_ready_answers_and_stops_with_zero(sqlite):
    """ready, healthz, readyz, metrics, OpenAPI, a problem for an unknown path; SIGTERM ends it with 0."""
    assert sqlite.serve() == f"ready all http://127.0.0.1:{sqlite.port}"
    assert sqlite.get("/healthz").json() == {"status": "ok"}
    ready = sqlite.get("/readyz")
    assert (ready.status_code, ready.json()["role"]) == (200, "all")
    assert "sandbox" in [item["name"] for item in ready.json()["degraded"]]
    assert set(ready.json()["checks"].values()) == {"ok"}
    sqlite.get("/healthz")
    counted = re.search(r'noticesvc_http_requests_total\{method="GET",route="/healthz",status="200"\} (\d+)', sqlite.get("/metrics").text)
    assert float(counted[1]) == 2
    assert sqlite.get("/openapi.json").json()["openapi"].startswith("3.1")
    missing = sqlite.get("/v1/nowhere")
    assert (missing.status_code, missing.headers["content-type"]) == (404, "application/problem+json")
    assert "server" not in missing.headers
    assert "sandbox" in sqlite.log()
    assert sqlite.stop() == 0


def test_a_wrong_method_is_answered_with_those_allowed(sqlite):
    """405 as a problem, with every method of the path in Allow (RFC 9110, 15.5.6)."""
    sqlite.serve()
    reply = httpx.delete(f"http://127.0.0.1:{sqlite.port}/v1/notices", trust_env=False)
    assert (reply.status_code, reply.headers["content-type"]) == (405, "application/problem+json")
    assert {"GET", "POST"} <= {word.strip() for word in reply.headers["allow"].split(",")}


def test_broken_requests_are_answered_with_problems_and_are_nothing_unexpected(sqlite):
    """A method that the parser does not know is 405, what is no HTTP 400; a body cut short leaves no error in the log."""
    sqlite.serve()
    url = f"http://127.0.0.1:{sqlite.port}/v1/notices"
    reply = httpx.request("BREW", url, trust_env=False)
    assert (reply.status_code, reply.headers["content-type"], "POST" in reply.headers["allow"]) == (405, "application/problem+json", True)
    head = f"POST /v1/notices HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {sqlite.secret}\r\nContent-Length: 9\r\n\r\n"
    for data, answer in ((b"\x16\x03\x01\x02\x00\r\n\r\n", b"HTTP/1.1 400 "), (head.encode() + b"{", b"")):
        with socket.create_connection(("127.0.0.1", sqlite.port), timeout=PATIENCE_S) as peer:
            peer.sendall(data)
            peer.shutdown(socket.SHUT_WR)
            assert peer.recv(64).startswith(answer)
    assert sqlite.stop() == 0
    assert "unexpected error" not in sqlite.log()


def test_the_sandbox_list_is_paged_and_strict(sqlite):
    """An empty page at first; a cursor that no page gave is 422."""
    sqlite.serve()
    assert sqlite.get("/sandbox/messages", sqlite.secret).json() == {"items": [], "next_cursor": None}
    for query in ("cursor=x", "limit=0", "limit=201", "unknown=1", "cursor=" + "A" * 22):
        assert sqlite.get(f"/sandbox/messages?{query}", sqlite.secret).status_code == 422, query


def test_one_serve_at_a_time_on_sqlite(sqlite):
    """A second serve, on another port, is refused; after the first ended, even by SIGKILL, the next one may."""
    sqlite.serve()
    again = {"NOTICESVC_SERVER__PORT": str(free_port())}
    refused(sqlite.run("serve", "--config", str(sqlite.config), **again), "Another", "SQLite")
    process = sqlite.processes.pop()
    process.kill()
    process.wait()
    process.stdout.close()
    assert sqlite.serve().startswith("ready all ")


def test_other_commands_run_beside_a_live_serve(sqlite):
    """A key made beside the service opens it at once, and revoked it is refused at once."""
    sqlite.serve()
    secret = sqlite.run("keys", "create", "--config", str(sqlite.config), "--name", "n", "--scope", "ops").stdout.splitlines()[-1]
    assert sqlite.get("/sandbox/messages", secret).status_code == 200
    assert sqlite.run("keys", "revoke", "n", "--config", str(sqlite.config)).returncode == 0
    assert sqlite.get("/sandbox/messages", secret).status_code == 401


def test_the_master_key_rotates_beside_a_live_serve(sqlite):
    """While the service runs: a new master key, every key wrapped again, the old one retired; recipients stay readable."""
    sqlite.serve()
    key = {"Authorization": f"Bearer {sqlite.secret}"}
    url = f"http://127.0.0.1:{sqlite.port}/v1/recipients/u-1/contacts"
    body = {"contacts": [{"channel": "email", "address": "li@example.cn", "confirmation": "confirmed"}], "source": "registration"}
    assert httpx.put(url, json=body, headers=key, trust_env=False).status_code == 200
    before = (sqlite.folder / "vault.key").read_text()
    done = sqlite.run("vault", "rotate", "--config", str(sqlite.config))
    assert (done.returncode, done.stdout.splitlines()) == (0, ["new master key: version 2", "wrapped again: 2"])
    assert httpx.get(url, headers=key, trust_env=False).json()["contacts"][0]["address"] == "li@example.cn"
    assert sqlite.run("vault", "rotate", "--stage", "retire", "--config", str(sqlite.config)).returncode == 0
    after = (sqlite.folder / "vault.key").read_text()
    assert (sqlite.folder / "vault.key").stat().st_mode & 0o777 == 0o600
    assert before.splitlines()[0] == after.splitlines()[0]  # the index key outlives rotations
    assert [line.split()[0] for line in after.splitlines()] == ["index", "2"]
    assert httpx.get(url, headers=key, trust_env=False).status_code == 200
    assert sqlite.stop() == 0
    sqlite.serve()
    assert httpx.get(url, headers=key, trust_env=False).status_code == 200


def test_retire_refuses_while_an_old_master_key_is_needed(sqlite):
    """With a new key but nothing wrapped again, the old one stays in the file."""
    assert sqlite.run("vault", "rotate", "--stage", "key", "--config", str(sqlite.config)).returncode == 0
    before = (sqlite.folder / "vault.key").read_bytes()
    refused(sqlite.run("vault", "rotate", "--stage", "retire", "--config", str(sqlite.config)), "older master key", "rewrap")
    assert (sqlite.folder / "vault.key").read_bytes() == before


@pytest.mark.parametrize(("variables", "words"), [
    ({"NOTICESVC_WORKER__LEASE_S": "30"}, ["timeout_s", "worker.lease_s"]),
    ({"NOTICESVC_WORKER__CONCURENCY": "3"}, ["worker.concurency"]),
    ({"NOTICESVC_PROVIDERS__MAIL__HOTS": "x"}, ["providers.mail.hots"]),
    ({"NOTICESVC_PROVIDERS__MAIL__KIND": "pigeon"}, ["providers.mail.kind", "sandbox"]),
    ({"NOTICESVC_LEDGER__KEY_FILE": "gone.key"}, ["ledger key", "cannot be read"]),
    ({"NOTICESVC_VAULT__KEY_FILE": "gone.key"}, ["vault key", "cannot be read"]),
    ({"NOTICESVC_CALENDAR__FILE": "gone.toml"}, ["calendar.file"]),
    ({"NOTICESVC_DATABASE__URL": "mysql://u:hunter2@h/n"}, ["[database] url", "mysql"]),
    ({"NOTICESVC_DATABASE__URL": "sqlite+aiosqlite:///new.db"}, ["noticesvc migrate"]),
    ({"NOTICESVC_SERVER__HOST": "no.such.host.invalid"}, ["server.host"]),
])
def test_what_cannot_be_served_is_refused_by_name(unchanged, variables, words):
    """Each refusal names the setting and what to do, before anything listens."""
    done = unchanged.run("serve", "--config", str(unchanged.config), **variables)
    refused(done, *words)
    assert "hunter2" not in done.stderr
    assert "ready" not in done.stdout


def test_a_port_in_use_is_refused_by_name(unchanged):
    """server.port is named."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        refused(unchanged.run("serve", "--config", str(unchanged.config), NOTICESVC_SERVER__PORT=str(port)), "server.port", "in use")


@pytest.mark.parametrize("name", ["ledger.key", "vault.key"])
def test_a_key_file_that_others_can_read_is_refused(sqlite, name):
    """Mode 0644: refused with the remedy."""
    (sqlite.folder / name).chmod(0o644)
    refused(sqlite.run("serve", "--config", str(sqlite.config)), "chmod 600")


def test_only_is_refused_on_sqlite(unchanged):
    """--only splits over processes, which needs PostgreSQL."""
    refused(unchanged.run("serve", "--only", "api", "--config", str(unchanged.config)), "--only", "PostgreSQL")


def test_a_ledger_cannot_be_renamed(sqlite):
    """Before the first checkpoint the origin can be chosen; afterwards another one is refused."""
    sqlite.serve(NOTICESVC_LEDGER__ORIGIN="first.example.org")
    reply = seen(lambda: sqlite.get("/v1/ledger/checkpoint"), lambda answer: answer.status_code == 200)
    assert reply.text.splitlines()[0] == "first.example.org"
    assert sqlite.stop() == 0
    refused(sqlite.run("serve", "--config", str(sqlite.config), NOTICESVC_LEDGER__ORIGIN="second.example.org"), "ledger.origin")


def test_readyz_is_503_while_the_database_cannot_be_written(sqlite):
    """A writer that does not end blocks the database: 503 with Retry-After, healthz stays 200, and afterwards 200 again."""
    sqlite.serve()
    with sqlite3.connect(sqlite.folder / "noticesvc.db", isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        reply = sqlite.get("/readyz")
        assert reply.status_code == 503
        assert reply.headers["content-type"] == "application/problem+json"
        assert "retry-after" in reply.headers
        assert reply.json()["checks"]["database"] != "ok"
        assert sqlite.get("/healthz").status_code == 200
        other.execute("ROLLBACK")
    other.close()
    seen(lambda: sqlite.get("/readyz"), lambda answer: answer.status_code == 200)


@pytest.mark.postgres
def test_postgresql_splits_into_roles(installed, postgres_url):
    """On PostgreSQL api and worker are processes of their own, each says its role, and both stop with 0."""
    installed.init("--database", postgres_url)
    assert installed.serve("--only", "worker") == "ready worker -"
    assert installed.serve("--only", "api") == f"ready api http://127.0.0.1:{installed.port}"
    assert installed.get("/readyz").json()["role"] == "api"
    assert installed.stop() == 0
    assert installed.stop() == 0


@pytest.mark.postgres
def test_migrate_makes_and_keeps_the_tables(installed, postgres_url):
    """On an empty database `migrate` makes all that `serve` needs; a second one finds nothing to do."""
    installed.init()
    more = {"NOTICESVC_DATABASE__URL": postgres_url}
    refused(installed.run("keys", "list", "--config", str(installed.config), **more), "noticesvc migrate")
    assert installed.run("migrate", "--config", str(installed.config), **more).returncode == 0
    assert "already" in installed.run("migrate", "--config", str(installed.config), **more).stdout
    assert installed.serve(**more).startswith("ready all ")


@pytest.mark.parametrize(("args", "status"), [
    (["keys", "create", "--name", "x"], 2), (["serve"], 2), (["nonsense"], 2), (["serve", "--config", "/nowhere/config.toml"], 1),
    (["keys", "revoke", "nobody"], 2), (["deadline", "--from", "yesterday", "--working-days", "3"], 1),
    (["explain", "/nowhere.json"], 2), (["ledger", "keygen", "--name", "a b", "--out", "/nowhere/key"], 1),
])
def test_wrong_use_is_status_two_and_a_refusal_one(installed, args, status):
    """The usual exit statuses, and never a traceback."""
    done = installed.run(*args)
    assert done.returncode == status, done.stderr
    assert done.stderr
    assert "Traceback" not in done.stderr


def test_help_and_version_are_quick_to_say(installed):
    """--help names every family; --version names the version; neither imports what only commands need."""
    text = installed.run("--help").stdout
    assert [word for word in ("init", "serve", "keys", "migrate", "vault", "ledger", "explain", "deadline") if word not in text] == []
    assert re.fullmatch(r"noticesvc \d+\.\d+\.\d+\n", installed.run("--version").stdout)
    look = ("import sys, noticesvc.cli.main\n"
            "print([m for m in ('sqlalchemy', 'pydantic', 'rich', 'uvicorn', 'structlog') if m in sys.modules])")
    heavy = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert heavy.stdout.strip() == "[]"
