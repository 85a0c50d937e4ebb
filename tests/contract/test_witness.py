"""The stand-alone witness as C2SP tlog-witness describes it: what it signs, what it refuses and with which status, what it survives."""

import os
import signal
import subprocess
import sys
import threading
from base64 import b64encode

import httpx
import pytest

from noticesvc.errors import ConfigurationError
from noticesvc.ledger import checkpoint, key, merkle, note
from noticesvc.ledger.checkpoint import Checkpoint
from noticesvc.witness import memory, witness

LOG, OTHER = (key.generate("log.example.cn", bytes([n]) * 32) for n in (1, 2))
SIGNER = key.generate("witness.example.cn", bytes([7]) * 32, key.COSIGNATURE)
LEAVES = [merkle.leaf_hash(bytes([n])) for n in range(20)]
COMMAND = [sys.executable, "-c", "from noticesvc.cli.main import main; main()"]


def signed(size, leaves=LEAVES, signer=LOG):
    return checkpoint.sign(Checkpoint(signer.name, size, merkle.root_hash(leaves[:size])), signer)


def request(old, size, leaves=LEAVES, **more):
    proof = merkle.consistency_proof(leaves[:size], old) if 0 < old < size else []
    lines = "".join(f"{b64encode(one).decode()}\n" for one in more.get("proof", proof))
    return f"old {old}\n{lines}\n{signed(size, leaves, more.get('signer', LOG))}".encode()


@pytest.fixture
def judge(tmp_path):
    """A witness that has cosigned the tree of 5."""
    held = memory.Memory(tmp_path / "witness")
    made = witness.Witness(SIGNER, [LOG.verifier], held, lambda: 1_790_000_000)
    assert made.add_checkpoint(request(0, 5)).status == 200
    yield made
    held.close()


def test_it_cosigns_what_extends_the_last(judge):
    """Growing, and the same again; the line verifies under its key with the time that it states."""
    for old, size in ((5, 9), (9, 9), (9, 20)):
        answer = judge.add_checkpoint(request(old, size))
        assert answer.status == 200
        found = note.verify(note.attach(signed(size), answer.body), [LOG.verifier, SIGNER.verifier])
        assert [one.time_s for one in found.signed if one.verifier == SIGNER.verifier] == [1_790_000_000]


FORK = [*LEAVES[:3], merkle.leaf_hash(b"fork"), *LEAVES[4:]]


@pytest.mark.parametrize(("body", "status"), [
    pytest.param(request(0, 9), 409, id="old size is behind"),
    pytest.param(request(7, 9), 409, id="old size is ahead"),
    pytest.param(request(5, 5, FORK), 409, id="another tree of the same size"),
    pytest.param(request(5, 9, FORK), 422, id="another history"),
    pytest.param(request(5, 9, proof=[]), 422, id="no proof"),
    pytest.param(request(5, 9, proof=[bytes(32)] * 3), 422, id="false proof"),
    pytest.param(request(5, 5, proof=[bytes(32)]), 422, id="a proof too many"),
    pytest.param(request(9, 5, proof=[]), 400, id="old larger than new"),
    pytest.param(request(5, 9, signer=OTHER), 403, id="another key of that name"),
    pytest.param(request(5, 9, signer=key.generate("no.example.cn", bytes(32))), 404, id="unknown log"),
    pytest.param(request(5, 9).replace(b"old 5", b"old 05"), 400, id="leading zero"),
    pytest.param(request(5, 9).replace(b"old 5\n", b""), 400, id="no old line"),
    pytest.param(request(5, 9, proof=[bytes(31)]), 400, id="short hash"),
    pytest.param(request(5, 9, proof=[bytes(32)] * 64), 400, id="too many hashes"),
    pytest.param(request(5, 9).replace(b"\n9\n", b"\n10\n"), 403, id="changed text"),
    pytest.param(b"", 400, id="nothing"), pytest.param(b"\xff" * 50, 400, id="bytes"), pytest.param(b"old 5\n\nx\n\n", 400, id="no note"),
])
def test_it_refuses_everything_else(judge, body, status):
    """Each refusal has the status that the protocol names, and nothing is remembered of it."""
    answer = judge.add_checkpoint(body)
    assert answer.status == status, answer
    if status == 409 and b"fork" not in body and answer.media_type == witness.SIZE_TYPE:
        assert answer.body == "5\n"
    assert judge.add_checkpoint(request(5, 9)).status == 200


def test_of_two_at_once_one_is_cosigned(judge):
    """Two histories that both extend the last, sent at the same moment again and again: never are both signed."""
    fork = [*LEAVES[:6], merkle.leaf_hash(b"fork"), *LEAVES[7:]]
    statuses = []

    def ask(leaves):
        barrier.wait()
        statuses.append(judge.add_checkpoint(request(5, 9, leaves)).status)
    barrier = threading.Barrier(8)
    threads = [threading.Thread(target=ask, args=(leaves,)) for leaves in [LEAVES, fork] * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses.count(200) == 1
    assert set(statuses) == {200, 409}


def test_it_remembers_over_a_restart_and_no_two_share_a_folder(tmp_path):
    """What was signed is known to the next process; a second one on the folder is refused; a damaged file is not passed over."""
    first = memory.Memory(tmp_path)
    assert witness.Witness(SIGNER, [LOG.verifier], first, lambda: 1).add_checkpoint(request(0, 5)).status == 200
    with pytest.raises(ConfigurationError, match="Another witness"):
        memory.Memory(tmp_path)
    first.close()
    second = memory.Memory(tmp_path)
    assert witness.Witness(SIGNER, [LOG.verifier], second, lambda: 1).add_checkpoint(request(0, 9)).body == "5\n"
    next(tmp_path.glob("*.checkpoint")).write_text("damaged")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        second.last(LOG.name)
    second.close()


def test_the_command_serves_it_and_survives_kill_9(tmp_path):
    """`noticesvc ledger witness` needs no installation; killed and started again it goes on from what it signed."""
    made = subprocess.run([*COMMAND, "ledger", "keygen", "--witness", "--name", "w.example.cn", "--out", str(tmp_path / "key")],
                          capture_output=True, text=True, check=True, timeout=60)
    vkey = made.stdout.strip()
    for round_, (old, size) in enumerate(((0, 5), (5, 9))):
        process = subprocess.Popen([*COMMAND, "ledger", "witness", "--key", str(tmp_path / "key"), "--log", LOG.verifier.vkey,
                                    "--dir", str(tmp_path / "memory"), "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout.readline().strip() == vkey
            url = process.stdout.readline().split()[-1]
            answer = httpx.post(f"{url}/add-checkpoint", content=request(old, size), trust_env=False, timeout=60)
            assert answer.status_code == 200, answer.text
            note.verify(note.attach(signed(size), answer.text), [key.Verifier.parse(vkey)])
            assert httpx.get(f"{url}/key", trust_env=False, timeout=60).text == f"{vkey}\n"
            stale = httpx.post(f"{url}/add-checkpoint", content=request(0, 5), trust_env=False, timeout=60)
            assert (stale.status_code, stale.headers["content-type"], stale.text) == (409, "text/x.tlog.size", f"{size}\n")
            assert httpx.post(f"{url}/add-checkpoint", content=b"x" * 200_000, trust_env=False, timeout=60).status_code == 413
            assert httpx.get(f"{url}/add-checkpoint", trust_env=False, timeout=60).status_code == 405
        finally:
            os.kill(process.pid, signal.SIGKILL if round_ == 0 else signal.SIGTERM)
            status = process.wait(60)
            process.stdout.close()
    assert status in (0, -signal.SIGTERM)
