"""The ledger's and the vault's keys in a real installation: from a file, the environment or a command; rotated; never shown."""

import json
import subprocess

import pytest

from noticesvc.errors import NoteError
from noticesvc.ledger import checkpoint
from noticesvc.ledger.key import Verifier
from tests.acceptance.test_running import Installed, refused
from tests.support.asking import caller
from tests.support.waiting import seen


@pytest.fixture
def house(tmp_path):
    """An installation on SQLite; whatever still runs at the end is killed."""
    made = Installed(tmp_path / "svc").init()
    yield made
    for process in made.processes:
        process.kill()
        process.wait()
        process.stdout.close()


def vkeys(house):
    return house.get("/v1/ledger/key").text.splitlines()


def posted(house):
    """A recipient and an in-site notice, so that something new is signed."""
    with caller(f"http://127.0.0.1:{house.port}/v1", house.secret) as http:
        assert http.put("/recipients/u-1/contacts", json={"contacts": [], "source": "registration"}).status_code == 200
        answer = http.post("/notices", json={
            "recipient_id": "u-1", "category": "platform", "channels": ["in_site"], "content": {"subject": "S", "body": "B"}})
    assert answer.status_code == 202, answer.text
    return answer.json()["id"]


def proof(house, notice_id):
    """The proof, which is answered with 503 while the checkpoint that covers it is not signed yet."""
    path = f"/v1/notices/{notice_id}/proof?reason=test"
    answer = seen(lambda: house.get(path, house.secret), lambda answer: answer.status_code != 503)
    assert answer.status_code == 200, answer.text
    return answer.json()


def signed_by(house, vkey, above=-1):
    """The served checkpoint, once this key signed one of more than `above` entries."""
    def look():
        text = house.get("/v1/ledger/checkpoint").text
        try:
            return checkpoint.verify(text, [Verifier.parse(vkey)]).checkpoint, text
        except NoteError:
            return None, text
    return seen(look, lambda found: found[0] is not None and found[0].size > above)[0]


def test_the_ledger_key_is_rotated_and_the_old_one_still_verifies(house, tmp_path):
    """A new key signs after a restart; the retired one stays served and in the file, old proofs verify, the audit is content."""
    house.serve()
    (old,) = vkeys(house)
    before = proof(house, posted(house))
    done = house.run("ledger", "rotate", "--config", str(house.config))
    assert done.returncode == 0, done.stderr
    new = done.stdout.strip()
    assert (house.folder / "ledger.key").stat().st_mode & 0o777 == 0o600
    assert (house.folder / "ledger.key").read_text().splitlines()[1:] == [old]
    assert house.stop() == 0
    house.serve()
    assert vkeys(house) == [new, old]
    signed_by(house, new)
    (tmp_path / "old.json").write_text(json.dumps(before))
    (tmp_path / "new.json").write_text(json.dumps(proof(house, posted(house))))
    assert house.run("verify", str(tmp_path / "old.json"), "--log-key", old).returncode == 0
    assert house.run("verify", str(tmp_path / "new.json"), "--log-key", old, "--log-key", new).returncode == 0
    assert house.run("verify", str(tmp_path / "new.json"), "--log-key", old).returncode == 1
    audit = house.run("ledger", "audit", "--open", "--config", str(house.config))
    assert audit.returncode == 0, audit.stdout


def test_a_host_without_the_new_key_file_does_not_sign(house):
    """A worker that was left with the old file refuses to start on what the new key signed."""
    old = (house.folder / "ledger.key").read_text()
    house.serve()
    assert house.stop() == 0
    new = house.run("ledger", "rotate", "--config", str(house.config)).stdout.strip()
    house.serve()
    signed_by(house, new)
    assert house.stop() == 0
    (house.folder / "ledger.key").write_text(old)
    done = house.run("serve", "--config", str(house.config))
    assert done.returncode == 1
    assert "After a rotation every host needs the new key file" in done.stderr.splitlines()[-1]


def test_keys_come_from_the_environment_or_a_command_instead_of_files(house, tmp_path):
    """Without the files, the environment serves; then a program that prints them; the same ledger goes on."""
    texts = {name: (house.folder / f"{name}.key").read_text() for name in ("ledger", "vault")}
    house.serve()
    before = vkeys(house)
    assert house.stop() == 0
    for name, text in texts.items():
        (house.folder / f"{name}.key").unlink()
        (tmp_path / name).write_text(text)
    refused(house.run("serve", "--config", str(house.config)), "key file cannot be read")
    house.serve(**{f"NOTICESVC_{name.upper()}__KEY": text for name, text in texts.items()})
    assert vkeys(house) == before
    proof(house, posted(house))
    processes = subprocess.run(["ps", "axww", "-o", "args"], capture_output=True, text=True, check=True).stdout
    # `PRIVATE+KEY+name+hex+base64`, and `version base64`: the base64, in which a plus may stand too.
    secrets = [texts["ledger"].strip().split("+", 4)[4], *[line.split()[1] for line in texts["vault"].splitlines()]]
    assert [len(secret) for secret in secrets] == [44, 44, 44]
    assert house.stop() == 0
    commands = {f"NOTICESVC_{name.upper()}__KEY_COMMAND": json.dumps(["/bin/cat", str(tmp_path / name)]) for name in texts}
    house.serve(**commands)
    proof(house, posted(house))
    refused(house.run("ledger", "rotate", "--config", str(house.config), **commands), "does not come from a file")
    refused(house.run("vault", "rotate", "--config", str(house.config), **commands), "does not come from a file")
    logs = "".join(path.read_text() for path in house.folder.glob("log-*"))
    assert [secret for secret in secrets if secret in logs + processes] == []


@pytest.mark.parametrize(("name", "command", "words"), [
    ("LEDGER", ["/bin/false"], ["ledger.key_command", "status 1"]),
    ("VAULT", ["/no/such/program"], ["vault.key_command", "cannot be run"]),
    ("LEDGER", ["/bin/sh", "-c", "echo PRIVATE+KEY+secretsecret"], ["ledger.key_file"]),
    ("VAULT", ["/bin/sh", "-c", "echo 1 c2VjcmV0c2VjcmV0; echo secretsecret >&2"], ["vault key"]),
])
def test_a_command_that_gives_no_key_is_refused_without_repeating_it(house, name, command, words):
    """Whatever the command prints, the refusal is one sentence that names the setting and none of the output."""
    done = house.run("serve", "--config", str(house.config), **{f"NOTICESVC_{name}__KEY_COMMAND": json.dumps(command)})
    refused(done, *words)
    assert "secretsecret" not in done.stdout + done.stderr
    assert "c2VjcmV0" not in done.stdout + done.stderr


@pytest.mark.parametrize("name", ["ledger.key", "vault.key"])
def test_a_key_that_others_can_read_is_refused(house, name):
    """Mode 0600 is enforced at every start."""
    (house.folder / name).chmod(0o640)
    refused(house.run("serve", "--config", str(house.config)), "read by others", "chmod 600")
