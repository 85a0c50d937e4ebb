"""`noticesvc demo`, as a stranger runs it: to the end, with a proof that verifies, and no process left behind."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

COMMAND = [sys.executable, "-c", "from noticesvc.cli.main import main; main()"]
PATIENCE_S = 250
MARKER = ".made-by-noticesvc-demo"


def environment(**more):
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("NOTICESVC_", "DEMO_"))}
    return clean | more


def left(folder):
    """Processes that name this folder."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if process.pid != os.getpid() and any(str(folder) in word for word in words):
            found.append(words)
    return found


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """The demo's folder and what it printed."""
    folder = tmp_path_factory.mktemp("demo") / "demo"
    done = subprocess.run([*COMMAND, "demo", "--dir", str(folder)], env=environment(DEMO_EXIT="1"), cwd=folder.parent, capture_output=True,
                          text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder, done.stdout


def test_it_runs_to_the_end_and_leaves_no_process(told):
    """All ten steps are told, and nothing that it started still runs."""
    folder, said = told
    assert re.findall(r"^(\d+)  ", said, re.MULTILINE) == [str(step) for step in range(1, 11)]
    assert left(folder) == []


def test_its_proof_verifies_again(told):
    """The proof that it wrote is verified by a process that knows the ledger's key alone; a changed one is refused."""
    folder, said = told
    assert "The proof holds" in said
    proof, vkey = folder / "proof-u-1002.json", (folder / "ledger.vkey").read_text().strip()
    verify = [*COMMAND, "verify", "--log-key", vkey]
    good = subprocess.run([*verify, str(proof)], env=environment(), capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert good.returncode == 0, good.stdout
    changed = folder / "changed.json"
    changed.write_text(proof.read_text("utf-8").replace("u-1002", "u-1009"), "utf-8")
    bad = subprocess.run([*verify, str(changed)], env=environment(), capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert bad.returncode == 1


def test_it_shows_the_bounce_and_what_it_changed(told):
    """The mail counted first and was struck by the bounce; service moved to the SMS; the new mailbox was used."""
    _, said = told
    story = said[said.index("6  The story"):said.index("7  The proof")]
    assert re.search(r"email 1 +arrived .*struck by", story)
    assert re.search(r"email 1 +failed_permanent", story)
    assert re.search(r"^agreement-6\.2 .* email +\S+ \S+ sms ", story, re.MULTILINE)
    assert re.search(r"dispatched .*li\.ming@new\.example\.cn .* yes", said)


def test_what_it_says_to_try_works_as_printed(told):
    """The printed commands that need no service answer as they stand, with the printed ids."""
    folder, said = told
    tries = [line.strip() for line in said.splitlines() if re.match(r"   \S*noticesvc (notice|ledger)", line)]
    assert len(tries) == 3
    for line in tries:
        words = line.split()[1:]
        done = subprocess.run([*COMMAND, *words], env=environment(), cwd=folder.parent, capture_output=True, text=True, timeout=PATIENCE_S,
                              check=False)
        assert done.returncode == 0, done.stderr
        assert done.stdout


def test_it_never_wipes_a_folder_of_somebody_else(tmp_path):
    """A folder without its mark is left alone, with a sentence; nothing is started."""
    (tmp_path / "precious").write_text("mine")
    done = subprocess.run([*COMMAND, "demo", "--dir", str(tmp_path)], env=environment(DEMO_EXIT="1"), capture_output=True, text=True,
                          timeout=PATIENCE_S, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("noticesvc: ")
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]


def test_sigterm_in_the_middle_leaves_no_process(tmp_path):
    """Whoever stops the demo while it runs stops its service too; a second demo then wipes what the first one left."""
    folder = tmp_path / "demo"
    process = subprocess.Popen([*COMMAND, "demo", "--dir", str(folder)], env=environment(), stdout=subprocess.PIPE, text=True)
    for line in process.stdout:
        if line.startswith("4  "):
            break
    assert left(folder) != []
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE_S) == 128 + signal.SIGTERM
    process.stdout.close()
    assert left(folder) == []
    assert (folder / MARKER).is_file()
    (folder / "leftover").write_text("x")
    again = subprocess.run([*COMMAND, "demo", "--dir", str(folder), "--exit"], env=environment(), capture_output=True, text=True,
                           timeout=PATIENCE_S, check=False)
    assert again.returncode == 0, again.stderr
    assert not (folder / "leftover").exists()


def test_a_service_that_cannot_start_ends_the_demo_with_its_reason(tmp_path):
    """A folder that is a file, or no room to listen, is one sentence and status 1."""
    path = tmp_path / "file"
    path.write_text("x")
    done = subprocess.run([*COMMAND, "demo", "--dir", str(Path(path))], env=environment(DEMO_EXIT="1"), capture_output=True, text=True,
                          timeout=PATIENCE_S, check=False)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
