"""`noticesvc verify`: check a proof bundle offline, without an installation and without asking anybody."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from noticesvc.ledger.key import Verifier
    from noticesvc.proof.verify import Report

_TOO_LARGE = 1  # read one byte more than a bundle may have, so that the verifier says that it is too large


@click.command()
@click.argument("proof", type=click.Path(path_type=Path, exists=True, dir_okay=False, allow_dash=True))
@click.option("--log-key", "log_keys", metavar="VKEY", multiple=True,
              help="Trust this ledger's verifier key, got from its owner or a third party; repeat for several. Left out: the one inside.")
@click.option("--witness", "witness_keys", metavar="VKEY", multiple=True,
              help="Demand the cosignature of this witness; repeat for several.")
@click.option("--tsa-roots", metavar="PEM", type=click.Path(path_type=Path, exists=True, dir_okay=False),
              help="Trust these roots for the timestamps inside.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
def verify(proof: Path, log_keys: tuple[str, ...], witness_keys: tuple[str, ...], tsa_roots: Path | None, as_json: bool) -> None:
    """Verify the proof bundle in PROOF (- for stdin), in numbered steps.

    Works offline. Exit status 0 only if every step holds; each failure is one sentence.
    """
    from noticesvc.ledger.key import COSIGNATURE, ED25519
    from noticesvc.proof import verify as verification
    from noticesvc.proof.bundle import MAX_BYTES

    keys, witnesses = _keys(log_keys, ED25519, "--log-key"), _keys(witness_keys, COSIGNATURE, "--witness")
    with click.open_file(str(proof), "rb") as file:
        data = file.read(MAX_BYTES + _TOO_LARGE)
    report = verification.verify(data, keys, witnesses, _roots(tsa_roots))
    if as_json:
        import json
        click.echo(json.dumps(_json(report), ensure_ascii=False, indent=2))
    else:
        _print(report, rooted=tsa_roots is not None)
    if not report.ok:
        raise click.exceptions.Exit(1)


def _keys(texts: tuple[str, ...], key_type: int, option: str) -> list["Verifier"]:
    from noticesvc.errors import NoteError
    from noticesvc.ledger.key import Verifier
    found = []
    for text in texts:
        try:
            found.append(Verifier.parse(text))
        except NoteError as error:
            raise click.UsageError(f"{option}: {error}") from None
        if found[-1].key_type != key_type:
            raise click.UsageError(f"{option}: this is the key of {'a ledger' if key_type != 1 else 'a witness'}, not the other kind.")
    return found


def _roots(file: Path | None) -> list[Any]:
    from noticesvc.errors import VerificationError
    from noticesvc.proof import timestamps
    try:
        return timestamps.roots(file.read_bytes()) if file is not None else []
    except VerificationError as error:
        raise click.UsageError(f"--tsa-roots: {error}") from None


def _print(report: "Report", *, rooted: bool) -> None:
    for step in report.steps:
        state = "not taken" if not step.taken else "FAILED" if step.failures else "ok"
        click.echo(f"{step.number}. {step.title} {state}")
        for failure in step.failures:
            click.echo(f"   - {failure}")
    if report.trusted_inside:
        click.echo("The ledger's key inside the bundle was trusted; give --log-key to check against one that you know.")
    if rooted and report.bundle is not None and not report.bundle.timestamps:
        click.echo("The bundle holds no timestamps, so that the roots given were not used.")
    for at, size in report.stamped if report.ok else ():
        click.echo(f"Stamped {at:%Y-%m-%dT%H:%M:%SZ}: the ledger had its first {size} entries by then"
                   + ("." if rooted else ", if the stamp is genuine: give --tsa-roots to check who signed it."))
    if report.ok and report.bundle is not None and report.checkpoint is not None:
        tree = report.checkpoint
        click.echo(f"The proof holds: {len(report.bundle.entries)} entries of the ledger {tree.origin}, proved in its checkpoint "
                   f"of {tree.size} entries; issued {report.bundle.issued_at}.")
    else:
        click.echo("The proof does not hold.")


def _json(report: "Report") -> dict[str, Any]:
    return {
        "ok": report.ok, "trusted_inside": report.trusted_inside,
        "steps": [{"number": step.number, "title": step.title, "taken": step.taken, "failures": list(step.failures)}
                  for step in report.steps],
        "format": report.bundle and report.bundle.format, "issued_at": report.bundle and report.bundle.issued_at,
        "timestamps": [{"at": f"{at:%Y-%m-%dT%H:%M:%SZ}", "size": size} for at, size in report.stamped],
        "origin": report.checkpoint and report.checkpoint.origin, "size": report.checkpoint and report.checkpoint.size,
    }
