"""The document page behind the link in an SMS: read on a phone, in Chinese or English, without scripts or outside resources.

GET shows what it is about and a button, and is recorded as `link_fetched`; the button's POST shows the whole document and is
recorded as `accessed`. The POST must come from our own page: browsers say so (Fetch Metadata, RFC 6454), and the form carries
a token bound to the link and to a day.
"""

import base64
import hashlib
import hmac
import re
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import structlog
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response

from noticesvc.api import wire
from noticesvc.api.context import Call, House
from noticesvc.api.endpoint import Endpoint
from noticesvc.api.page_words import language, words
from noticesvc.domain import instant
from noticesvc.domain.identity import is_id
from noticesvc.errors import InputError, NoticesvcError, UnavailableError
from noticesvc.operations import document_page
from noticesvc.operations.document_page import Page
from noticesvc.rendering import markdown

log = structlog.get_logger()
_FOLDER = Path(__file__).with_name("page_templates")
_CSS = (_FOLDER / "page.css").read_text("utf-8")
_TEMPLATES = Environment(loader=FileSystemLoader(_FOLDER), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
_FORM_LIMIT = 4096
_FORM_LIFE_US = 86_400_000_000
_STYLE = base64.b64encode(hashlib.sha256(_CSS.encode()).digest()).decode()
HEADERS = {
    "Content-Security-Policy":
        f"default-src 'none'; style-src 'sha256-{_STYLE}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "same-origin",  # the link is a secret; and with no referrer at all browsers would hide the form's origin too
    "X-Content-Type-Options": "nosniff", "X-Robots-Tag": "noindex, nofollow, noarchive", "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin", "Vary": "Accept-Language",
}
_HAN = re.compile("[\u4e00-\u9fff]")
_SUFFIX = {"application/pdf": "pdf", "image/png": "png", "image/jpeg": "jpg"}


async def get_page(call: Call) -> Response:
    """What the notice is about, and a button to open it."""
    request, token = call.request, str(call.request.path_params["token"])
    try:
        page = await call.read(document_page.load, token)
    except NoticesvcError as error:
        return _sorry(call, error)
    if page is None:
        return _missing(call)
    now = call.house.database.sources.clock()
    if request.method != "HEAD" and (page.fetched_at is None or now - page.fetched_at >= document_page.SILENCE_US):
        try:
            await call.write(document_page.visit, token, "link_fetched")
        except UnavailableError:
            log.warning("a fetched link is not recorded")  # it decides nothing, and the reader must not wait for it
    return _show(call, "closed.html", page, form=_key(call.house, "form", token, now + _FORM_LIFE_US), again=False)


async def post_page(call: Call) -> Response:
    """The whole document; the button was pressed."""
    request, token = call.request, str(call.request.path_params["token"])
    try:
        form = parse_qs((await wire.read_body(request, _FORM_LIMIT)).decode("utf-8", "replace"), max_num_fields=10)
        page = await call.read(document_page.load, token)
        if page is None:
            return _missing(call)
        now = call.house.database.sources.clock()
        if not (_own_page(request, call.house) and _valid(call.house, "form", token, form.get("form", [""])[0], now)):
            return _show(call, "closed.html", page, 403, form=_key(call.house, "form", token, now + _FORM_LIFE_US), again=True)
        await call.write(document_page.visit, token, "accessed")
    except (NoticesvcError, ValueError) as error:
        return _sorry(call, error)
    return _show(call, "open.html", page, body=Markup(markdown.html(page.content.body)),  # noqa: S704 (raw HTML is off in it)
                 key=_key(call.house, "document", token, now + _FORM_LIFE_US), token=token)


async def get_document(call: Call) -> Response:
    """A document of the notice, from the opened page."""
    token, document_id = str(call.request.path_params["token"]), str(call.request.path_params["document_id"])
    now = call.house.database.sources.clock()
    try:
        if not is_id(document_id) or not _valid(call.house, "document", token, call.request.query_params.get("key", ""), now):
            return _missing(call)
        found = await call.read(document_page.document, token, document_id)
    except NoticesvcError as error:
        return _sorry(call, error)
    if found is None:
        return _missing(call)
    return Response(found[1], media_type=found[0], headers={
        **HEADERS, "Content-Security-Policy": "default-src 'none'; sandbox",
        "Content-Disposition": f'attachment; filename="document-{document_id[-12:]}.{_SUFFIX[found[0]]}"'})


def _show(call: Call, template: str, page: Page, status: int = 200, **more: Any) -> Response:
    sent: datetime = instant.from_micros(page.sent_at).astimezone(instant.SHANGHAI)
    # The notice keeps its own language whatever the page around it speaks: screen readers and emphasis marks follow it.
    tongue = Markup(' lang="zh-CN"') if _HAN.search(page.content.subject + page.content.body) else ""
    return _render(call, template, status, page=page, sent=sent, tongue=tongue, **more)


def _missing(call: Call) -> Response:
    return _render(call, "message.html", 404, slug="missing")


def _sorry(call: Call, error: Exception) -> Response:
    if isinstance(error, InputError | ValueError):
        return _render(call, "message.html", 400, slug="unreadable")
    log.warning("a document page cannot be shown", error=type(error).__name__)
    return _render(call, "message.html", 503, {"Retry-After": "2"}, slug="later")


def _render(call: Call, template: str, status: int, headers: dict[str, str] | None = None, **more: Any) -> Response:
    lang = language(call.request.query_params.get("lang"), call.request.headers.get("accept-language", ""))
    text = _TEMPLATES.get_template(template).render(
        lang=lang, w=words(lang), css=Markup(_CSS), issuer=call.house.world.issuer, sandbox=call.house.world.sandbox, **more)  # noqa: S704 (our own file)
    return Response(text, status, {**HEADERS, "Content-Language": words(lang)["html"], **(headers or {})}, "text/html; charset=utf-8")


def _key(house: House, kind: str, token: str, ends: int) -> str:
    """A word that only our page for this link could have put into a form or an address, good until `ends`."""
    return f"{ends}.{house.world.vault.token(f'page-{kind}', f'{token}.{ends}')}"


def _valid(house: House, kind: str, token: str, given: str, now: int) -> bool:
    ends, _, mac = given.partition(".")
    if not (ends.isascii() and ends.isdigit() and len(ends) <= 17):
        return False
    expected = house.world.vault.token(f"page-{kind}", f"{token}.{int(ends)}")
    return hmac.compare_digest(expected.encode(), mac.encode("utf-8", "replace")) and now < int(ends)


def _own_page(request: Request, house: House) -> bool:
    """Whether the browser says that the form stood on this page; old browsers say nothing."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    origin = request.headers.get("origin")
    return origin is None or urlsplit(origin).netloc in (request.headers.get("host", ""), urlsplit(house.world.public_url).netloc)


ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint("GET", "/d/{token}", get_page, "The document page behind a link", reply_media_type="text/html",
             error_media_type="text/html", errors=(404, 503)),
    Endpoint("POST", "/d/{token}", post_page, "Open the document", reply_media_type="text/html", raw_body=True,
             media_type="application/x-www-form-urlencoded", error_media_type="text/html", errors=(403, 404, 503)),
    Endpoint("GET", "/d/{token}/documents/{document_id}", get_document, "A document of the opened page",
             reply_media_type="application/octet-stream", error_media_type="text/html", errors=(404, 503)),
)
