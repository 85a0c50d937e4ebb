"""The group `noticesvc` and its families. The entry point of the package.

To add a family: write `cli/<family>.py` with a click command or group, and add it to FAMILIES. Whatever a command
raises ends as one sentence on stderr: status 1, or 2 for a wrong use of the command line; never a traceback.
"""

import sys
from typing import Any

import click

from noticesvc.cli import (
    broadcast,
    certificate,
    contacts,
    doctor,
    explain,
    init,
    keys,
    ledger,
    notice,
    notice_send,
    proof,
    providers,
    receipts,
    serve,
    status,
    vault,
    verify,
)
from noticesvc.cli.demo import command as demo
from noticesvc.errors import InputError, NoticesvcError

FAMILIES: tuple[click.Command, ...] = (
    init.init, init.migrate, serve.serve, doctor.doctor, status.status, providers.providers, keys.keys, notice.notice,
    broadcast.broadcast, contacts.contacts, proof.proof, certificate.certificate,
    certificate.case, verify.verify, vault.vault, ledger.ledger, explain.explain, explain.deadline, receipts.receipts,
    demo.demo,
)

notice.notice.add_command(notice_send.send)


class _Group(click.Group):
    """A click group whose commands never end in a traceback, and whose help keeps the order of FAMILIES."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order in which one needs them."""
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; errors become a sentence and a status."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except InputError as error:
            _say(error.detail, *(f"  {fault.pointer or '(whole)'}: {fault.detail}" for fault in error.faults))
        except NoticesvcError as error:
            _say(str(error))
        except BrokenPipeError:
            raise
        except OSError as error:
            _say(f"{error.strerror or type(error).__name__}{f': {error.filename}' if error.filename else ''}.")
        except Exception as error:  # the last line of defence: its message may hold anything
            _say(f"Something went wrong here ({_place(error)}); this is a fault of the program, please report it.")
        return ctx.exit(1)


def _say(sentence: str, *more: str) -> None:
    click.echo("\n".join((f"noticesvc: {sentence}", *more)), err=True)


def _place(error: Exception) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace is not None else "?"
    return f"{type(error).__name__} at {where}"


def _version(ctx: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        from importlib.metadata import version
        click.echo(f"noticesvc {version('noticesvc')}")
        ctx.exit()


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}, epilog=(
    "Begin with `noticesvc init --dir DIR` and `noticesvc serve --config DIR/config.toml`. Commands that need an "
    "installation take --config FILE or NOTICESVC_CONFIG; NOTICESVC_SECTION__KEY overrides a setting. Exit status: 0 "
    "done, 1 refused or failed (one sentence says why), 2 wrong use."))
@click.option("--version", is_flag=True, expose_value=False, is_eager=True, callback=_version, help="Print the version and exit.")
def cli() -> None:
    """Deliver notices that have legal effect, and prove it years later."""


for family in FAMILIES:
    cli.add_command(family)


def main() -> None:
    """Run the command line of this process."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    cli(prog_name="noticesvc")
