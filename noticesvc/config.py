"""Configuration: a TOML file and NOTICESVC_SECTION__KEY variables become frozen settings; an unknown key is an error naming it.

Relative paths, the SQLite URL's too, are relative to the file. Secrets never appear in errors or representations.
"""

import json
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator

from noticesvc.errors import ConfigurationError

Channel = Literal["sms", "email"]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)


class Issuer(_Section):
    """Who sends the notices; printed on proofs and certificates."""

    name: str = "示例科技有限公司"
    credit_code: str = ""
    service_mailbox: str = "service@example.com"


class Server(_Section):
    """Where the API listens and how the outside reaches it."""

    host: str = "127.0.0.1"
    port: int = Field(8080, ge=0, le=65535)
    public_url: str = "http://127.0.0.1:8080"

    @field_validator("public_url")
    @classmethod
    def _http(cls, value: str) -> str:
        if not value.startswith(("http://", "https://")):
            msg = "must begin with http:// or https://"
            raise ValueError(msg)
        return value.rstrip("/")


class DatabaseSettings(_Section):
    """One database; SQLite for one host, PostgreSQL to grow."""

    url: SecretStr = SecretStr("sqlite+aiosqlite:///noticesvc.db")


class KeySource(_Section):
    """Where a key comes from; the first that is set: the text itself (from the environment), a command that prints it, a file."""

    key: SecretStr = SecretStr("")
    key_command: list[str] = []
    key_file: str


class Ledger(KeySource):
    """The log's name, its signing key and where the outside copy of its checkpoint lies."""

    origin: str = Field("notices.example.com", min_length=1, max_length=200, pattern=r"^[^\s+]+$")
    key_file: str = "ledger.key"
    max_delay_s: float = Field(1.0, gt=0, le=60)
    checkpoint_copy: str = "checkpoint"
    self_audit_every_h: float = Field(24, ge=0, le=8760)


class VaultSettings(KeySource):
    """The master key of personal data, and how long it is kept after a recipient was anonymised."""

    key_file: str = "vault.key"
    retention_days: int = Field(1095, ge=0, le=36500)


class Worker(_Section):
    """The dispatch engine."""

    concurrency: int = Field(64, ge=1, le=4096)
    claim_batch: int = Field(500, ge=1, le=10000)
    lease_s: float = Field(60, gt=0, le=3600)
    stop_grace_s: float = Field(30, gt=0, le=600)
    retry_first_s: float = Field(30, gt=0, le=86400)
    retry_max_s: float = Field(3600, gt=0, le=604800)
    reconcile_after_s: float = Field(5, ge=0, le=3600)
    journal_dir: str = "journal"


class Events(_Section):
    """Outgoing webhooks; an empty url sends none."""

    url: str = ""
    secret: SecretStr = SecretStr("")
    allow_private: bool = False

    @field_validator("url")
    @classmethod
    def _http(cls, value: str) -> str:
        if value and not (value.startswith(("http://", "https://")) and urlsplit(value).hostname):
            msg = "must be empty, or begin with http:// or https:// and name a host"
            raise ValueError(msg)
        return value


class Telemetry(_Section):
    """Where spans go, as OTLP over HTTP; an empty address sends none. And where a process without an API tells its metrics."""

    otlp_url: str = Field("", pattern=r"^(https?://\S+)?$")
    worker_metrics_port: int = Field(0, ge=0, le=65535)


class Inbound(_Section):
    """The service mailbox for inbound legal notices."""

    maildir: str = ""


class CertificateSettings(_Section):
    """How certificates are signed; without a file they are not."""

    pkcs12_file: str = ""
    passphrase: SecretStr = SecretStr("")
    tsa_url: str = ""


class Anchors(_Section):
    """Outside timestamps and witnesses."""

    tsa_urls: list[str] = []
    tsa_every_min: int = Field(60, ge=1)
    tsa_roots: str = ""
    witness_urls: list[str] = []
    witness_keys: list[str] = []

    @model_validator(mode="after")
    def _whole(self) -> "Anchors":
        if self.tsa_urls and not self.tsa_roots:
            msg = "tsa_urls need tsa_roots, the PEM file of the authorities that their certificates must lead to"
            raise ValueError(msg)
        if len(self.witness_urls) != len(self.witness_keys):
            msg = "witness_keys must name the verifier key of each of witness_urls, in the same order"
            raise ValueError(msg)
        return self


class BroadcastSettings(_Section):
    """What is told of a broadcast before it is approved."""

    sms_price_per_part: float = Field(0.0, ge=0, le=1000)
    currency: str = Field("CNY", min_length=1, max_length=8)


class CalendarSettings(_Section):
    """The operator's own working-day data, for years the library does not know."""

    file: str = ""


class Quiet(_Section):
    """Hours (Asia/Shanghai) in which commercial notices are not sent."""

    from_: str = Field("22:00", alias="from", pattern=r"^([01]\d|2[0-3]):[0-5]\d$")
    to: str = Field("08:00", pattern=r"^([01]\d|2[0-3]):[0-5]\d$")


class ProviderSettings(BaseModel):
    """What every provider has; the rest is validated by its kind's own Settings."""

    model_config = ConfigDict(extra="allow", frozen=True)

    kind: str
    channel: Channel
    priority: int = Field(1, ge=0, le=1000)
    timeout_s: float = Field(20, gt=0, le=600)
    breaker_after: int = Field(20, ge=1)
    breaker_open_s: float = Field(30, gt=0)
    rate_per_s: float = Field(0, ge=0)

    @property
    def own(self) -> dict[str, Any]:
        """The settings that belong to the kind."""
        return dict(self.model_extra or {})


class Settings(_Section):
    """A whole configuration, with the folder that its relative paths start from."""

    issuer: Issuer = Issuer()
    server: Server = Server()
    database: DatabaseSettings = DatabaseSettings()
    ledger: Ledger = Ledger()
    vault: VaultSettings = VaultSettings()
    worker: Worker = Worker()
    events: Events = Events()
    telemetry: Telemetry = Telemetry()
    inbound: Inbound = Inbound()
    anchors: Anchors = Anchors()
    certificate: CertificateSettings = CertificateSettings()
    broadcasts: BroadcastSettings = BroadcastSettings()
    calendar: CalendarSettings = CalendarSettings()
    quiet: Quiet = Quiet.model_validate({})
    rules: dict[str, dict[str, Any]] = {}
    providers: dict[str, ProviderSettings] = {}
    folder: Path = Field(default=Path(), exclude=True)
    file: Path = Field(default=Path("config.toml"), exclude=True)

    @field_validator("providers")
    @classmethod
    def _names(cls, value: dict[str, ProviderSettings]) -> dict[str, ProviderSettings]:
        for name in value:
            if not name.replace("-", "").replace("_", "").isalnum() or not name.isascii() or len(name) > 40:
                msg = f"provider name {name!r}: use letters, digits, - and _"
                raise ValueError(msg)
        return value

    @model_validator(mode="after")
    def _timeouts(self) -> "Settings":
        for name, provider in self.providers.items():
            limit = min(self.worker.lease_s / 2, self.worker.stop_grace_s)
            if provider.timeout_s >= limit:
                msg = (
                    f"providers.{name}.timeout_s = {provider.timeout_s:g} must be under half of worker.lease_s and under "
                    f"worker.stop_grace_s, so under {limit:g}; lower it or raise those"
                )
                raise ValueError(msg)
        return self

    def path(self, value: str) -> Path:
        """A path of the configuration, relative to its file."""
        return self.folder / value


def load(file: Path, environment: Mapping[str, str] | None = None) -> Settings:
    """Settings from a file and the environment. ConfigurationError names what is wrong and where."""
    try:
        data = tomllib.loads(file.read_text("utf-8"))
    except OSError as error:
        raise ConfigurationError(f"The configuration {file} cannot be read ({type(error).__name__}); name it with --config or "
                                 "NOTICESVC_CONFIG, or run `noticesvc init --dir DIR`.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        msg = f"The configuration {file} is not TOML: {error}."
        raise ConfigurationError(msg) from None
    return build(data, os.environ if environment is None else environment, file.resolve().parent, file.resolve())


def build(data: Mapping[str, Any], environment: Mapping[str, str], folder: Path, file: Path | None = None) -> Settings:
    """Settings from parsed TOML and an environment."""
    merged = {section: dict(keys) if isinstance(keys, dict) else keys for section, keys in data.items()}
    for name in ("folder", "file"):
        if name in merged:
            msg = f"[{name}] is no section of the configuration; remove it."
            raise ConfigurationError(msg)
    for name, value in environment.items():
        if name.startswith("NOTICESVC_") and "__" in name:
            _override(merged, name, value)
    try:
        return Settings.model_validate({**merged, "folder": folder, "file": file or folder / "config.toml"})
    except ValidationError as error:
        raise ConfigurationError(_sentences(error)) from None


def _override(data: dict[str, Any], name: str, value: str) -> None:
    *sections, key = name.removeprefix("NOTICESVC_").lower().split("__")
    target: Any = data
    for section in sections:
        if not isinstance(target, dict) or not section:
            break
        # Names in the file keep their case; variables cannot.
        known = next((k for k in target if k.lower() == section), section)
        target = target.setdefault(known, {})
    if not isinstance(target, dict) or not key:
        msg = f"{name} names no setting; write NOTICESVC_SECTION__KEY."
        raise ConfigurationError(msg)
    known = next((k for k in target if k.lower() == key), key)
    if value[:1] in "[{" and value:
        try:
            target[known] = json.loads(value)
        except ValueError:
            msg = f"{name} begins like a list or table but is not JSON."
            raise ConfigurationError(msg) from None
    else:
        target[known] = value


def _sentences(error: ValidationError) -> str:
    lines = []
    for fault in error.errors(include_url=False, include_input=False, include_context=False):
        where = ".".join(str(part) for part in fault["loc"]) or "configuration"
        text = "is no known setting; remove it or correct its spelling" if fault["type"] == "extra_forbidden" else fault["msg"]
        lines.append(f"{where}: {text}" if fault["loc"] else text.removeprefix("Value error, "))
    return "The configuration cannot be used. " + "; ".join(lines) + "."
