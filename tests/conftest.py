"""Fixtures for the whole suite: outside programs, a private PostgreSQL, and one fresh database on every engine."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.support import postgres as private
from tests.support.needs import missing, require_all
from tests.support.needs import needs as needs_program

# Time limits of single examples would measure the machine; pytest-timeout bounds the whole test instead.
# The examples are the same everywhere, so that a run tells of the change it is run for; `soak` draws fresh ones.
settings.register_profile("house", deadline=None, derandomize=True)
settings.register_profile("soak", deadline=None, max_examples=2000)  # pytest --hypothesis-profile=soak
settings.load_profile("house")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """With REQUIRE_ALL=1 a skipped test is a failed one, however it skipped."""
    report = yield
    if require_all() and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped although REQUIRE_ALL is set: {report.longrepr}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    """The same for a whole module that skips itself while it is collected."""
    report = yield
    if require_all() and report.skipped:
        report.outcome = "failed"
        report.longrepr = f"{collector.nodeid} was skipped although REQUIRE_ALL is set: {report.longrepr}"
    return report


@pytest.fixture(scope="session")
def needs() -> Callable[..., str]:
    """`needs("postfix")`: the path of a program, or the test is skipped by name (REQUIRE_ALL=1: fails)."""
    return needs_program


def _server(*, durable: bool) -> Iterator[private.PrivatePostgres]:
    """A server of our own for as long as the fixture lives."""
    try:
        private.find_programs()
    except private.PostgresMissing as error:
        missing("PostgreSQL", str(error))
    with private.running(durable=durable) as server:
        yield server


@pytest.fixture(scope="session")
def postgres() -> Iterator[private.PrivatePostgres]:
    """The session's PostgreSQL (one for each xdist worker), quick because it does not flush; do not stop it."""
    yield from _server(durable=False)


@pytest.fixture
def durable_postgres() -> Iterator[private.PrivatePostgres]:
    """A PostgreSQL of this test alone, with fsync on, which the test may stop, crash and start again."""
    yield from _server(durable=True)


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """The URL of a SQLite database that does not exist yet."""
    return f"sqlite+aiosqlite:///{tmp_path / 'noticesvc.db'}"


@pytest.fixture
def postgres_url(postgres: private.PrivatePostgres) -> Iterator[str]:
    """The URL of a new, empty PostgreSQL database, dropped after the test."""
    url = postgres.new_database()
    yield url
    postgres.drop_database(url)


@pytest.fixture(scope="session")
def common_postgres_url(postgres: private.PrivatePostgres) -> str:
    """The URL of the one database that the tests of a worker use after each other, by way of `database_url`."""
    return postgres.new_database()


@pytest.fixture
def rowless_postgres_url(postgres: private.PrivatePostgres, common_postgres_url: str) -> Iterator[str]:
    """The common database; whatever a test left in it is removed, and whoever is still connected is cut."""
    yield common_postgres_url
    postgres.remove_rows(common_postgres_url)


ENGINES = ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)]


@pytest.fixture(params=ENGINES)
def database_url(request: pytest.FixtureRequest) -> str:
    """A database without rows on each engine in turn, to be opened through `tests.support`: what the contract suite runs over.

    A test that changes tables takes `empty_database_url`.
    """
    return request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "rowless_postgres_url")


@pytest.fixture(params=ENGINES)
def empty_database_url(request: pytest.FixtureRequest) -> str:
    """A new database without tables on each engine in turn."""
    return request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url")
