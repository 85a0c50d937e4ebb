"""A backup is restored: the real service notices it, sends nothing, names what is missing, and goes on only when told to."""

import shutil
import sqlite3

import httpx

from noticesvc.ledger import checkpoint
from noticesvc.ledger.key import Verifier
from tests.acceptance.test_ledger_keys import house, posted, proof, signed_by, vkeys  # noqa: F401 (the fixture)
from tests.acceptance.test_running import refused
from tests.support.asking import caller
from tests.support.waiting import PATIENCE_S, seen


def backup(house, target):  # noqa: F811
    with sqlite3.connect(house.folder / "noticesvc.db") as source, sqlite3.connect(target) as copy:
        source.backup(copy)
    source.close()
    copy.close()


def test_a_restored_backup_is_noticed_and_gone_on_with_deliberately(house, tmp_path):  # noqa: F811
    """Read-only with the missing entries named, nothing sent or signed; after `ledger recover` the log goes on with an entry of it."""
    house.serve()
    (vkey,) = vkeys(house)
    proof(house, posted(house))
    assert house.stop() == 0
    backup(house, tmp_path / "backup.db")
    kept = checkpoint.verify((house.folder / "checkpoint").read_bytes(), [Verifier.parse(vkey)]).checkpoint.size
    house.serve()
    proof(house, posted(house))
    assert house.stop() == 0
    lost = checkpoint.verify((house.folder / "checkpoint").read_bytes(), [Verifier.parse(vkey)]).checkpoint.size
    assert lost > kept
    for name in ("noticesvc.db-wal", "noticesvc.db-shm"):
        (house.folder / name).unlink(missing_ok=True)
    shutil.copy(tmp_path / "backup.db", house.folder / "noticesvc.db")
    # 1. It starts, reads, and does nothing else.
    house.serve()
    ready = house.get("/readyz")  # it was known before `ready`
    assert ready.status_code == 503
    assert f"entries {kept} to {lost - 1} are missing" in ready.json()["checks"]["signer"]
    headers = {"Authorization": f"Bearer {house.secret}"}
    url = f"http://127.0.0.1:{house.port}/v1"
    with caller(url, house.secret) as http:
        assert http.get("/recipients/u-1").status_code == 200
    for method, path, body in (("PUT", "/recipients/u-2/contacts", {"contacts": [], "source": "registration"}),
                               ("POST", "/notices", {"recipient_id": "u-1", "category": "platform", "channels": ["in_site"],
                                                     "content": {"subject": "S", "body": "B"}})):
        answer = httpx.request(method, url + path, json=body, headers=headers, trust_env=False, timeout=PATIENCE_S)
        assert answer.status_code == 503, answer.text
    assert f"entries {kept} to {lost - 1} are missing" in house.log()
    assert house.stop() == 0
    assert checkpoint.verify((house.folder / "checkpoint").read_bytes(), [Verifier.parse(vkey)]).checkpoint.size == lost
    # 2. An operator decides.
    done = house.run("ledger", "recover", "--config", str(house.config), "--yes")
    assert done.returncode == 0, done.stderr
    assert f"entries {kept} to {lost - 1} are missing" in done.stdout
    assert (house.folder / f"checkpoint.lost-{lost}").exists()
    house.serve()
    signed_by(house, vkey, above=kept)  # the sequencer takes the entry of the recovery in soon after `ready`
    seen(lambda: house.get("/readyz"), lambda answer: answer.status_code == 200)
    proof(house, posted(house))
    audit = house.run("ledger", "audit", "--open", "--config", str(house.config))
    assert audit.returncode == 0, audit.stdout
    against = house.run("ledger", "audit", "--config", str(house.config), "--against", str(house.folder / f"checkpoint.lost-{lost}"))
    assert against.returncode == 1
    refused(house.run("ledger", "recover", "--config", str(house.config), "--yes"), "nothing is missing")
