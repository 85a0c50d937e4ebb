"""Service rules from the configuration."""

import pytest

from noticesvc.domain.rules import BUILT_IN, configured
from noticesvc.errors import ConfigurationError

HOUSE = {"version": "1", "clause": "6.2", "levels": {"sms": "arrived"}, "confirmations": ["confirmed"]}


def test_a_configured_rule_is_what_the_table_says():
    """The documented table becomes a rule for notices, and its definition reads back."""
    rule = configured("house", HOUSE)
    assert (rule.id, rule.version, rule.clause) == ("house", "1", "6.2")
    assert dict(rule.levels) == {"sms": "arrived"}
    assert rule.confirmations == {"confirmed"}
    assert not rule.analysis
    definition = rule.to_json()
    assert definition == {"id": "house", **HOUSE}
    assert configured(definition.pop("id"), definition) == rule


def test_confirmations_left_out_mean_any():
    """Without confirmations every class counts, as under the agreement's own rules."""
    rule = configured("house", {name: value for name, value in HOUSE.items() if name != "confirmations"})
    assert rule.confirmations is None
    assert "confirmations" not in rule.to_json()


@pytest.mark.parametrize("name", [*BUILT_IN, "court-1", "COURT-31", "court-"])
def test_kept_names_are_refused(name):
    """Built-in names and everything that looks like a court's rule are kept."""
    with pytest.raises(ConfigurationError, match="kept for built-in rules"):
        configured(name, HOUSE)


@pytest.mark.parametrize("name", ["", "a b", "x" * 65, "-a", "a\n", "规则"])
def test_unusable_names_are_refused(name):
    """A rule's name stands in results and addresses, so it is short and plain."""
    with pytest.raises(ConfigurationError, match="unusable name"):
        configured(name, HOUSE)


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"version": None}, "rules.house.version"), ({"version": 1}, "rules.house.version"),
        ({"clause": " "}, "rules.house.clause"), ({"levels": {}}, "rules.house.levels"),
        ({"levels": None}, "rules.house.levels"), ({"levels": ["sms"]}, "rules.house.levels"),
        ({"levels": {"fax": "arrived"}}, "rules.house.levels"),
        ({"levels": {"sms": "intended"}}, "rules.house.levels.sms"),
        ({"levels": {"sms": "returned"}}, "rules.house.levels.sms"),
        ({"levels": {"sms": []}}, "rules.house.levels.sms"), ({"confirmations": []}, "rules.house.confirmations"),
        ({"confirmations": "confirmed"}, "rules.house.confirmations"),
        ({"confirmations": ["sure"]}, "rules.house.confirmations"), ({"levle": {}}, "rules.house.levle"),
    ],
)  # fmt: skip
def test_errors_name_the_key(change, key):
    """Each wrong setting is named by its key."""
    with pytest.raises(ConfigurationError) as caught:
        configured("house", {**HOUSE, **change})
    assert str(caught.value).startswith(f"{key} ")


def test_a_rule_must_be_a_table():
    """`rules.house = 1` is told apart from a table with gaps."""
    with pytest.raises(ConfigurationError, match="must be a table"):
        configured("house", 1)


def test_built_in_rules_name_version_and_clause():
    """Each result must be able to name rule, version and clause; only court rules are analysis."""
    for name, rule in BUILT_IN.items():
        assert (rule.id, rule.analysis) == (name, name.startswith("court-"))
        assert rule.version
        assert rule.clause
