"""What happens in the demo, in ten steps, each over HTTP as any caller would do it.

The people are made up; their addresses choose what the sandbox does with them (`bounce…@` bounces after two seconds, a number
that ends in 03 is busy once, one that ends in 05 is reported twice).
"""

import csv
import hashlib
import json
import re
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

import httpx

from noticesvc.cli.broadcast_watch import sentence
from noticesvc.cli.demo.house import PROGRAM, DemoFailed
from noticesvc.cli.demo.screen import Screen
from noticesvc.domain import instant

_WAIT_S, _LOOK_EVERY_S = 60.0, 0.15
_LONGEST_PROOF_TRIES = 10
_AGREEMENT = "用户协议 2026 年版全文（演示）"
SUBJECT, SMS = "用户协议更新通知", "【示例科技】用户协议已更新，将于十日后生效，请阅读：{link}"


@dataclass(frozen=True, slots=True)
class Person:
    """A recipient of the demo; `will` says what the sandbox will do."""

    recipient_id: str
    name: str
    sms: str
    email: str
    will: str


LI = Person("u-1001", "李明", "+8613800138000", "li.ming@example.cn", "changes the mailbox after the broadcast is drafted")
WANG = Person("u-1002", "王芳", "+8613900139003", "bounce.wang@example.cn",
              "has a dead mailbox and a busy phone, and the account is locked")
CHEN = Person("u-1003", "陈静", "+8613700137005", "chen.jing@example.cn", "has a gateway that reports twice and out of order")
PEOPLE = (LI, WANG, CHEN)
NEW_MAILBOX = "li.ming@new.example.cn"


class Story:
    """The demo, once."""

    def __init__(self, http: httpx.Client, out: Screen, folder: Path, key: str) -> None:
        self._http, self._out, self._folder, self._key = http, out, folder, key
        self._broadcast: dict[str, Any] = {}  # as last seen
        self._ids: dict[str, str] = {}  # notice by recipient
        self._last: dict[str, dict[str, Any]] = {}  # the notice as last seen, by recipient
        self._by_mail: dict[str, Any] | None = None  # Wang's notice while the mail counted

    def tell(self) -> None:
        """All of it. Raises DemoFailed, httpx.HTTPError, or what an operation refuses."""
        self._people()
        self._draft()
        self._approve()
        self._follow()
        self._contact_in_effect()
        self._revised()
        self._proof()
        self._coverage()
        self._sandbox()
        self._next()

    def _people(self) -> None:
        """1. Three recipients: contacts, and the version of the agreement that each accepted."""
        self._out.step(1, "Three recipients, their contacts, and the agreement that they accepted")
        for person in PEOPLE:
            self._put(f"/v1/recipients/{person.recipient_id}/contacts", _contacts(person.sms, person.email, 1))
            self._ask("POST", f"/v1/recipients/{person.recipient_id}/acceptances", {
                "agreement": "用户协议", "version": "2026-01", "accepted_at": instant.text(datetime.now(UTC) - timedelta(days=200)),
                "document_sha256": hashlib.sha256(_AGREEMENT.encode()).hexdigest(),
                "presentation": "full text shown; clauses 6.2 and 6.3 in bold; box ticked by the recipient"})
        self._put(f"/v1/recipients/{WANG.recipient_id}/account", {"state": "locked"})
        self._out.people(PEOPLE)

    def _draft(self) -> None:
        """2. The draft of a broadcast: one notice for all, whom it goes to, what one of them would get; then a mailbox changes."""
        effective = datetime.now(instant.SHANGHAI).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=10)
        body = Template(files("noticesvc.cli.demo").joinpath("agreement-update.md").read_text("utf-8")).substitute(
            effective_on=f"{effective.year} 年 {effective.month} 月 {effective.day} 日")
        self._out.step(2, "A broadcast to all of them: category agreement, by in_site, sms and email at once")
        self._out.notice(SUBJECT, body)
        self._broadcast = self._ask("POST", "/v1/broadcasts", {
            "name": "用户协议更新 2026-12", "audience": {"type": "upload"},
            "notice": {"category": "agreement", "channels": ["in_site", "sms", "email"], "effective_at": effective.isoformat(),
                       "reference": "agr-2026-12", "content": {"subject": SUBJECT, "body": body, "sms": SMS, "sms_carries": "link"}}})
        path = f"/v1/broadcasts/{self._broadcast['id']}"
        rows = ["recipient_id", *(person.recipient_id for person in PEOPLE), CHEN.recipient_id, "u-9999"]
        answer = self._http.post(f"{path}/recipients", content="\r\n".join(rows).encode(), headers={"Content-Type": "text/csv"})
        _accepted(answer, "POST", f"{path}/recipients")
        self._out.uploaded(answer.json())
        self._out.preview(WANG, self._ask("GET", f"{path}/preview", params={"recipient_id": WANG.recipient_id}))
        self._put(f"/v1/recipients/{LI.recipient_id}/contacts", _contacts(LI.sms, NEW_MAILBOX, 2))
        self._out.says(f"{LI.recipient_id} {LI.name}: the mailbox changes to {NEW_MAILBOX} now, after the draft was made")

    def _approve(self) -> None:
        """3. Four eyes: the creator's key is refused, another person's freezes audience and content and starts it."""
        self._out.step(3, "Approval, by the key of a second person")
        path = f"/v1/broadcasts/{self._broadcast['id']}/approve"
        own = self._http.post(path)
        if own.status_code != 403:
            raise DemoFailed(f"The creator's own approval was answered with {own.status_code} instead of 403.")
        self._out.says(f"the creator's key: 403, {own.json()['detail']}")
        from noticesvc.cli.running import with_database
        from noticesvc.operations import keys
        second = with_database(self._folder / "config.toml", lambda database: database.write(
            keys.create, "second-person", ("broadcasts:approve",), ()))
        answer = self._ask("POST", path, headers={"Authorization": f"Bearer {second}"})
        self._out.says(f"the second person's key: 200, {answer['state']}; audience, content and rule are frozen")

    def _follow(self) -> None:
        """4. Until every delivery is finished; in between the bounce strikes, and Wang's account is unlocked."""
        self._out.step(4, "Delivery, live")
        self._until(lambda: len(self._notices()) == len(PEOPLE), "Not every notice was made")
        with self._out.progress(PEOPLE) as shown:
            self._watch(shown, self._bounced)
            self._put(f"/v1/recipients/{WANG.recipient_id}/account", {"state": "active"})
            shown.says(f"{WANG.recipient_id} {WANG.name}: the mail bounced, service moved; the account is unlocked now, so the "
                       "in-site message can arrive")
            self._watch(shown, self._finished)
        self._until(lambda: self._seen()["state"] == "completed", "The broadcast was not completed")
        self._out.says(sentence(self._broadcast))

    def _notices(self) -> dict[str, str]:
        found = self._ask("GET", "/v1/notices", params={"broadcast_id": self._broadcast["id"]})["items"]
        self._ids = {one["recipient_id"]: one["id"] for one in found}
        return self._ids

    def _seen(self) -> dict[str, Any]:
        self._broadcast = self._ask("GET", f"/v1/broadcasts/{self._broadcast['id']}")
        return self._broadcast

    @staticmethod
    def _until(holds: Callable[[], bool], otherwise: str) -> None:
        ends = time.monotonic() + _WAIT_S
        while not holds():
            if time.monotonic() > ends:
                raise DemoFailed(f"{otherwise} within {_WAIT_S:.0f} seconds.")
            time.sleep(_LOOK_EVERY_S)

    def _watch(self, shown: Any, until: Callable[[], bool]) -> None:
        ends = time.monotonic() + _WAIT_S
        while True:
            for recipient_id, notice_id in self._ids.items():
                self._last[recipient_id] = self._ask("GET", f"/v1/notices/{notice_id}")
            if self._last[WANG.recipient_id]["service"]["channel"] == "email":
                self._by_mail = self._last[WANG.recipient_id]
            shown.update(self._last)
            if until():
                return
            if time.monotonic() > ends:
                raise DemoFailed(f"Not every delivery was finished within {_WAIT_S:.0f} seconds.")
            time.sleep(_LOOK_EVERY_S)

    def _bounced(self) -> bool:
        wang = self._last[WANG.recipient_id]
        states = {one["channel"]: one["state"] for one in wang["deliveries"]}
        return (states["email"], states["sms"]) == ("failed", "delivered")

    def _finished(self) -> bool:
        return all(one["state"] in {"delivered", "failed"} for notice in self._last.values() for one in notice["deliveries"])

    def _contact_in_effect(self) -> None:
        """5. Which mailbox was in effect when: at the draft the old one, at dispatch the new one."""
        self._out.step(5, "The contact in effect at dispatch is the one that was used")
        notice = self._last[LI.recipient_id]
        mail = next(one for one in notice["deliveries"] if one["channel"] == "email")
        rows = []
        for what, at in (("drafted", self._broadcast["created_at"]), ("dispatched", mail["attempts"][0]["started_at"])):
            found = self._ask("GET", f"/v1/recipients/{LI.recipient_id}/contacts", params={"at": at})["contacts"]
            one = next(one for one in found if one["channel"] == "email")
            rows.append((what, at, one["address"], one["effective_from"], one["contact_id"] == mail["contact"]["contact_id"]))
        self._out.contacts(rows)
        if [used for *_, used in rows] != [False, True]:
            raise DemoFailed("The mail did not go to the contact in effect at dispatch.")

    def _revised(self) -> None:
        """6. The whole story of the notice whose mail bounced."""
        from noticesvc.cli.running import with_installation
        from noticesvc.operations import finding
        self._out.step(6, f"The story of {WANG.recipient_id} {WANG.name}: what counted, and what it came to")
        story = with_installation(self._folder / "config.toml", lambda here: here.database.read(
            finding.story, here.world, self._ids[WANG.recipient_id]))
        self._out.story(story, self._by_mail)

    def _proof(self) -> None:
        """7. The proof, fetched over HTTP and verified by another process that knows the ledger's key alone."""
        self._out.step(7, "The proof, verified offline")
        path = f"/v1/notices/{self._ids[WANG.recipient_id]}/proof"
        for _ in range(_LONGEST_PROOF_TRIES):
            answer = self._http.get(path, params={"reason": "demo"})
            if answer.status_code != 503:
                break
            time.sleep(float(answer.headers.get("Retry-After", "1")))
        _accepted(answer, "GET", path)
        proof = self._folder / f"proof-{WANG.recipient_id}.json"
        proof.write_bytes(answer.content)
        vkey = self._http.get("/v1/ledger/key").text.splitlines()[0]
        (self._folder / "ledger.vkey").write_text(vkey + "\n", "utf-8")
        self._out.command(f"verify {proof} --log-key {vkey}")
        done = subprocess.run([*PROGRAM, "verify", str(proof), "--log-key", vkey],  # noqa: S603 (this program itself)
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, timeout=60)
        self._out.verified(done.stdout.decode("utf-8", "replace"))
        if done.returncode != 0:
            raise DemoFailed("The proof does not verify.")

    def _coverage(self) -> None:
        """8. Who was served, when and by what; whoever was not would stand there with the reason."""
        self._out.step(8, "The coverage report")
        path = f"/v1/broadcasts/{self._broadcast['id']}/report.csv"
        answer = self._http.get(path)
        _accepted(answer, "GET", path)
        (self._folder / "report.csv").write_bytes(answer.content)
        self._out.report(list(csv.DictReader(answer.content.decode("utf-8-sig").splitlines())))

    def _sandbox(self) -> None:
        """9. What was "sent"."""
        self._out.step(9, "What the sandbox took instead of sending it")
        self._out.messages(self._ask("GET", "/sandbox/messages")["items"])

    def _next(self) -> None:
        """10. Things to try, each with real ids; only what this service answers is named."""
        self._out.step(10, "What to try next")
        notice, key = self._ids[WANG.recipient_id], f"-H 'Authorization: Bearer {self._key}'"
        url = str(self._http.base_url).rstrip("/")
        tries = [("the notice with service, deliveries and evidence", f"/v1/notices/{notice}"),
                 ("the broadcast and its counts", f"/v1/broadcasts/{self._broadcast['id']}"),
                 ("all notices, the newest first", "/v1/notices?limit=10"),
                 ("the inbox of the platform's web page", f"/v1/inbox/{CHEN.recipient_id}/messages"),
                 ("every version of a contact", f"/v1/recipients/{LI.recipient_id}/contacts/history"),
                 ("the signed checkpoint of the ledger, public", "/v1/ledger/checkpoint")]
        for what, path in tries:
            if self._http.get(path).status_code == 200:
                self._out.try_(what, f"curl -sS {key + ' ' if 'public' not in what else ''}'{url}{path}'")
        link = self._link()
        if link is not None and self._http.get(link).status_code == 200:
            self._out.try_("the document page behind the link in the SMS, in a browser", link)
        config = self._folder / "config.toml"
        for what, words in (("who was served at this address?", f"notice find --config {config} --address {WANG.email}"),
                            ("the whole story", f"notice show --config {config} {notice}"),
                            ("recompute the whole ledger", f"ledger audit --config {config}")):
            self._out.try_(what, self._out.program(words))

    def _link(self) -> str | None:
        items = self._ask("GET", "/sandbox/messages")["items"]
        found = [re.search(r"https?://\S+/d/\S+", one["text"]) for one in items if one["channel"] == "sms"]
        return next((one[0] for one in found if one), None)

    def _put(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return self._ask("PUT", path, body)

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None, *, params: Mapping[str, str] | None = None,
             headers: Mapping[str, str] | None = None) -> dict[str, Any]:
        """One request; DemoFailed with the problem's own words unless it succeeds."""
        answer = self._http.request(method, path, json=body, params=params, headers=headers)
        _accepted(answer, method, path)
        found: dict[str, Any] = answer.json()
        return found


def _contacts(sms: str, email: str, version: int) -> dict[str, Any]:
    return {"contacts": [{"channel": "sms", "address": sms, "confirmation": "confirmed"},
                         {"channel": "email", "address": email, "confirmation": "confirmed"}],
            "source": "registration", "source_version": version, "locale": "zh-CN"}


def _accepted(answer: httpx.Response, method: str, path: str) -> None:
    if answer.is_success:
        return
    try:
        problem = answer.json()
        faults = "; ".join(f"{one['pointer']} {one['detail']}" for one in problem.get("errors", ()))
        said = f"{problem['title']}: {problem['detail']}{' ' + faults if faults else ''}"
    except (json.JSONDecodeError, KeyError, TypeError):
        said = "no problem document"
    raise DemoFailed(f"{method} {path} was answered with {answer.status_code} ({said})")
