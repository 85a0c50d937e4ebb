"""What happens in the demo, in eight steps, each over HTTP as any caller would do it.

The people are made up; their addresses choose what the sandbox does with them (`bounce…@` bounces after two seconds, a number
that ends in 03 is busy once, one that ends in 05 is reported twice).
"""

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


LI = Person("u-1001", "李明", "+8613800138000", "li.ming@example.cn", "changes the mailbox after the notice is accepted")
WANG = Person("u-1002", "王芳", "+8613900139003", "bounce.wang@example.cn",
              "has a dead mailbox and a busy phone, and the account is locked")
CHEN = Person("u-1003", "陈静", "+8613700137005", "chen.jing@example.cn", "has a gateway that reports twice and out of order")
PEOPLE = (LI, WANG, CHEN)
NEW_MAILBOX = "li.ming@new.example.cn"


class Story:
    """The demo, once."""

    def __init__(self, http: httpx.Client, out: Screen, folder: Path, key: str) -> None:
        self._http, self._out, self._folder, self._key = http, out, folder, key
        self._ids: dict[str, str] = {}  # notice by recipient
        self._last: dict[str, dict[str, Any]] = {}  # the notice as last seen, by recipient
        self._by_mail: dict[str, Any] | None = None  # Wang's notice while the mail counted

    def tell(self) -> None:
        """All of it. Raises DemoFailed, httpx.HTTPError, or what an operation refuses."""
        self._people()
        self._send()
        self._follow()
        self._contact_in_effect()
        self._revised()
        self._proof()
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

    def _send(self) -> None:
        """2. The notice, accepted for each; then a contact changes before dispatch."""
        effective = datetime.now(instant.SHANGHAI).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=10)
        body = Template(files("noticesvc.cli.demo").joinpath("agreement-update.md").read_text("utf-8")).substitute(
            effective_on=f"{effective.year} 年 {effective.month} 月 {effective.day} 日")
        self._out.step(2, "One notice to each: category agreement, by in_site, sms and email at once")
        self._out.notice(SUBJECT, body)
        notice = {"category": "agreement", "channels": ["in_site", "sms", "email"], "effective_at": effective.isoformat(),
                  "content": {"subject": SUBJECT, "body": body, "sms": SMS, "sms_carries": "link"}}
        for person in PEOPLE:
            more = {"not_before": instant.text(datetime.now(UTC) + timedelta(seconds=2))} if person is LI else {}
            reference = f"demo-{person.recipient_id}"
            answer = self._ask("POST", "/v1/notices", notice | more | {"recipient_id": person.recipient_id, "reference": reference},
                               headers={"Idempotency-Key": reference})
            self._ids[person.recipient_id] = answer["id"]
            self._out.accepted(person, answer)
        self._put(f"/v1/recipients/{LI.recipient_id}/contacts", _contacts(LI.sms, NEW_MAILBOX, 2))
        self._out.says(f"{LI.recipient_id} {LI.name}: the mailbox changes to {NEW_MAILBOX} now, before the notice goes out "
                       "(it has a not_before)")

    def _follow(self) -> None:
        """3. Until every delivery is finished; in between the bounce strikes, and Wang's account is unlocked."""
        self._out.step(3, "Delivery, live")
        with self._out.progress(PEOPLE) as shown:
            self._watch(shown, self._bounced)
            self._put(f"/v1/recipients/{WANG.recipient_id}/account", {"state": "active"})
            shown.says(f"{WANG.recipient_id} {WANG.name}: the mail bounced, service moved; the account is unlocked now, so the "
                       "in-site message can arrive")
            self._watch(shown, self._finished)

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
        """4. Which mailbox was in effect when: at acceptance the old one, at dispatch the new one."""
        self._out.step(4, "The contact in effect at dispatch is the one that was used")
        notice = self._last[LI.recipient_id]
        mail = next(one for one in notice["deliveries"] if one["channel"] == "email")
        rows = []
        for what, at in (("accepted", notice["accepted_at"]), ("dispatched", mail["attempts"][0]["started_at"])):
            found = self._ask("GET", f"/v1/recipients/{LI.recipient_id}/contacts", params={"at": at})["contacts"]
            one = next(one for one in found if one["channel"] == "email")
            rows.append((what, at, one["address"], one["effective_from"], one["contact_id"] == mail["contact"]["contact_id"]))
        self._out.contacts(rows)
        if [used for *_, used in rows] != [False, True]:
            raise DemoFailed("The mail did not go to the contact in effect at dispatch.")

    def _revised(self) -> None:
        """5. The whole story of the notice whose mail bounced."""
        from noticesvc.cli.running import with_installation
        from noticesvc.operations import finding
        self._out.step(5, f"The story of {WANG.recipient_id} {WANG.name}: what counted, and what it came to")
        story = with_installation(self._folder / "config.toml", lambda here: here.database.read(
            finding.story, here.world, self._ids[WANG.recipient_id]))
        self._out.story(story, self._by_mail)

    def _proof(self) -> None:
        """6. The proof, fetched over HTTP and verified by another process that knows the ledger's key alone."""
        self._out.step(6, "The proof, verified offline")
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

    def _sandbox(self) -> None:
        """7. What was "sent"."""
        self._out.step(7, "What the sandbox took instead of sending it")
        self._out.messages(self._ask("GET", "/sandbox/messages")["items"])

    def _next(self) -> None:
        """8. Things to try, each with real ids; only what this service answers is named."""
        self._out.step(8, "What to try next")
        notice, key = self._ids[WANG.recipient_id], f"-H 'Authorization: Bearer {self._key}'"
        url = str(self._http.base_url).rstrip("/")
        tries = [("the notice with service, deliveries and evidence", f"/v1/notices/{notice}"),
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
