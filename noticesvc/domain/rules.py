"""Service rules: data that says from which level on service starts on each channel, and whose clause says so.

Read by `service_time`; `configured` is called by the configuration for the operator's own rules. The built-in rules
follow clauses 6.2 and 6.3 of the platform's agreement, each with the reading "arrived" (到达) and the reading "sent"
(发送成功, 发出), and two court rules for analysis: article 90 of the Civil Procedure Law with article 31 of the online
litigation rules, and article 95 (service by announcement).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from types import MappingProxyType
from typing import Any

from noticesvc.domain.evidence import CHANNELS, CONFIRMATIONS, LEVEL, Evidence
from noticesvc.errors import ConfigurationError

_NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One service rule.

    `levels` names for each channel the kind from which service starts; a channel not named never counts.
    `confirmations` are the classes of contact that count, null for any, even an unstated one. `raised` names for a
    class the kind that it needs at least, `link_from` the kind that a delivery carrying a `link` needs at least.
    `presumed` are the pairs (class, kind) whose basis is `presumed`. On `returned` channels post that came back by the
    recipient's fault serves when it came back. `after` is what runs between the event and service. `analysis` marks
    what a court might find, never a notice's own rule; the agreement's consequence for dead contacts (6.3, 4th
    paragraph; 二.4) applies under all other rules.
    """

    id: str
    version: str
    clause: str
    levels: Mapping[str, str]
    confirmations: frozenset[str] | None = None
    raised: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    link_from: str | None = None
    presumed: frozenset[tuple[str, str]] = frozenset()
    returned: frozenset[str] = frozenset()
    after: timedelta | None = None
    analysis: bool = False

    def level_needed(self, item: Evidence) -> int | None:
        """The level from which an event with this item's channel, confirmation and content counts; null: never."""
        kind = self.levels.get(item.channel)
        if kind is None or (self.confirmations is not None and item.confirmation not in self.confirmations):
            return None
        needed = LEVEL[kind]
        if self.raised and item.confirmation is not None:
            needed = max(needed, LEVEL[self.raised.get(item.confirmation, kind)])
        if self.link_from is not None and item.carries == "link":
            needed = max(needed, LEVEL[self.link_from])
        return needed

    def serves_returned(self, item: Evidence) -> bool:
        """Whether this `returned` item by the recipient's fault is service under this rule."""
        return item.channel in self.returned and (
            self.confirmations is None or item.confirmation in self.confirmations
        )

    def to_json(self) -> dict[str, Any]:
        """The definition of a configured rule, which `configured` reads back (without `id`)."""
        table: dict[str, Any] = {
            "id": self.id, "version": self.version, "clause": self.clause, "levels": dict(self.levels),
        }
        if self.confirmations is not None:
            table["confirmations"] = sorted(self.confirmations)
        return table


def _built_in() -> Mapping[str, Rule]:
    every = (
        Rule(id="agreement-6.2", version="1", clause="6.2", levels=MappingProxyType(
            {"in_site": "arrived", "announcement": "arrived", "sms": "arrived", "email": "arrived"})),
        Rule(id="agreement-6.2-sent", version="1", clause="6.2", levels=MappingProxyType(
            {"sms": "submitted", "email": "submitted", "in_site": "arrived", "announcement": "arrived"})),
        Rule(id="agreement-6.3", version="1", clause="6.3", returned=frozenset({"postal"}), levels=MappingProxyType(
            {"in_site": "arrived", "sms": "arrived", "email": "arrived", "postal": "arrived"})),
        Rule(id="agreement-6.3-sent", version="1", clause="6.3", levels=MappingProxyType(
            {"sms": "submitted", "email": "submitted", "postal": "submitted", "in_site": "arrived"})),
        Rule(id="court-31", version="1", clause="civil procedure law art. 90, online litigation rules art. 31",
             levels=MappingProxyType({"in_site": "arrived", "sms": "arrived", "email": "arrived"}),
             confirmations=frozenset({"confirmed", "identified"}),
             raised=MappingProxyType({"identified": "accessed"}), link_from="accessed",
             presumed=frozenset({("identified", "accessed")}), analysis=True),
        Rule(id="court-95", version="1", clause="civil procedure law art. 95",
             levels=MappingProxyType({"announcement": "arrived"}), after=timedelta(days=30), analysis=True),
    )  # fmt: skip
    return MappingProxyType({rule.id: rule for rule in every})


BUILT_IN: Mapping[str, Rule] = _built_in()
"""The built-in rules by id, in the order in which results list them."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_MEMBERS = ("version", "clause", "levels", "confirmations")
_STARTING_KINDS = tuple(kind for kind, level in LEVEL.items() if level >= 1)


def configured(id: str, table: Mapping[str, Any]) -> Rule:  # noqa: A002 - the word of the product
    """Make an operator's rule from its configuration table `[rules.<id>]`.

    `version` and `clause` are required strings, `levels` a table from channel to kind, `confirmations` a list of
    classes (left out: any). Raises ConfigurationError that names the key. Names of built-in rules and names that begin
    with `court-` are refused, because only a court's own service is judicial service.
    """
    if not _NAME.fullmatch(id):
        raise ConfigurationError(
            "A rule under [rules] has an unusable name; use up to 64 letters, digits, '.', '_' and '-'."
        )
    key = f"rules.{id}"
    if id in BUILT_IN or id.lower().startswith("court-"):
        raise ConfigurationError(f"[{key}] takes a name that is kept for built-in rules; choose another name.")
    if not isinstance(table, Mapping):
        raise ConfigurationError(f"[{key}] must be a table with version, clause and levels.")
    for member in table:
        if member not in _MEMBERS:
            raise ConfigurationError(f"{key}.{member} is not known; a rule has {', '.join(_MEMBERS)}.")
    return Rule(
        id=id,
        version=_text(table, key, "version"),
        clause=_text(table, key, "clause"),
        levels=_levels(table.get("levels"), f"{key}.levels"),
        confirmations=_confirmations(table.get("confirmations"), f"{key}.confirmations"),
    )


def _text(table: Mapping[str, Any], key: str, member: str) -> str:
    value = table.get(member)
    if not isinstance(value, str) or not value.strip():
        raise ConfigurationError(f"{key}.{member} is missing or no string; set it to a non-empty string.")
    return value


def _levels(value: object, key: str) -> Mapping[str, str]:
    if not isinstance(value, Mapping) or not value:
        raise ConfigurationError(f'{key} is missing or empty; name at least one channel, like sms = "arrived".')
    for channel, kind in value.items():
        if channel not in CHANNELS:
            raise ConfigurationError(f"{key} names something that is no channel; use {', '.join(CHANNELS)}.")
        if kind not in _STARTING_KINDS:
            raise ConfigurationError(f"{key}.{channel} must be one of {', '.join(_STARTING_KINDS)}.")
    return MappingProxyType({channel: value[channel] for channel in CHANNELS if channel in value})


def _confirmations(value: object, key: str) -> frozenset[str] | None:
    if value is None:
        return None
    if not isinstance(value, list | tuple) or not value or any(name not in CONFIRMATIONS for name in value):
        raise ConfigurationError(f"{key} must be a list of one or more of {', '.join(CONFIRMATIONS)}.")
    return frozenset(value)
