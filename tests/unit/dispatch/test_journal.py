"""The worker's journal on a device that may be full: what cannot be written is said at once, and what was half written is taken back."""

import resource

import pytest

from noticesvc.dispatch import journal
from noticesvc.dispatch.journal import Journal


@pytest.fixture
def small_files():
    """Answers how to limit the size of files that this process writes, as a full disk would; without limit again at the end."""
    import signal
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    def limit(size):
        resource.setrlimit(resource.RLIMIT_FSIZE, (before[1] if size is None else size, before[1]))
    yield limit
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


def test_a_journal_that_cannot_be_written_is_not_ready_until_it_can(tmp_path, small_files):
    """Then no call begins; once there is room it is ready by itself, and holds the starts that were written and no torn line."""
    made = Journal(tmp_path, "worker-1")
    made.start("a.email.1", 7)
    assert made.ready()
    small_files(made.path.stat().st_size + 3)  # room for a piece of a line
    with pytest.raises(OSError, match="short write"):
        made.start("b.email.1", 8)
    small_files(made.path.stat().st_size)
    assert not made.ready()
    small_files(None)
    assert made.ready()
    made.start("c.email.1", 9)
    found = journal.read(made.path)
    assert (found.worker, found.starts) == ("worker-1", {"a.email.1": 7, "c.email.1": 9})
