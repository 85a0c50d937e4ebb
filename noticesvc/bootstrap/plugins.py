"""Finds and configures providers: by the entry point group `noticesvc.providers`, by the `kind` in the configuration.

Called by `installation` and by `noticesvc receipts parse`. A provider is a plug-in; nothing of the service imports one.
"""

from collections.abc import Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from noticesvc.config import ProviderSettings
from noticesvc.errors import ConfigurationError
from noticesvc.provider import Provider

GROUP = "noticesvc.providers"


def kinds() -> tuple[str, ...]:
    """The kinds that are installed, in alphabetical order."""
    return tuple(sorted({point.name for point in entry_points(group=GROUP)}))


def provider_class(kind: str, where: str = "--provider") -> type[Provider]:
    """The class behind a kind. ConfigurationError if none is installed under this name or it cannot be loaded."""
    points = tuple(entry_points(group=GROUP, name=kind))
    if not points:
        raise ConfigurationError(f"{where}: no provider of this kind is installed; there are {', '.join(kinds())}.")
    try:
        found: type[Provider] = points[0].load()
    except Exception as error:  # a plug-in may fail in any way; the operator must learn which one
        name = type(error).__name__
        raise ConfigurationError(f"{where}: the provider {kind} cannot be loaded ({name}); install what it needs.") from error
    if getattr(found, "kind", None) != kind:
        raise ConfigurationError(f"{where}: the class installed as {kind} has another kind; name its entry point as its kind.")
    return found


def configure(configured: Mapping[str, ProviderSettings], folder: Path | None = None) -> dict[str, Provider]:
    """Every configured provider, by name, not yet open. ConfigurationError names `providers.<name>.<setting>`.

    Relative paths among a provider's own settings start at `folder`.
    """
    return {name: _one(name, common, folder) for name, common in configured.items()}


def own_settings(name: str, common: ProviderSettings, folder: Path | None = None) -> Any:
    """The settings of a provider's own kind, defaults filled in. ConfigurationError names what is wrong."""
    try:
        return provider_class(common.kind, f"providers.{name}.kind").Settings.model_validate(
            common.own, context={"folder": folder})
    except ValidationError as error:
        raise ConfigurationError(_sentences(name, error)) from None


def _one(name: str, common: ProviderSettings, folder: Path | None) -> Provider:
    found = provider_class(common.kind, f"providers.{name}.kind")
    if common.channel not in found.channels:
        raise ConfigurationError(f"providers.{name}.channel: kind {common.kind} serves {' and '.join(sorted(found.channels))} only.")
    return found.configure(name, common.channel, common.timeout_s, own_settings(name, common, folder))


def _sentences(name: str, error: ValidationError) -> str:
    lines = []
    for fault in error.errors(include_url=False, include_input=False, include_context=False):
        where = ".".join(["providers", name, *(str(part) for part in fault["loc"])])
        known = "is no known setting; remove it or correct its spelling"
        lines.append(f"{where}: {known if fault['type'] == 'extra_forbidden' else fault['msg']}")
    return "The configuration cannot be used. " + "; ".join(lines) + "."
