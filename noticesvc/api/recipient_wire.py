"""Wire models of the recipients' routes, and a set of contacts on its way from JSON to the operation."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from noticesvc.api import wire
from noticesvc.domain import contact, instant
from noticesvc.operations.contacts import Replacement

LARGEST_COUNTER = 2**53 - 1  # RFC 8785 and RFC 7493: integers that every JSON reader holds exactly
AccountState = Literal["active", "locked", "closed", "void"]
Sha256 = Annotated[str, Field(pattern=r"^[0-9A-Fa-f]{64}$")]
Confirmation = Literal["confirmed", "identified", "unknown"]


class AskedContact(wire.Wire):
    """One contact of a set. `asserted_from`: since when the source says that it holds; `verified_at`: when it was verified."""

    channel: Literal["sms", "email", "postal"]
    address: Annotated[wire.Text, Field(max_length=1000)]
    confirmation: Confirmation
    verified_at: wire.Instant | None = None
    asserted_from: wire.Instant | None = None


class PutContacts(wire.Wire):
    """The whole set, in order of preference. `effective_from`: when we begin to use it; null: now."""

    contacts: Annotated[list[AskedContact], Field(max_length=contact.LARGEST_SET)]
    source: Annotated[wire.Line, Field(min_length=1, max_length=200)]
    source_version: Annotated[int, Field(ge=0, le=LARGEST_COUNTER)] | None = None
    effective_from: wire.Instant | None = None
    locale: Annotated[str, Field(max_length=35, pattern=r"^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$")] | None = None


class ImportLine(PutContacts):
    """One line of an import."""

    recipient_id: wire.CallerId


class RecordedContact(wire.Wire):
    """A recorded version of a contact, in effect from `effective_from` until before `effective_to` (null: no end is known)."""

    contact_id: str
    channel: Literal["sms", "email", "postal"]
    address: str
    confirmation: Confirmation
    source: str
    asserted_from: wire.Instant | None
    verified_at: wire.Instant | None
    effective_from: wire.Instant
    effective_to: wire.Instant | None
    recorded_at: wire.Instant
    state: Literal["usable", "invalid"]


class RecordedContacts(wire.Wire):
    """The set as recorded, future contacts included."""

    recipient_id: str
    contacts: list[RecordedContact]


class ContactsInEffect(RecordedContacts):
    """The set in effect at an instant."""

    at: wire.Instant


class Rejected(wire.Wire):
    """A line that was not taken, and why."""

    line: int
    reason: str


class Imported(wire.Wire):
    """What became of the lines. `rejected` names the first thousand, `rejected_total` counts all."""

    accepted: int
    unchanged: int
    rejected: list[Rejected]
    rejected_total: int


class ContactsQuery(wire.Wire):
    """The instant to answer for; now if left out."""

    at: wire.Instant | None = None


class HistoryQuery(wire.Wire):
    """A page of a list."""

    limit: wire.Limit = 50
    cursor: str | None = None


class PutAccount(wire.Wire):
    """The state of the account on the platform."""

    state: AccountState


class PostAcceptance(wire.Wire):
    """A version of an agreement that the recipient accepted, and how its clauses were shown."""

    agreement: Annotated[wire.Line, Field(min_length=1, max_length=200)]
    version: Annotated[wire.Line, Field(min_length=1, max_length=200)]
    accepted_at: wire.Instant
    document_sha256: Sha256
    presentation: Annotated[wire.Text, Field(min_length=1, max_length=4000)]


class PutPreferences(wire.Wire):
    """Channels on which commercial messages are refused; the whole list."""

    refuse_commercial: Annotated[list[Literal["in_site", "sms", "email", "postal", "announcement"]], Field(max_length=20)]


class ContactVersions(wire.Wire):
    """A page of contact versions."""

    items: list[RecordedContact]
    next_cursor: str | None


class Account(wire.Wire):
    """The recorded state of the account."""

    recipient_id: str
    state: AccountState


class Acceptance(PostAcceptance):
    """A recorded acceptance."""

    id: str
    recorded_at: wire.Instant


class Preferences(PutPreferences):
    """The recorded refusals."""

    recipient_id: str


class Recipient(wire.Wire):
    """A recipient without contacts. `void_since`: since when the agreement counts as void; `acceptance`: the one in effect."""

    recipient_id: str
    account_state: AccountState
    void_since: wire.Instant | None
    locale: str | None
    refuse_commercial: list[str]
    acceptance: Acceptance | None
    created_at: wire.Instant


def replacement(body: PutContacts) -> Replacement:
    """The set as the operation takes it. InputError with pointers for addresses that cannot be used."""
    wanted = contact.wanted_set(
        contact.Wanted(channel=one.channel, address=one.address, confirmation=one.confirmation,
                       asserted_from=_micros(one.asserted_from), verified_at=_micros(one.verified_at)) for one in body.contacts)
    return Replacement(wanted=wanted, source=body.source, source_version=body.source_version,
                       effective_from=_micros(body.effective_from), locale=body.locale)


def _micros(value: datetime | None) -> int | None:
    return None if value is None else instant.to_micros(value)
