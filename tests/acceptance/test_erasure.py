"""A recipient is destroyed in a running installation; afterwards nobody finds them with every key of the house in hand.

The service is a real process with the sandbox on both databases. After the sweep the database is vacuumed, and everything sealed
in it and in the journals is opened with the vault key; the same search finds all of a neighbour.
"""

import asyncio
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import asyncpg
from sqlalchemy import make_url

from noticesvc import config
from noticesvc.bootstrap import key_sources
from noticesvc.bootstrap.installation import open_database
from tests.support import shell
from tests.support.asking import caller
from tests.support.spying import loot
from tests.support.waiting import PATIENCE_S, seen

COMMAND = [sys.executable, "-c", "from noticesvc.cli.main import main; main()"]
DISTINCT = {"zhang": ("u-zhang-7731", "+8613800138000", "zhang.qi@mail.example.cn"),
            "li": ("u-li-8842", "+8613900139000", "li.ba@mail.example.cn")}


class House:
    """An installation with a sandbox, its process and its caller."""

    def __init__(self, folder: Path, database_url: str) -> None:
        self.folder, self.config = folder, folder / "config.toml"
        self.env = {name: value for name, value in os.environ.items() if not name.startswith("NOTICESVC_")} | {
            "NOTICESVC_SERVER__PORT": "0", "NOTICESVC_VAULT__RETENTION_DAYS": "0", "NOTICESVC_EVENTS__URL": "http://127.0.0.1:9/",
            "NOTICESVC_EVENTS__SECRET": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}
        made = shell.run("init", "--dir", str(folder), "--database", database_url, env=self.env)
        assert made.returncode == 0, made.stderr
        self.key = made.stdout.splitlines()[-1]
        self.certificates: dict[str, str] = {}

    def __enter__(self) -> "House":
        with (self.folder / "log").open("w") as log:
            self.process = subprocess.Popen([*COMMAND, "serve", "--config", str(self.config)], env=self.env, stdout=subprocess.PIPE,
                                            stderr=log, text=True)
        url = self.process.stdout.readline().split()[-1]
        self.http = caller(url, self.key)
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(PATIENCE_S) == 0
        self.process.stdout.close()

    def call(self, method: str, path: str, status: int = 200, **more: object) -> dict:
        reply = self.http.request(method, path, **more)
        assert reply.status_code == status, reply.text
        return reply.json() if reply.content else {}

    def until(self, path: str, holds) -> dict:
        return seen(lambda: self.call("GET", path), holds)


def _life(house: House, name: str) -> tuple[str, str]:
    """All that a recipient can leave behind: the notice by template, and the one sent directly."""
    recipient_id, phone, mailbox = DISTINCT[name]
    house.call("PUT", f"/v1/recipients/{recipient_id}/contacts", json={"source": f"crm-{name}", "source_version": 3, "contacts": [
        {"channel": "sms", "address": phone, "confirmation": "confirmed"},
        {"channel": "email", "address": mailbox, "confirmation": "confirmed"}]})
    house.call("PUT", f"/v1/recipients/{recipient_id}/contacts", json={"source": f"crm-{name}", "source_version": 4, "contacts": [
        {"channel": "postal", "address": f"北京市海淀区{name}路七号", "confirmation": "identified"},
        {"channel": "sms", "address": phone, "confirmation": "confirmed"},
        {"channel": "email", "address": mailbox, "confirmation": "confirmed"}]})
    house.call("POST", f"/v1/recipients/{recipient_id}/acceptances", 201, json={
        "agreement": "用户协议", "version": f"v-{name}", "accepted_at": "2026-01-01T00:00:00+08:00", "document_sha256": "ab" * 32,
        "presentation": f"弹窗-{name}"})
    document = house.http.post("/v1/documents", files={"file": ("a.pdf", f"%PDF-1.7 附件-{name}".encode(), "application/pdf")}).json()
    by_template = house.call("POST", "/v1/notices", 202, headers={"Idempotency-Key": f"idem-{name}"}, json={
        "recipient_id": recipient_id, "category": "handling", "channels": ["in_site", "sms", "email"], "documents": [document["id"]],
        "template": {"name": "t", "params": {"who": f"参数-{name}"}}, "reference": f"ref-{name}", "metadata": {"m": f"meta-{name}"}})["id"]
    batch = house.call("POST", "/v1/notices/batch", json={"notices": [{
        "recipient_id": recipient_id, "category": "judicial", "channels": ["in_site", "sms", "email"], "idempotency_key": f"batch-{name}",
        "case": {"court": f"法院-{name}", "case_number": f"(2026)-{name}", "stage": "first_instance", "document_type": "传票"},
        "content": {"subject": f"传票-{name}", "body": f"正文-{name}", "sms": f"短信-{name}：{{link}}", "sms_carries": "link"}}]})
    direct = batch["results"][0]["id"]
    for notice_id in (by_template, direct):
        house.until(f"/v1/notices/{notice_id}", lambda n: all(d["state"] == "delivered" for d in n["deliveries"]))
        house.until(f"/v1/notices/{notice_id}", lambda n: any(e["kind"] == "arrived" and e["channel"] == "sms" for e in n["evidence"]))
        house.call("GET", f"/v1/notices/{notice_id}/proof", params={"reason": f"查-{name}"})
    certificate = house.http.get(f"/v1/notices/{direct}/proof", params={"reason": f"查-{name}"}, headers={"Accept": "application/pdf"})
    assert certificate.status_code == 200, certificate.text
    house.certificates[name] = certificate.headers["content-location"]
    message = house.call("GET", f"/v1/inbox/{recipient_id}/messages")["items"][0]
    house.call("POST", f"/v1/inbox/{recipient_id}/messages/{message['id']}/acknowledged")
    link = next(re.search(r"/d/\S+", m["text"])[0] for m in house.call("GET", "/sandbox/messages")["items"]
                if m["to"] == phone and "/d/" in m["text"])
    assert house.http.get(link).status_code == 200
    return by_template, direct


def _words(name: str) -> list[str]:
    return [*DISTINCT[name], *(f"{kind}-{name}" for kind in ("crm", "v", "弹窗", "附件", "参数", "ref", "meta", "法院", "(2026)", "传票",
                                                             "正文", "短信", "查")), f"海淀区{name}路"]


async def _opened(house: House, *, vacuum: bool):
    settings = config.load(house.config, house.env)
    database = open_database(settings)
    try:
        if vacuum:
            if database.is_sqlite:
                with sqlite3.connect(house.folder / "noticesvc.db") as raw:
                    raw.execute("VACUUM")
                    raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            else:
                connection = await asyncpg.connect(settings.database.url.get_secret_value().replace("+asyncpg", ""))
                await connection.execute("VACUUM FULL")
                await connection.close()
        journals = list((house.folder / settings.worker.journal_dir).glob("*"))
        return await database.read(loot, key_sources.vault(settings), journals)
    finally:
        await database.close()


def test_with_every_key_in_hand_nothing_is_found(database_url: str, tmp_path: Path) -> None:
    """Before, the search finds all of both; after sweep and vacuum nothing of the one and all of the other; proofs and audit hold."""
    url = database_url if make_url(database_url).get_backend_name() != "sqlite" else "sqlite+aiosqlite:///noticesvc.db"
    house = House(tmp_path / "house", url)
    with house:
        house.call("PUT", "/v1/templates/t", 201, json={"subject": "整改", "body": "您好 {{ who }}", "sms": "整改 {{ who }}",
                                                       "sms_carries": "full"})
        lives = {name: _life(house, name) for name in DISTINCT}
        before = asyncio.run(_opened(house, vacuum=False))
        for name in DISTINCT:
            assert [word for word in _words(name) if not before.holds(word.encode())] == []
        shred = house.call("POST", f"/v1/recipients/{DISTINCT['zhang'][0]}/anonymise", json={"reason": "注销"})
        assert shred["shred_at"] == shred["anonymised_at"]
        for notice_id in lives["zhang"]:
            house.until(f"/v1/notices/{notice_id}", lambda n: n["recipient_id"] is None)
            bundle = house.call("GET", f"/v1/notices/{notice_id}/proof", params={"reason": "之后"})
            assert bundle["destroyed"]
            file = tmp_path / f"{notice_id}.json"
            file.write_text(json.dumps(bundle))
            done = shell.run("verify", str(file), "--log-key", house.http.get("/v1/ledger/key").text.split()[0], env=house.env)
            assert done.returncode == 0, done.stdout
        assert house.http.get(f"/v1/inbox/{DISTINCT['zhang'][0]}/messages").status_code == 404
        assert [house.http.get(house.certificates[name]).status_code for name in ("zhang", "li")] == [404, 200]
    after = asyncio.run(_opened(house, vacuum=True))
    assert [word for word in _words("zhang") if after.holds(word.encode())] == []
    assert [word for word in _words("li") if not after.holds(word.encode())] == []
    gone = {owner for owner in before.salts if owner and owner not in after.salts}
    assert len(gone) == 1
    assert not before.salts[gone.pop()] & {salt for salts in after.salts.values() for salt in salts}
    for path in [p for p in house.folder.rglob("*") if p.is_file()]:
        data = path.read_bytes()
        assert [word for word in _words("zhang") if word.encode() in data] == [], path.name
    pdfs = [plain for plain in after.plain if plain.startswith(b"%PDF-1.7\n")]
    assert len(pdfs) == 1
    audit = shell.run("ledger", "audit", "--open", "--config", str(house.config), env=house.env)
    assert audit.returncode == 0, audit.stdout + audit.stderr
