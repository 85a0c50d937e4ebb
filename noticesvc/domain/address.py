"""Addresses: one normal form for each channel, and the masked form that may be shown.

Called wherever an address comes in (recipients' contacts) or goes out masked (notices, pages, certificates, the verifier).
Telephone numbers become E.164 (ITU-T), mail addresses follow RFC 5321/5322 and RFC 6531 (SMTPUTF8), postal addresses are
kept as written. Errors never repeat the address.
"""

import re
import unicodedata
from functools import lru_cache
from typing import Final

import email_validator
import phonenumbers

from noticesvc.errors import Fault, InputError

CONTACT_CHANNELS: Final = ("sms", "email", "postal")
"""Channels that have addresses; the account itself (`in_site`) is implicit and an announcement has none."""

LONGEST_POSTAL: Final = 500
_LONGEST_PHONE = 40
_LONGEST_EMAIL = 254  # RFC 5321, 4.5.3.1.3, less the angle brackets
_SHOWN_POSTAL = 6
_PHONE = re.compile(r"\+?[0-9 ()\-.\u2010-\u2015\u00a0]+")
_PLAIN_LOCAL = re.compile(r"[a-z0-9_-]{1,32}(?:\.[a-z0-9_-]{1,15}){0,2}")  # RFC 5322 dot-atoms of at most 64 octets that NFC leaves alone
_CHINESE_MOBILE = re.compile(r"(?:(?:00)?86)?1[0-9]{10}")
# Newlines apart: controls, line and paragraph separators, halves of surrogate pairs, and what turns the reading direction
# of the text around it (Unicode TR 36), which could show another address than the one that is used.
_UNPRINTABLE = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def normalise(channel: str, text: str) -> str:
    """The normal form of an address on `sms`, `email` or `postal`; equal addresses have equal forms.

    Raises InputError with a fault at `/address`, or at `/channel` for a channel without addresses.
    """
    match channel:
        case "sms":
            return _phone(text)
        case "email":
            return _email(text)
        case "postal":
            return _postal(text)
    raise InputError("Only sms, email and postal contacts have an address.",
                     (Fault("/channel", "must be sms, email or postal"),))


def mask(channel: str, address: str) -> str:
    """An address in normal form with one `*` for each hidden character.

    A number keeps its beginning and its last four digits, short ones their last two; a mailbox its first character, if it
    has others, and its domain; a postal address its first six characters, a short one fewer than half.
    """
    match channel:
        case "sms":
            shown, hidden = (4, 4) if len(address) >= 12 else (2, 4)
            start = max(0, len(address) - shown - hidden)
            return address[:start] + "*" * (len(address) - start - shown) + address[-shown:]
        case "email":
            local, _, domain = address.rpartition("@")
            shown = 1 if len(local) > 1 else 0
            return local[:shown] + "*" * (len(local) - shown) + "@" + domain
        case _:
            shown = min(_SHOWN_POSTAL, len(address) // 2)
            return address[:shown] + "*" * (len(address) - shown)


def _refused(detail: str) -> InputError:
    return InputError("An address cannot be used.", (Fault("/address", detail),))


def _phone(text: str) -> str:
    """E.164. Without a country code only a Chinese mobile number is understood: anything else would be a guess."""
    text = unicodedata.normalize("NFKC", text.strip()) if len(text) <= _LONGEST_PHONE else ""
    digits = re.sub(r"[^0-9]", "", text)
    if not _PHONE.fullmatch(text) or not (text.startswith("+") or _CHINESE_MOBILE.fullmatch(digits)):
        raise _refused("must be a telephone number with its country code, or a Chinese mobile number")
    try:
        number = phonenumbers.parse("+" + digits if text.startswith("+") else digits, "CN")
    except phonenumbers.NumberParseException:
        raise _refused("must be a telephone number with its country code, or a Chinese mobile number") from None
    if not phonenumbers.is_valid_number(number):
        raise _refused("is not a telephone number that exists in its country's numbering plan")
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def _email(text: str) -> str:
    """The mailbox alone, without a display name; the domain in lower case and Unicode, the local part in NFC."""
    text = text.strip(" ")
    if not 0 < len(text) <= _LONGEST_EMAIL or _UNPRINTABLE.search(text) or "\n" in text:
        raise _refused("must be one mail address like name@example.cn")
    try:
        local, _, domain = text.rpartition("@")
        # A list names a million mailboxes at a few thousand domains. Where the local part is its own normal form, only the domain
        # needs the library, once.
        if _PLAIN_LOCAL.fullmatch(local) and domain.isascii() and (normal := _domain(domain)).isascii():
            return f"{local}@{normal}"
        return email_validator.validate_email(text, check_deliverability=False, strict=True).normalized
    except (email_validator.EmailNotValidError, UnicodeError):
        raise _refused("must be one mail address like name@example.cn") from None


@lru_cache(maxsize=4096)
def _domain(domain: str) -> str:
    """The normal form of a mail domain. Raises EmailNotValidError, UnicodeError."""
    return email_validator.validate_email(f"a@{domain}", check_deliverability=False, strict=True).domain


def _postal(text: str) -> str:
    """One or several lines as written, without blanks around."""
    text = text.replace("\r\n", "\n").strip()
    if not 0 < len(text) <= LONGEST_POSTAL or _UNPRINTABLE.search(text):
        raise _refused(f"must be 1 to {LONGEST_POSTAL} characters without control characters")
    return text
