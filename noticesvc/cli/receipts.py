"""`noticesvc receipts parse`: what a provider's parser finds in raw bytes, without an installation and without network."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from noticesvc.provider import Provider, Receipt

_LARGEST = 16 << 20


@click.group()
def receipts() -> None:
    """Look at receipts of providers: bounces, delivery reports, callback bodies."""


@receipts.command()
@click.option("--provider", "kind", required=True, metavar="KIND",
              help="The kind of provider whose receipts these are, such as smtp; with --config the name of a configured one.")
@click.option("--config", "config_file", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False), default=None,
              help="Read as a provider of this configuration does; without it, as its kind does with the defaults of its settings.")
@click.argument("files", nargs=-1, required=True, metavar="FILE...",
                type=click.Path(path_type=Path, exists=True, dir_okay=False, allow_dash=True))
def parse(kind: str, config_file: Path | None, files: tuple[Path, ...]) -> None:
    """Print what a provider's parser finds in each FILE (an .eml for smtp, a callback body for the others; - for stdin).

    One JSON line a file: {"file", "receipts": [{"kind", "provider_reference", "recipient", "claimed_time_raw", "code",
    "text"}]}. Nothing is asked of anybody and nothing is recorded, so nothing is authenticated either.
    """
    import json
    import sys

    provider = _bare(kind) if config_file is None else _configured(config_file, kind)
    for file in files:
        stream = sys.stdin.buffer if str(file) == "-" else file.open("rb")
        with stream:
            raw = stream.read(_LARGEST)
        found = [_shown(receipt) for receipt in _read(provider, raw)]
        click.echo(json.dumps({"file": str(file), "receipts": found}))


def _read(provider: "Provider", raw: bytes) -> "tuple[Receipt, ...]":
    """Read as the service would: as bytes that came back, else as the body or query of a callback; the first that says something."""
    from noticesvc.provider import Callback

    try:
        mail = "email" in provider.channels
        found = tuple(provider.parse_receipt(raw, "message/rfc822" if mail else "application/octet-stream"))
        if found or mail:
            return found
        for method, query, body in (("POST", {}, raw), ("GET", _members(raw), b"")):
            found = tuple(provider.parse_callback(Callback(method, query, {"content-type": _guess(raw)}, body, "x.sms.1")).receipts)
            if found:
                return found
    except Exception:  # whatever the bytes: a parser that fails on them finds nothing
        return ()
    return ()


def _configured(file: Path, name: str) -> "Provider":
    """Make a provider as a configuration has it. Raises ConfigurationError if there is none of this name."""
    from noticesvc import config
    from noticesvc.bootstrap.plugins import configure
    from noticesvc.errors import ConfigurationError

    settings = config.load(file)
    if name not in settings.providers:
        raise ConfigurationError(f"--provider: {file} has no provider of this name; there are {', '.join(sorted(settings.providers))}.")
    return configure({name: settings.providers[name]}, settings.folder)[name]


def _bare(kind: str) -> "Provider":
    """Make a provider with no more settings than it takes to parse. Raises ConfigurationError if none can be made."""
    from noticesvc.bootstrap.plugins import configure, provider_class
    from noticesvc.config import ProviderSettings
    from noticesvc.errors import ConfigurationError

    found = provider_class(kind)
    wanted: dict[str, Any] = {name: _stand_in(name) for name, field in found.Settings.model_fields.items() if field.is_required()}
    common: dict[str, Any] = {"kind": kind, "channel": min(found.channels), "timeout_s": 1.0}
    try:
        return configure({"parse": ProviderSettings.model_validate(wanted | common)})["parse"]
    except ConfigurationError as error:
        raise ConfigurationError(f"A provider of kind {kind} cannot be made from the defaults of its settings: {error}") from None
    except Exception as error:  # a plug-in may fail in any way; the operator must learn which one
        raise ConfigurationError(f"A provider of kind {kind} cannot be made from the defaults of its settings "
                                 f"({type(error).__name__}); report it to who wrote it.") from error


def _stand_in(name: str) -> str:
    """What stands for a setting without a default; nothing is ever sent there."""
    if "url" in name or "endpoint" in name:
        return "https://x.example/"
    return "x@x.example" if "address" in name else "x"


def _members(raw: bytes) -> Mapping[str, str]:
    from urllib.parse import parse_qsl

    try:
        return dict(parse_qsl(raw.decode("utf-8", "replace").strip(), keep_blank_values=True, max_num_fields=200))
    except ValueError:
        return {}


def _guess(raw: bytes) -> str:
    return "application/json" if raw.lstrip()[:1] in {b"{", b"["} else "application/x-www-form-urlencoded"


def _shown(receipt: "Receipt") -> dict[str, Any]:
    names = ("kind", "provider_reference", "recipient", "claimed_time_raw", "code", "text")
    return {name: getattr(receipt, name) for name in names}
