"""Templates: Jinja's `{{ name }}` and nothing else, so that a legal text has no hole, no loop and no surprise.

A template is parsed by Jinja and may hold only text and plain names; parameters are strings or whole numbers. In Markdown
parameters are escaped, so that a parameter can never become a link, a heading or emphasis.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from jinja2 import StrictUndefined, TemplateSyntaxError, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from noticesvc.errors import Fault, InputError

_ENVIRONMENT = ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=False, keep_trailing_newline=True)
_MARKDOWN = re.compile(r"([\\`*_{}\[\]()#+\-.!|<>&~$^=:/@\"'])")
_NEWLINES = re.compile(r"[\r\n\u2028\u2029\x85\x0b\x0c]")


@lru_cache(maxsize=512)
def names(text: str) -> frozenset[str]:
    """The parameters of a template text. InputError if it holds anything but text and `{{ name }}`."""
    try:
        tree = _ENVIRONMENT.parse(text)
    except (TemplateSyntaxError, RecursionError):
        raise InputError("The template cannot be parsed; only text and {{ name }} are allowed.") from None
    found = set()
    for output in tree.body:
        if not isinstance(output, nodes.Output):
            raise InputError("Only text and {{ name }} are allowed in a template.")
        for node in output.nodes:
            if isinstance(node, nodes.Name):
                found.add(node.name)
            elif not isinstance(node, nodes.TemplateData):
                raise InputError("Only text and {{ name }} are allowed in a template.")
    return frozenset(found)


def check_params(texts: Mapping[str, str | None], params: Mapping[str, Any]) -> tuple[Fault, ...]:
    """Faults of parameters for these texts: missing, null, of another type, unknown, or with line breaks in one line."""
    wanted = {name for text in texts.values() if text is not None for name in names(text)}
    found = [Fault(f"/template/params/{_escape(n)}", "is missing") for n in sorted(wanted - params.keys())]
    found += [Fault(f"/template/params/{_escape(n)}", "is no parameter of this template") for n in sorted(params.keys() - wanted)]
    for name in sorted(wanted & params.keys()):
        value = params[name]
        if isinstance(value, bool) or not isinstance(value, str | int):
            found.append(Fault(f"/template/params/{_escape(name)}", "must be a string or a whole number"))
        elif isinstance(value, str) and (not value or _NEWLINES.search(value) or len(value) > 2000):
            found.append(Fault(f"/template/params/{_escape(name)}", "must be one line of 1 to 2,000 characters"))
    return tuple(found)


def fill(text: str, params: Mapping[str, Any], *, markdown: bool) -> str:
    """The text with its parameters, which were checked before."""
    values = {k: _MARKDOWN.sub(r"\\\1", str(v)) if markdown else str(v) for k, v in params.items()}
    return _ENVIRONMENT.from_string(text).render(values)


def _escape(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
