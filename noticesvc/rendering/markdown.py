"""Markdown to HTML and to plain text. Raw HTML in it stays text; links lead only to http, https and mailto."""

import re
from functools import lru_cache

from markdown_it import MarkdownIt
from markdown_it.token import Token

_MD = MarkdownIt("commonmark", {"html": False, "linkify": False, "maxNesting": 20}).enable("table")
_SAFE = re.compile(r"(?i)(https?:|mailto:)[^\s]*")
_MD.validateLink = lambda url: bool(_SAFE.fullmatch(url))  # type: ignore[method-assign]
_MD.disable("image")


@lru_cache(maxsize=256)
def html(text: str) -> str:
    """HTML of the text, safe to show: no raw HTML, scripts, images or foreign schemes."""
    return str(_MD.render(text))


def parsed(text: str) -> list[Token]:
    """The text as tokens, for whoever sets it in another form."""
    return _MD.parse(text)


@lru_cache(maxsize=256)
def plain(text: str) -> str:
    """The text without Markdown's marks; what a link leads to stands behind it."""
    lines = [_inline(token) for token in _MD.parse(text) if token.type in ("inline", "fence", "code_block")]
    return "\n\n".join(line.strip() for line in lines if line.strip()) + "\n"


def _inline(token: Token) -> str:
    if token.type != "inline":
        return token.content
    out, href = [], ""
    for child in token.children or []:
        if child.type in ("text", "code_inline"):
            out.append(child.content)
        elif child.type in ("softbreak", "hardbreak"):
            out.append("\n")
        elif child.type == "link_open":
            href = str(child.attrGet("href") or "")
        elif child.type == "link_close" and href:
            out.append(f" <{href}>")
            href = ""
    return "".join(out)
