"""`noticesvc explain` and `noticesvc deadline`: service time and deadlines for people and tests, without an installation."""

from pathlib import Path

import click


@click.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False, allow_dash=True))
def explain(file: Path) -> None:
    """Say when service took place, and why, for the evidence in FILE (- for stdin).

    FILE is JSON: one object or a list of {"rule", "as_of", "notice": {"content_sha256"}, "evidence": [...]}. Prints one
    JSON result a line, with every step that led to it. A question that cannot be read gets a line {"error", "errors":
    [{"pointer", "detail"}]} in its place; the others are answered, and the exit status is 1.
    """
    import json
    import sys

    from noticesvc.domain.explain import explain_lines
    from noticesvc.errors import InputError, MalformedInput

    data = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    try:
        question = json.loads(data)
    except (ValueError, RecursionError):  # covers bytes that are no UTF-8
        raise MalformedInput("The file is not JSON in UTF-8.") from None
    unread = 0
    for line in explain_lines(question):
        click.echo(line.text)
        unread += not line.answered
    if unread:
        raise InputError(f"{'A question' if unread == 1 else f'{unread} questions'} could not be read; the lines with errors say why.")


@click.command()
@click.option("--from", "from_text", required=True, metavar="TIME",
              help="An RFC 3339 time with an offset; its Shanghai date is not counted.")
@click.option("--working-days", required=True, type=int, metavar="N", help="How many working days the period has.")
@click.option("--config", "config_file", metavar="FILE", envvar="NOTICESVC_CONFIG", type=click.Path(path_type=Path, dir_okay=False),
              help="An installation whose calendar.file to use; left out: the built-in calendar.")
def deadline(from_text: str, working_days: int, config_file: Path | None) -> None:
    """Print when a period of N working days ends, and which days were counted.

    Days are those of the State Council's arrangement; a period that reaches into a year without data is provisional.
    """
    import json

    from noticesvc.domain import calendar
    from noticesvc.domain.explain import deadline_json

    known = calendar.BUILT_IN
    if config_file is not None:
        from noticesvc.bootstrap.installation import load_calendar
        from noticesvc.cli.running import load_settings
        known = load_calendar(load_settings(config_file))
    click.echo(json.dumps(deadline_json(from_text, working_days, known)))
