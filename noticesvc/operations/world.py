"""What operations know of their installation besides the database: keys, rules, calendar, names."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cryptography.x509 import Certificate

from noticesvc.domain.calendar import Calendar
from noticesvc.domain.quiet import QuietHours
from noticesvc.domain.rules import Rule
from noticesvc.vault import DataKey, Vault


@dataclass(frozen=True, slots=True)
class World:
    """Fixed for the life of a process. `channels_served` are the channels that some configured provider serves."""

    vault: Vault
    system_key: DataKey
    rules: Mapping[str, Rule]  # built-in and configured, by id
    calendar: Calendar
    issuer: str
    software: str
    origin: str
    public_url: str
    channels_served: frozenset[str]
    sandbox: bool
    events_enabled: bool = False
    witnesses: tuple[str, ...] = ()  # verifier keys of the configured witnesses
    tsa_roots: tuple[Certificate, ...] = ()  # authorities that timestamps must lead to
    quiet: QuietHours | None = None
    sms_templates: frozenset[str] | None = None  # of ours that some SMS provider can send; null: some provider sends any text
    sign_pdf: Callable[[bytes, str], bytes] | None = None  # signs a certificate, with a reason; null: certificates are not signed
    credit_code: str = ""
    service_mailbox: str = ""  # where recipients may write to, also to be sent no more commercial mail
    sms_price_per_part: float = 0.0  # in `currency`, for the estimate before a broadcast is approved; 0: unknown
    currency: str = "CNY"
    retention_days: int = 1095  # between the request to anonymise and destruction

    def can_send_sms(self, template: str | None) -> bool:
        """Whether some SMS provider can send a notice made from this template of ours (null: from none)."""
        return self.sms_templates is None or template in self.sms_templates
