"""The public page behind a certificate's QR code: genuine, current, superseded or destroyed; and it verifies a dropped proof file.

No key, no script, nothing from outside, nothing personal: it tells only what whoever holds the certificate already knows. Dropped
files are verified in memory and never kept or logged.
"""

import asyncio
import base64
import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.responses import Response

from noticesvc.api.check_words import step, words
from noticesvc.api.context import Call
from noticesvc.api.documents import one_file
from noticesvc.api.endpoint import Endpoint
from noticesvc.api.page_words import language
from noticesvc.api.pages import HEADERS
from noticesvc.domain import instant
from noticesvc.errors import InputError
from noticesvc.ledger.key import Verifier
from noticesvc.operations import certificate_standing as standings
from noticesvc.operations import ledger_reading
from noticesvc.proof.verify import Report, verify

_FOLDER = Path(__file__).with_name("page_templates")
_CSS = (_FOLDER / "page.css").read_text("utf-8") + (_FOLDER / "check.css").read_text("utf-8")
_TEMPLATE = Environment(loader=FileSystemLoader(_FOLDER), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
                        lstrip_blocks=True).get_template("check.html")
_STYLE = base64.b64encode(hashlib.sha256(_CSS.encode()).digest()).decode()
_HEADERS = HEADERS | {"Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_STYLE}'; form-action 'self'; base-uri 'none'; "
                                                 "frame-ancestors 'none'", "Referrer-Policy": "no-referrer"}
_TONES = {"current": "good", "holds": "good", "superseded": "warn", "destroyed": "warn", "busy": "warn"}
_VERIFIERS = ThreadPoolExecutor(1, "check")  # strangers may ask; the rest of the process goes first
_MOST = 5  # at one time, the one in hand included
_in_hand: set[object] = set()


async def get_check(call: Call) -> Response:
    """The page; with a number and a hash, how that certificate stands."""
    query = call.request.query_params
    number = str(call.request.path_params.get("number") or query.get("number", "")).strip().upper()
    digest = query.get("h", "").strip().lower()
    if not number:
        return _page(call)
    found = await call.read(standings.standing, number[:40], digest[:64])
    return _page(call, "unknown" if found is None else found.state, standing=found)


async def post_check(call: Call) -> Response:
    """Verify one file: a proof bundle, or a PDF as it was issued."""
    try:
        data = await one_file(call.request)
    except InputError:
        return _page(call, "unreadable", 400)
    digest = hashlib.sha256(data).hexdigest()
    if data.startswith(b"%PDF-"):
        found = await call.read(standings.standing_of_file, digest)
        return _page(call, "foreign" if found is None else found.state, standing=found)
    if data[:64].lstrip()[:1] != b"{":
        return _page(call, "unreadable", 400)
    if len(_in_hand) >= _MOST:
        return _page(call, "busy", 503)
    one = object()
    _in_hand.add(one)
    try:
        keys = [Verifier.parse(line) for line in (await call.read(ledger_reading.keys)).splitlines()]
        report = await asyncio.get_running_loop().run_in_executor(_VERIFIERS, verify, data, keys)
    finally:
        _in_hand.discard(one)
    return _page(call, "holds" if report.ok else "fails", report=report, sha256=digest)


def _page(call: Call, verdict: str = "", status: int = 200, *, standing: Any = None, report: Report | None = None,
          sha256: str = "") -> Response:
    query = call.request.query_params
    lang = language(query.get("lang"), call.request.headers.get("accept-language", ""))
    w = words(lang)
    issued = ""
    if standing is not None:
        issued = f"{instant.parse(standing.issued_at).astimezone(instant.SHANGHAI):%Y-%m-%d %H:%M:%S}{w['zone']}"
    steps = [] if report is None else [{
        "title": step(one.title, lang), "ok": one.taken and not one.failures, "taken": one.taken, "failures": one.failures[:20]}
        for one in report.steps]
    kept = {name: value for name, value in query.items() if name in ("number", "h")} | {"lang": w["other_lang"]}
    text = _TEMPLATE.render(
        w=w, lang=lang, css=Markup(_CSS), issuer=call.house.world.issuer, sandbox=call.house.world.sandbox, verdict=verdict,  # noqa: S704 (our own file)
        tone=_TONES.get(verdict, "bad"), standing=standing, issued=issued, steps=steps, sha256=sha256,
        checkpoint=None if report is None else report.checkpoint, other=f"?{urlencode(kept)}")
    return Response(text, status, _HEADERS | {"Content-Language": w["html"]}, "text/html; charset=utf-8")


ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint("GET", "/check", get_check, "Check a certificate, or verify a proof file: a page for anybody", reply_media_type="text/html",
             error_media_type="text/html"),
    Endpoint("POST", "/check", post_check, "Verify a proof file: a page for anybody", reply_media_type="text/html", raw_body=True,
             media_type="multipart/form-data", error_media_type="text/html", errors=(400, 503)),
    Endpoint("GET", "/check/{number}", get_check, "How a certificate stands: a page for anybody", reply_media_type="text/html",
             error_media_type="text/html"),
)
