"""An independent program checks what we sign: Go's note.Open, tlog.CheckRecord, CheckTree and tile reader over what we serve."""

import os
import subprocess
from pathlib import Path

import pytest

from noticesvc.ledger import checkpoint
from noticesvc.operations import export, ledger_reading
from tests.support.ledger import SIGNER, opened, sequenced, subject_entries
from tests.support.needs import missing

SOURCE = Path(__file__).with_name("go_checker") / "main.go"
PACKAGES = Path("/usr/share/gocode/src/golang.org/x/mod/sumdb/note")

pytestmark = pytest.mark.real_peer


@pytest.fixture(scope="session")
def checker(needs, tmp_path_factory):
    """The compiled checker, from Debian's packages alone: no module is downloaded."""
    go = needs("go", "apt-get install golang-go golang-golang-x-mod-dev")
    if not PACKAGES.exists():
        missing("golang.org/x/mod", "apt-get install golang-golang-x-mod-dev")
    folder = tmp_path_factory.mktemp("go")
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "GO111MODULE": "off", "GOPATH": "/usr/share/gocode", "GOFLAGS": "",
                   "GOPROXY": "off", "GOCACHE": str(folder / "cache"), "CGO_ENABLED": "0"}
    subprocess.run([go, "build", "-o", folder / "check", SOURCE], env=environment, cwd=folder, check=True, timeout=280)
    return folder / "check"


def checked(checker, tmp_path, entry, text, vkey=SIGNER.verifier.vkey):
    """What the checker says of a proof."""
    (tmp_path / "entry").write_bytes(entry)
    (tmp_path / "proof").write_text(text)
    return subprocess.run([checker, "proof", vkey, tmp_path / "entry", tmp_path / "proof"], capture_output=True, text=True, check=False,
                          timeout=60)


def tree_checked(checker, older, folder):
    """What the checker says of an export and an older checkpoint."""
    return subprocess.run([checker, "tree", SIGNER.verifier.vkey, older, folder], capture_output=True, text=True, check=False, timeout=60)


async def test_go_accepts_our_proofs_and_refuses_changed_ones(checker, sqlite_url, tmp_path):
    """Proofs of first, last and inner entries at several sizes hold in Go; a changed entry, index or note does not."""
    async with opened(sqlite_url) as database:
        refs = []
        for size in (1, 2, 255, 256, 257, 700):
            while len(refs) < size:
                refs += await database.write(subject_entries, min(200, size - len(refs)))
            await sequenced(database)
            places = sorted({0, size // 2, size - 1})
            proved = await database.read(ledger_reading.proofs_for, [refs[place] for place in places])
            for place, (entry, text) in zip(places, proved.entries, strict=True):
                assert checked(checker, tmp_path, entry, text).stdout == f"index {place} of {size}\n"
    assert checked(checker, tmp_path, entry + b" ", text).returncode == 1
    assert checked(checker, tmp_path, entry, text.replace("index 699", "index 698")).returncode == 1
    assert checked(checker, tmp_path, entry, text.replace("\n700\n", "\n701\n")).returncode == 1
    stranger = "notices.example.com+" + SIGNER.verifier.vkey.split("+")[1] + "+" + SIGNER.verifier.vkey.split("+", 2)[2][:-4] + "AAA="
    assert checked(checker, tmp_path, entry, text, stranger).returncode == 1


async def test_go_reads_our_tiles_and_the_log_extends_an_older_checkpoint(checker, sqlite_url, tmp_path):
    """Go's tile reader proves every leaf of an export against the root, which follows from them; tlog.CheckTree holds between two sizes."""
    async with opened(sqlite_url) as database:
        await database.write(subject_entries, 1)
        for size, old_size in ((300, 1), (1000, 300), (1000, 1000)):
            await sequenced(database)
            older = tmp_path / f"older-{old_size}"
            older.write_text(await database.read(ledger_reading.checkpoint, None))
            if size > old_size:
                for _ in range((size - old_size) // 100):
                    await database.write(subject_entries, 100)
                await database.write(subject_entries, (size - old_size) % 100)
                await sequenced(database)
            await database.read(export.export, tmp_path / "log", entries=False)
            assert tree_checked(checker, older, tmp_path / "log").stdout == f"size {size} extends {old_size}\n"
    tile = next((tmp_path / "log" / "tile" / "0").glob("002"))
    data = tile.read_bytes()
    tile.write_bytes(data[:100] + bytes([data[100] ^ 1]) + data[101:])
    assert tree_checked(checker, older, tmp_path / "log").returncode == 1
    tile.write_bytes(data)
    forged = checkpoint.sign(checkpoint.Checkpoint(SIGNER.name, 300, bytes(32)), SIGNER)
    (tmp_path / "forged").write_text(forged)
    assert tree_checked(checker, tmp_path / "forged", tmp_path / "log").returncode == 1
