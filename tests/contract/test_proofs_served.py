"""Proofs over HTTP and at the shell: served when their checkpoint is signed, refused with the right status, checked by a fresh process."""

import asyncio
import json
import subprocess
import sys

import pytest

from noticesvc.ledger.key import COSIGNATURE, generate
from noticesvc.proof.verify import verify
from tests.support import proofs
from tests.support.ledger import SIGNER
from tests.support.proofs import holds, types


@pytest.fixture
async def desk(database_url):
    """A desk on each database in turn."""
    async with proofs.desk(database_url) as made:
        yield made


async def test_a_proof_is_served_once_its_checkpoint_is_signed(desk):
    """The route waits for the sequencer; what it serves verifies, is not to be cached, and needs a reason of one line."""
    await desk.recipient()
    notice_id = await desk.notice()
    await desk.sequence()
    running = []
    desk.house.database.on_commit("ledger", lambda: running.append(asyncio.ensure_future(desk.sequence())))
    http = desk.house.http
    served = await http.get(f"/v1/notices/{notice_id}/proof", params={"reason": "诉讼举证"})
    assert served.status_code == 200, served.text
    assert served.headers["Cache-Control"] == "no-store"
    assert verify(served.content, [SIGNER.verifier]).ok
    contacts = await http.get("/v1/recipients/u-1001/contacts/proof", params={"reason": "法院调取", "at": "2030-01-01T00:00:00Z"})
    assert verify(contacts.content, [SIGNER.verifier]).ok
    assert contacts.json()["recipient"]["at"] == "2030-01-01T00:00:00.000000Z"
    for path, params, headers, status in (
            (f"notices/{notice_id}/proof", {}, {}, 422), (f"notices/{notice_id}/proof", {"reason": ""}, {}, 422),
            (f"notices/{notice_id}/proof", {"reason": "a\nb"}, {}, 422), (f"notices/{notice_id}/proof", {"reason": "a" * 501}, {}, 422),
            (f"notices/{notice_id}/proof", {"reason": "a", "extra": "b"}, {}, 422),
            (f"notices/{notice_id}/proof", {"reason": "a"}, {"Accept": "image/png"}, 406),
            (f"notices/{notice_id}/proof", {"reason": "a"}, {"Authorization": "Bearer x"}, 401),
            ("notices/x/proof", {"reason": "a"}, {}, 404), ("recipients/nobody/contacts/proof", {"reason": "a"}, {}, 404),
            (f"notices/{desk.owner}/proof", {"reason": "a"}, {}, 404),
            ("recipients/u-1001/contacts/proof", {"reason": "a", "at": "yesterday"}, {}, 422)):
        assert (await http.get(f"/v1/{path}", params=params, headers=headers)).status_code == status, (path, params, headers)
    await asyncio.gather(*running)


async def test_without_a_sequencer_the_proof_is_not_available_now(desk, monkeypatch):
    """No checkpoint in time: 503 with Retry-After. The reading was recorded; the next one is another."""
    monkeypatch.setattr("noticesvc.api.proofs.PATIENCE_S", 0.0)
    await desk.recipient()
    notice_id = await desk.notice()
    answer = await desk.house.http.get(f"/v1/notices/{notice_id}/proof", params={"reason": "诉讼举证"})
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert types(await holds(desk, notice_id)) == ["recipient.recorded", "notice.accepted", "proof.read", "proof.read"]


async def test_a_fresh_interpreter_verifies_a_file(desk, tmp_path):
    """`noticesvc verify` without an installation: numbered steps, trust named, status 0; a change, status 1; garbage, no traceback."""
    await desk.recipient()
    bundle = await desk.proof(await desk.notice())
    good, bad, garbage = (tmp_path / name for name in ("good.json", "bad.json", "garbage.json"))
    good.write_bytes(proofs.data(bundle))
    bad.write_bytes(proofs.data(bundle | {"issuer": "别家公司"}))
    garbage.write_bytes(b"\x00\xff" * 1000)

    def run(*arguments):
        done = subprocess.run([sys.executable, "-c", "from noticesvc.cli.main import main; main()", "verify", *map(str, arguments)],
                              capture_output=True, text=True, cwd=tmp_path, check=False)
        assert "Traceback" not in done.stderr
        return done.returncode, done.stdout + done.stderr
    status, output = run(good)
    assert status == 0
    assert "7. What the bundle shows follows from its entries. ok" in output
    assert "key inside the bundle was trusted" in output
    status, output = run(good, "--log-key", SIGNER.verifier.vkey)
    assert status == 0
    assert "trusted" not in output
    assert run(good, "--log-key", generate("notices.example.com", bytes(32)).verifier.vkey)[0] == 1
    assert run(good, "--witness", generate("w", bytes(32), COSIGNATURE).verifier.vkey)[0] == 1
    assert run(good, "--log-key", "nonsense")[0] == 2
    assert run(bad)[0] == 1
    status, output = run(garbage, "--json")
    assert status == 1
    assert json.loads(output)["ok"] is False
