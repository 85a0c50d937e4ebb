"""config.example.toml and the code agree both ways; files, variables and refusals behave as an operator expects."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from noticesvc import config
from noticesvc.bootstrap import plugins, template
from noticesvc.errors import ConfigurationError

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = (ROOT / "config.example.toml").read_text("utf-8")
# Tables whose names the operator chooses.
FREE_TABLES = {"rules", "providers"}
RULE_MEMBERS = {"version", "clause", "levels", "confirmations"}


def uncommented() -> dict[str, Any]:
    """The example with the provider tables that stand in comments."""
    return tomllib.loads(re.sub(r"(?m)^# (?=\[providers\.|\w+ = )", "", EXAMPLE))


def names(model: type[BaseModel]) -> set[str]:
    """The settings of a model as they stand in the file."""
    return {field.alias or name for name, field in model.model_fields.items()}


def test_every_key_of_the_example_is_known():
    """The example as it is, and with its commented tables, loads, and its providers can be configured."""
    for data in (tomllib.loads(EXAMPLE), uncommented()):
        settings = config.build(data, {}, ROOT)
        assert plugins.configure(settings.providers).keys() == data["providers"].keys()


@pytest.mark.parametrize("section", sorted(config.Settings.model_fields.keys() - FREE_TABLES - {"folder", "file"}))
def test_every_setting_stands_in_the_example_with_its_default(section):
    """No setting of a section is missing from the example, and each shows the default."""
    model = config.Settings.model_fields[section].annotation
    assert set(uncommented()[section]) == names(model)
    assert getattr(config.build(tomllib.loads(EXAMPLE), {}, ROOT), section) == getattr(config.Settings(), section)


def test_every_kind_of_provider_stands_in_the_example():
    """Each installed kind has a table, commented or not; the common settings are shown once."""
    tables = uncommented()["providers"].values()
    assert {table["kind"] for table in tables} == set(plugins.kinds())
    assert names(config.ProviderSettings) <= set().union(*tables)


@pytest.mark.parametrize("kind", [kind for kind in plugins.kinds() if kind != "sandbox"])
def test_every_setting_of_a_provider_stands_in_the_example(kind):
    """Each setting of a kind's own model is shown in its table."""
    (table,) = [table for table in uncommented()["providers"].values() if table["kind"] == kind]
    assert names(plugins.provider_class(kind).Settings) <= set(table)


def test_every_member_of_a_rule_stands_in_the_example():
    """The example's rule shows all that a rule can have."""
    assert set(uncommented()["rules"]["house"]) == RULE_MEMBERS


def test_every_line_of_the_example_has_one_key():
    """One key a line, so that a line can be copied."""
    assert not [line for line in EXAMPLE.splitlines() if re.match(r"\s*\w+ = .*\s\w+ = [\"\d]", re.sub(r"#.*|\{.*\}", "", line))]


def test_the_configuration_of_init_loads():
    """What `init` writes is a valid configuration, whatever stands in the database URL."""
    url = 'postgresql+asyncpg://svc:p"w\\d@db/n'
    settings = config.build(tomllib.loads(template.configuration(url, "notices.example.com")), {}, ROOT)
    assert settings.database.url.get_secret_value() == url
    assert {provider.kind for provider in settings.providers.values()} == {"sandbox"}


@pytest.mark.parametrize(("data", "named"), [
    ({"worker": {"concurency": 3}}, "worker.concurency"),
    ({"wroker": {}}, "wroker"),
    ({"server": {"port": 70000}}, "server.port"),
    ({"quiet": {"from": "25:00"}}, "quiet.from"),
    ({"worker": {"lease_s": 30}, "providers": {"mail": {"kind": "sandbox", "channel": "email"}}}, "providers.mail.timeout_s"),
    ({"worker": {"stop_grace_s": 20}, "providers": {"mail": {"kind": "sandbox", "channel": "email"}}}, "providers.mail.timeout_s"),
    ({"providers": {"mail": {"kind": "sandbox", "channel": "postal"}}}, "providers.mail.channel"),
    ({"folder": "/tmp"}, "folder"),
])
def test_a_setting_that_cannot_be_used_is_named(data, named):
    """The error names the setting and never repeats its value."""
    with pytest.raises(ConfigurationError) as caught:
        config.build(data, {}, ROOT)
    assert named in str(caught.value)
    assert not [value for value in ("70000", "25:00", "postal") if value in str(caught.value)]


@pytest.mark.parametrize(("table", "named"), [
    ({"kind": "smtp", "channel": "email", "from_address": "n@example.com", "hots": "x"}, "providers.mail.hots"),
    ({"kind": "smtp", "channel": "email", "from_address": "n@example.com", "port": "s3cret"}, "providers.mail.port"),
    ({"kind": "smtp", "channel": "sms", "from_address": "n@example.com"}, "providers.mail.channel"),
    ({"kind": "pigeon", "channel": "email"}, "providers.mail.kind"),
])
def test_a_provider_setting_that_cannot_be_used_is_named(table, named):
    """The kind's own settings are checked too, under their full name."""
    settings = config.build({"providers": {"mail": table}}, {}, ROOT)
    with pytest.raises(ConfigurationError) as caught:
        plugins.configure(settings.providers)
    assert named in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_variables_override_the_file():
    """NOTICESVC_SECTION__KEY wins over the file, in every section, lists as JSON; names without `__` are not configuration."""
    settings = config.build(
        {"server": {"port": 1}, "providers": {"Mail": {"kind": "smtp", "channel": "email"}}},
        {"NOTICESVC_SERVER__PORT": "8081", "NOTICESVC_ANCHORS__TSA_URLS": '["https://tsa.example"]',
         "NOTICESVC_ANCHORS__TSA_ROOTS": "roots.pem", "NOTICESVC_BIN": "x",
         "NOTICESVC_PROVIDERS__MAIL__FROM_ADDRESS": "n@example.com", "HOME": "/"}, ROOT)
    assert (settings.server.port, settings.anchors.tsa_urls) == (8081, ["https://tsa.example"])
    assert settings.providers["Mail"].own == {"from_address": "n@example.com"}


def test_relative_paths_start_at_the_file(tmp_path):
    """A path in the file is relative to it, an absolute one is not."""
    (tmp_path / "config.toml").write_text("")
    settings = config.load(tmp_path / "config.toml", {})
    assert settings.path("ledger.key") == tmp_path / "ledger.key"
    assert settings.path("/keys/ledger.key") == Path("/keys/ledger.key")


@pytest.mark.parametrize("content", [b"[server", b"\xff\xfe", None])
def test_a_file_that_cannot_be_read_is_refused_with_a_remedy(tmp_path, content):
    """No file, no TOML, no UTF-8: each is a sentence that names the file."""
    file = tmp_path / "config.toml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"config\.toml"):
        config.load(file, {})


def test_secrets_are_not_shown_by_settings():
    """The representation of settings, which may end in a log, holds no password."""
    settings = config.build({"database": {"url": "postgresql+asyncpg://svc:hunter2@db/n"}, "events": {"secret": "whsec_hunter2"}}, {}, ROOT)
    assert "hunter2" not in repr(settings)
    assert "hunter2" not in str(settings)
