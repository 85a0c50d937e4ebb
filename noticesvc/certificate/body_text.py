"""A notice's Markdown as blocks for the template: the same parser that renders it for recipients, never HTML, never template code.

Called by story. A block is a heading, paragraph, item, quote, code, rule or table row; its spans are text with a style.
"""

from typing import Any

from markdown_it.token import Token

from noticesvc.rendering.markdown import parsed


def blocks(text: str) -> list[dict[str, Any]]:
    """The blocks in order, each with its depth in lists."""
    found: list[dict[str, Any]] = []
    depth, marks, quote, heading = 0, list[str](), 0, 0
    row: list[list[dict[str, str]]] | None = None
    pending = ""
    for token in parsed(text):
        match token.type:
            case "bullet_list_open":
                depth, marks = depth + 1, [*marks, "•"]
            case "ordered_list_open":
                depth, marks = depth + 1, [*marks, str(token.attrGet("start") or 1)]
            case "bullet_list_close" | "ordered_list_close":
                depth, marks = depth - 1, marks[:-1]
            case "list_item_open":
                pending = "•" if marks[-1] == "•" else f"{marks[-1]}."
                if marks[-1] != "•":
                    marks[-1] = str(int(marks[-1]) + 1)
            case "blockquote_open":
                quote += 1
            case "blockquote_close":
                quote -= 1
            case "heading_open":
                heading = int(token.tag[1:])
            case "heading_close":
                heading = 0
            case "tr_open":
                row = []
            case "tr_close":
                found.append({"kind": "row", "cells": row or []})
                row = None
            case "inline" if row is not None:
                row.append(_spans(token))
            case "inline":
                kind = "heading" if heading else "quote" if quote else "text"
                found.append({"kind": kind, "level": heading, "depth": depth, "mark": pending, "spans": _spans(token)})
                pending = ""
            case "fence" | "code_block":
                found.append({"kind": "code", "depth": depth, "spans": [{"text": token.content.rstrip("\n"), "style": "code"}]})
            case "hr":
                found.append({"kind": "rule"})
    return found


def _spans(token: Token) -> list[dict[str, str]]:
    found: list[dict[str, str]] = []
    strong = em = 0
    href = ""
    for child in token.children or []:
        match child.type:
            case "strong_open":
                strong += 1
            case "strong_close":
                strong -= 1
            case "em_open":
                em += 1
            case "em_close":
                em -= 1
            case "link_open":
                href = str(child.attrGet("href") or "")
            case "link_close":
                found.append({"text": f" <{href}>", "style": "link"})
            case "softbreak" | "hardbreak":
                found.append({"text": "\n", "style": "break"})
            case "code_inline":
                found.append({"text": child.content, "style": "code"})
            case "text":
                found.append({"text": child.content, "style": "strong" if strong else "em" if em else ""})
    return found
