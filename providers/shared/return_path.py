"""The envelope sender: where mail comes back to, with the return token of its attempt where the setting asks for it (VERP).

Called by the providers that send mail. `bounces+{token}@notices.example.com` gives each attempt an address of its own, so that
even a bounce that says nothing but to whom it goes finds its attempt.
"""

from noticesvc.provider import ConfigurationError, Message, Rejected
from providers.shared.smtp_envelope import wire_address

PLACE = "{token}"
_TOKEN_LETTERS = 45


def return_path(setting: str, message: Message) -> str:
    """Return the envelope sender of one message."""
    return setting.replace(PLACE, message.return_token)


def check_addresses(name: str, from_address: str, return_path_setting: str) -> None:
    """Raise ConfigurationError for an address that no envelope can carry."""
    for setting, text in (("from_address", from_address), ("return_path", return_path_setting.replace(PLACE, "x" * _TOKEN_LETTERS))):
        if text:
            try:
                wire_address(text)
            except Rejected:
                more = f" ({PLACE} takes {_TOKEN_LETTERS} of the 64 letters before the @)" if setting == "return_path" else ""
                raise ConfigurationError(
                    f"providers.{name}.{setting}: this is no plain mail address; write name@domain{more}.") from None
