"""The options that say what a notice is, and the body of `POST /v1/notices` that they make.

Used by `notice send` and `broadcast create`, so that a notice is described alike for one recipient and for all.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from noticesvc.domain.evidence import CHANNELS
from noticesvc.domain.notice import CATEGORIES

F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS = (
    click.option("--category", required=True, type=click.Choice(CATEGORIES)),
    click.option("--subject", metavar="LINE", help="The subject, on one line."),
    click.option("--body", metavar="FILE", type=click.Path(path_type=Path, exists=True, dir_okay=False, allow_dash=True),
                 help="The text in Markdown and UTF-8; - for stdin."),
    click.option("--sms", metavar="TEXT", help="The text for SMS; {link} in it becomes a link to the document page."),
    click.option("--sms-carries", type=click.Choice(["full", "link", "pointer"]), help="What the SMS carries; a text with {link}: link."),
    click.option("--template", "template_name", metavar="NAME", help="A stored template, instead of --subject, --body and --sms."),
    click.option("--param", "params", metavar="NAME=VALUE", multiple=True, help="A parameter of the template; repeat for several."),
    click.option("--channel", "channels", type=click.Choice(CHANNELS), multiple=True,
                 help="Repeat for several; left out: the category's."),
    click.option("--ladder-after", metavar="DURATION", help="One channel after the other, so long apart (PT24H); left out: all at once."),
    click.option("--rule", "service_rule", metavar="RULE", help="The service rule; left out: the category's."),
    click.option("--not-before", metavar="TIME"),
    click.option("--expires-at", metavar="TIME"),
    click.option("--effective-at", metavar="TIME", help="When a changed agreement takes effect."),
    click.option("--ground", metavar="CODE", help="The ground of a handling or termination, such as 五.2①."),
    click.option("--response-days", type=int, metavar="N", help="A window to respond or appeal, in calendar days."),
    click.option("--response-working-days", type=int, metavar="N", help="The same in working days."),
    click.option("--case", "case", nargs=4, metavar="COURT NUMBER STAGE DOCUMENT", help="The court's case of a judicial notice."),
    click.option("--reference", metavar="REFERENCE", help="The caller's reference."),
    click.option("--document", "documents", multiple=True, metavar="ID", help="An uploaded document; repeat for several."),
)


def notice_options(command: F) -> F:
    """Give a command the options of a notice, whose values `body` takes."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def body(*, subject: str | None, body: Path | None, sms: str | None, sms_carries: str | None, template_name: str | None,
         params: tuple[str, ...], channels: tuple[str, ...], ladder_after: str | None, response_days: int | None,
         response_working_days: int | None, case: tuple[str, ...] | None, documents: tuple[str, ...], **same: Any) -> dict[str, Any]:
    """The body that `POST /v1/notices` would be given."""
    made = {name: value for name, value in same.items() if value is not None}
    if template_name is not None:
        if subject or body or sms or sms_carries:
            raise click.UsageError("A template brings its texts; leave out --subject, --body and --sms.")
        made["template"] = {"name": template_name, "params": dict(_pair(one) for one in params)}
    elif subject is None or body is None:
        raise click.UsageError("Give --subject and --body, or --template.")
    else:
        content: dict[str, str | None] = {"subject": subject, "body": _text(body)}
        if sms is not None or sms_carries is not None:
            content |= {"sms": sms, "sms_carries": sms_carries or ("link" if sms and "{link}" in sms else None)}
        made["content"] = content
    if channels:
        made["channels"] = list(channels)
    if ladder_after is not None:
        made |= {"strategy": "ladder", "ladder_after": ladder_after}
    window = {name: value for name, value in (("days", response_days), ("working_days", response_working_days)) if value is not None}
    if window:
        made["response_window"] = window
    if case:
        made["case"] = dict(zip(("court", "case_number", "stage", "document_type"), case, strict=True))
    if documents:
        made["documents"] = list(documents)
    return made


def _pair(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator:
        raise click.BadParameter("must be NAME=VALUE", param_hint="--param")
    return name, value


def _text(path: Path) -> str:
    import sys

    from noticesvc.errors import InputError
    try:
        return (sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError("The body is not UTF-8; save it as UTF-8.") from None
