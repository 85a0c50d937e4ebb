"""`noticesvc ledger`: signing keys, the audit of the log and its export."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from noticesvc.cli.running import config_option, load_settings, with_database, with_installation

if TYPE_CHECKING:
    from noticesvc.ledger.key import Verifier
    from noticesvc.operations.audit import Audit

optional_config = click.option(
    "--config", "config_file", metavar="FILE", envvar="NOTICESVC_CONFIG", type=click.Path(path_type=Path, dir_okay=False),
    help="The installation's config.toml [env: NOTICESVC_CONFIG].")


@click.group()
def ledger() -> None:
    """The tamper-evident log: its keys, its audit, its export."""


@ledger.command()
@click.option("--name", required=True, metavar="NAME", help="The log's origin or the witness's name, such as notices.example.com.")
@click.option("--out", required=True, metavar="FILE", type=click.Path(path_type=Path, dir_okay=False),
              help="Where to write the secret key (mode 0600); a file that exists is not overwritten.")
@click.option("--witness", is_flag=True, help="Make a key that cosigns checkpoints instead of one that signs them.")
def keygen(name: str, out: Path, witness: bool) -> None:
    """Make an Ed25519 key and print its verifier key, which is given to those who verify.

    A key of another name is another key to those who verify: the name is part of its id (C2SP signed-note).
    """
    import os

    from noticesvc.errors import ConfigurationError
    from noticesvc.ledger import key

    made = key.generate(name, os.urandom(32), key.COSIGNATURE if witness else key.ED25519)
    try:
        descriptor = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise ConfigurationError("The file exists and is not overwritten; choose another name.") from None
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(made.private_text() + "\n")
        file.flush()
        os.fsync(file.fileno())
    click.echo(made.verifier.vkey)


@ledger.command()
@config_option
def rotate(config_file: Path) -> None:
    """Put a new signing key in the place of the current one and print its verifier key.

    The key file keeps the verifier keys of those that were replaced: what they signed stays valid, and they stay served. On
    several hosts: stop the workers, rotate on one, copy the key file to the others, start. On one: restart the service.
    """
    from noticesvc.bootstrap import log_key
    click.echo(log_key.rotate(load_settings(config_file)))


@ledger.command()
@optional_config
@click.option("--tiles", metavar="DIR", type=click.Path(path_type=Path, exists=True, file_okay=False),
              help="Audit an export in this folder instead of the database.")
@click.option("--against", metavar="CHECKPOINT", type=click.Path(path_type=Path, exists=True, dir_okay=False),
              help="Prove that today's log extends this older signed checkpoint.")
@click.option("--open", "open_", is_flag=True, help="Compare every row column by column too, and decrypt and open every commitment.")
@click.option("--log-key", "log_keys", metavar="VKEY", multiple=True,
              help="Trust this verifier key; repeat for several. Left out: those in the installation's key file, or the export's own.")
def audit(config_file: Path | None, tiles: Path | None, against: Path | None, open_: bool, log_keys: tuple[str, ...]) -> None:
    """Recompute the whole log and compare everything that must agree with it.

    From the database: entries, tiles, index map, checkpoints, the numbering of each notice's entries, evidence rows and
    entries both ways, and that no accepted notice was dropped; with --open whatever else the rows say. May run beside a
    live service. Prints one sentence for each finding; status 1 if there is any.
    """
    from noticesvc.ledger.key import Verifier

    keys = [Verifier.parse(text) for text in log_keys]
    older = against.read_bytes().decode("utf-8", "replace") if against else None
    if tiles is not None and open_:
        raise click.UsageError("--open needs the database and its keys; an export holds neither.")
    if tiles is not None:
        from noticesvc.operations.audit import audit_export
        with _progress() as progress:
            done = audit_export(tiles, keys, older, progress)
        if not log_keys:
            click.echo("The key inside the export was trusted; give --log-key to check against one you know.")
    elif config_file is not None:
        done = _audit_database(config_file, keys, older, open_=open_)
    else:
        raise click.UsageError("Give --config FILE for a database or --tiles DIR for an export.")
    for sentence in done.findings:
        click.echo(sentence)
    if done.more:
        click.echo(f"{done.more} further findings are not listed.")
    waiting = f", {done.pending} wait" if done.pending else ""
    click.echo(f"{done.entries} entries audited{waiting}; {len(done.findings) + done.more or 'no'} findings.")
    if done.findings:
        raise click.exceptions.Exit(1)
    if done.proved_from is not None:
        click.echo(f"The log extends the older checkpoint of {done.proved_from} entries.")


@ledger.command()
@click.option("--config", "config_file", metavar="FILE", envvar="NOTICESVC_CONFIG", required=True,
              type=click.Path(path_type=Path, dir_okay=False), help="The installation's config.toml [env: NOTICESVC_CONFIG].")
@click.option("--dir", "folder", metavar="DIR", required=True, type=click.Path(path_type=Path, file_okay=False),
              help="Where to write; an earlier export there is brought up to date.")
@click.option("--entries", is_flag=True, help="Write the entry bundles too (they need proofs:read over HTTP).")
def export(config_file: Path, folder: Path, entries: bool) -> None:
    """Write checkpoint, key and tiles as files, laid out as the API serves them (C2SP tlog-tiles)."""
    from noticesvc.operations import export as operation
    size = with_database(config_file, lambda database: database.read(operation.export, folder, entries=entries))
    click.echo(f"{size} entries exported.")


def _audit_database(config_file: Path, keys: list["Verifier"], older: str | None, *, open_: bool) -> "Audit":
    from noticesvc.bootstrap import key_sources
    from noticesvc.operations.audit import audit_database

    settings = load_settings(config_file)
    signer, retired = key_sources.log_keys(settings)
    trusted = keys or [signer.verifier, *retired]
    # The sequencer may be busy for a moment; what waits ten times as long as promised, waits for nobody.
    patience_us = int(max(settings.ledger.max_delay_s * 10, 10) * 1_000_000)
    with _progress() as progress:
        if open_:
            return with_installation(config_file, lambda installation: installation.database.read(
                audit_database, trusted, older, patience_us, progress, installation.world))
        return with_database(config_file, lambda database: database.read(audit_database, trusted, older, patience_us, progress))


@ledger.command()
@config_option
@click.option("--yes", is_flag=True, help="Do not ask.")
def recover(config_file: Path, yes: bool) -> None:
    """Go on with a database that is older than the outside copy of its checkpoint (a restored backup).

    Run it with no service running, after trying to find a newer copy of the database. It records as an entry which entries are
    lost and puts the copy aside; from then on the log has another history than the one that others may know.
    """
    from noticesvc.bootstrap import restored
    from noticesvc.operations.recovering import Loss

    def agreed(lost: Loss) -> bool:
        click.echo(lost.says)
        click.echo(f"{lost.unfinished} deliveries are not finished here; those sent after the backup was made will be sent again.")
        return yes or click.confirm("Go on without the missing entries?")
    aside = with_installation(config_file, lambda installation: restored.recover(installation, agreed))
    click.echo(f"Recorded. The old checkpoint is kept as {aside}." if aside is not None else "Nothing was changed.")


@ledger.command()
@click.option("--key", "key_file", metavar="FILE", required=True, type=click.Path(path_type=Path, dir_okay=False),
              help="The witness's own key, made by `ledger keygen --witness`; mode 0600.")
@click.option("--log", "logs", metavar="VKEY", multiple=True, required=True,
              help="The verifier key of a log to watch; repeat for several, and for each key of one that was rotated.")
@click.option("--dir", "folder", metavar="DIR", required=True, type=click.Path(path_type=Path, file_okay=False),
              help="Where it remembers what it signed. It must never be lost or set back.")
@click.option("--listen", metavar="HOST:PORT", default="127.0.0.1:8090", show_default=True,
              help="Where it listens; port 0 takes a free one.")
def witness(key_file: Path, logs: tuple[str, ...], folder: Path, listen: str) -> None:
    """Run a witness, which cosigns checkpoints of logs that only ever grow (C2SP tlog-witness).

    For another department or another house: it needs no installation, and nothing of the log but its verifier key. Put its URL
    into `anchors.witness_urls` of the service and the key that it prints into `anchors.witness_keys`.
    """
    import time

    from noticesvc import logs as log_output
    from noticesvc.errors import ConfigurationError
    from noticesvc.ledger.key import COSIGNATURE, ED25519, Signer, Verifier
    from noticesvc.vault import read_secret_file
    from noticesvc.witness import server
    from noticesvc.witness.memory import Memory
    from noticesvc.witness.witness import Witness

    log_output.configure("info")
    signer, known = Signer.parse(read_secret_file(key_file, "witness key")), [Verifier.parse(text) for text in logs]
    if signer.key_type != COSIGNATURE or any(one.key_type != ED25519 for one in known):
        raise ConfigurationError("--key must be a key made by `ledger keygen --witness`, and each --log the verifier key of a ledger.")
    host, _, port = listen.rpartition(":")
    if not port.isdecimal() or int(port) > 65535 or not host:
        raise click.UsageError("--listen is not HOST:PORT.")
    memory = Memory(folder)
    click.echo(signer.verifier.vkey)
    server.serve(server.application(Witness(signer, known, memory, lambda: int(time.time())), signer.verifier.vkey),
                 host.strip("[]"), int(port), lambda url: click.echo(f"ready witness {url}"))


class _progress:  # noqa: N801 (used as a function)
    """A bar on a terminal, nothing in a pipe."""

    def __enter__(self) -> Callable[[int, int], None]:
        if not sys.stderr.isatty():
            self._bar = None
            return lambda _done, _total: None
        from rich.console import Console
        from rich.progress import Progress
        bar = self._bar = Progress(console=Console(stderr=True), transient=True)
        bar.start()
        task = bar.add_task("auditing")
        return lambda done, total: bar.update(task, completed=done, total=total)

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()
