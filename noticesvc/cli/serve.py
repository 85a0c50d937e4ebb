"""`noticesvc serve`: runs the service until SIGTERM."""

from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from noticesvc.cli.running import config_option

if TYPE_CHECKING:
    from noticesvc.bootstrap.components import Role


@click.command()
@config_option
@click.option("--only", type=click.Choice(["api", "worker"]), help="Run one role; PostgreSQL only. Left out: everything.")
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info", show_default=True,
              help="Which events to log, as JSON lines on stderr.")
def serve(config_file: Path, only: str | None, log_level: str) -> None:
    """Run API, worker and sequencer until SIGTERM.

    Prints `ready <role> <url or ->` on stdout when migrations and signer are checked and the process works. On SIGTERM
    it takes nothing new, finishes what is in hand, and ends with status 0 within worker.stop_grace_s.
    """
    from noticesvc import config, logs
    logs.configure(log_level)
    from noticesvc.bootstrap import serving

    settings = config.load(config_file)
    raise SystemExit(serving.run(settings, cast("Role", only or "all"), click.echo))
