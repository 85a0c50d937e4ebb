"""Our templates and a vendor's: which of its approved templates stands for which of ours, and with which parameters.

Called by the SMS providers whose vendor sends nothing but approved templates.
"""

from collections.abc import Mapping
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field

from noticesvc.provider import Message, ProviderUnavailable

T = TypeVar("T")


class VendorTemplate(BaseModel):
    """One approved template: its code at the vendor, and our parameter behind each of its own.

    Ours are the template's parameters and, where the SMS carries a link, `link` (the whole address) and `link_token` (its last
    part, for vendors that let no address be a variable).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    code: str = Field(min_length=1, max_length=64)
    params: Mapping[str, str] = Field(default_factory=dict)


class NumberedTemplate(BaseModel):
    """One approved template of a vendor whose parameters have numbers: ours in its order."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    code: str = Field(min_length=1, max_length=64)
    params: tuple[str, ...] = ()


def chosen(templates: Mapping[str, T], message: Message) -> T:
    """The vendor's template for a message. Raises ProviderUnavailable where none is configured: another provider may take it."""
    found = templates.get(message.template or "")
    if found is None:
        raise ProviderUnavailable("No template of this vendor is configured for the notice's; add it to templates.", code="template")
    return found


def value(message: Message, name: str) -> str:
    """One of our parameters. Raises ProviderUnavailable if the message has none of this name."""
    found = message.template_params.get(name)
    if found is None:
        raise ProviderUnavailable("The vendor's template wants a parameter that the notice does not have; correct its params.",
                                  code="template-params")
    return found
