"""Bounces that are no delivery status notification: whom and what they mean, from their text.

Called by `mail_reading` for what `dsn` cannot read, and by `dsn` for a status that says nothing. flufl.bounce knows the
forms of some twenty mail systems and tells permanent from temporary. What a mail system wrote in a form that it does not
know is read plainly: a subject or words that say failure or delay, and the address beside them. The words below tell a
missing mailbox from a full or closed one, since only the first makes a contact invalid. They are the words that mail
systems use, by RFC 3463's classes; where none fits, a permanent failure is 5.0.0.
"""

import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass
from email.message import Message

from flufl.bounce import all_failures

logging.getLogger("flufl.bounce").setLevel(logging.CRITICAL + 1)  # it logs the failures of its detectors, which are none of ours

_ENHANCED = re.compile(r"(?<![\d.])([45]\.\d{1,3}\.\d{1,3})(?![\d.])")
_BASIC = re.compile(r"(?<![\d.:-])([45])\d\d(?=[ \-])")
_NOUN = r"(?:user|recipient|mail ?box|address|account|name|alias)"
_PHRASES = {  # in this order: what ended the relay's patience and what filled the mailbox often name the user too
    "4.4.7": (
        r"retry time(?:out)? (?:not reached|exceeded)", r"has been in the queue too long", r"delivery time expired", r"giving up",
        r"message expired", r"could not be (?:delivered|sent) (?:for|within)", r"maximum.time.expired",
        r"(?:cannot|could not) send (?:the )?message for \d+ (?:hours|days)", r"not (?:been )?able to deliver .{0,40} within",
    ),
    "5.2.2": (
        r"over ?quota", r"quota (?:is )?exceeded", r"exceed\w* .{0,30}quota", r"insufficient (?:disk|storage)", r"too much mail data",
        r"(?:mail ?box|inbox|mail ?folder|account) (?:is |size )?(?:full|exceeded)", r"邮箱已满", r"容量",
    ),
    "5.3.4": (r"message (?:is )?too (?:large|big|long)", r"size limit", r"exceed\w* .{0,40}(?:message|maximum) size"),
    "5.2.1": (r"(?:account|mail ?box|user|recipient)(?: is| has been)? (?:disabled|suspended|inactive|closed|locked|deactivated)",),
    "5.1.1": (
        _NOUN + r"[^\n]{0,60}?(?:unknown|not (?:be )?(?:found|listed|known|recognized)|does(?:n.?t| not) exist|doesn.t have a)",
        _NOUN + r"[^\n]{0,60}?no longer (?:valid|available|exists|on)",
        r"(?:unknown|no such|invalid|non-?exist\w*|bad destination)[ -](?:local |virtual |recipient |mail|e-?mail|destination )*" + _NOUN,
        r"no mail ?box (?:here )?by that name", r"not a (?:valid|known|local) (?:user|mailbox|recipient|address)",
        r"(?:no|isn.t a|not) (?:\w+ ){0,2}account (?:here|by that)", r"is not a known user", r"this user doesn.t have", r"不存在",
    ),
    "5.1.2": (
        r"(?:unknown|no such|invalid) (?:mail )?(?:host|domain)", r"couldn.t find any host",
        r"(?:host|domain)(?: name)?[^\n]{0,40}?(?:not found|unknown|does not exist)",
    ),
    "5.7.1": (
        r"spam", r"blacklist", r"blocked", r"block list", r"black list", r"policy", r"relay(?:ing)? (?:access )?denied", r"access denied",
        r"not (?:authori[sz]ed|permitted|allowed)", r"administrative prohibition", r"content rejected", r"message rejected",
    ),
}
_WORDS = {status: re.compile("|".join(phrases), re.IGNORECASE) for status, phrases in _PHRASES.items()}
_MOST_LINES, _LINES_AROUND = 400, 6
_FAILURE = re.compile(
    r"returned (?:mail|to sender)|undeliver|failure notice|could not be delivered|not (?:be )?delivered|non.?delivery|cannot be delivered|"
    r"(?:delivery|mail|message)[^\n]{0,30}?(?:fail|error|problem|abort|reject|returned)|rejected|fatal error|unable to deliver|"
    r"status notification: error|退信|投递失败|配信|送信できません|not? entreg|remise|unzustellbar", re.IGNORECASE)
_DELAY = re.compile(
    r"\bdelay(?:ed)?\b|still (?:trying|being)|not yet been delivered|will (?:continue|be retried|keep trying)|warning[: ]|deferred",
    re.IGNORECASE)
_ADDRESS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+")
_OF_ORIGINAL = re.compile(
    rb"(?im)^(?:To|X-Failed-Recipients|RCPT TO|X-Original-To|Original-Recipient)\s*:[^\n]{0,80}?<?([^\s<>;,@]+@[^\s<>;,]+)")
_END_OF_REASON = re.compile(
    r"below this line is a copy|original message (?:follows|headers|-)|copy of (?:the|your) (?:original )?message|message headers? follow|"
    r"unsent message (?:below|follows)|text of (?:the|your) message|message header follows|the first \d+ lines|^received: |^return-path:",
    re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Told:
    """What a text says of one recipient; `action` is failed or delayed, as in a notification."""

    recipient: str
    action: str
    status: str
    reason: str


def told_in(message: Message) -> tuple[Told, ...]:
    """Return what a bounce says in its own words; empty for what is none. Raises whatever hostile bytes make a parser raise."""
    temporary, permanent = all_failures(message)
    if not temporary and not permanent:
        return ()
    lines = list(_lines(message))
    told = []
    for action, addresses in (("failed", permanent), ("delayed", temporary)):
        for found in sorted(addresses):
            recipient = found.decode("ascii", "replace")
            reason = _reason(lines, recipient)
            told.append(Told(recipient, action, meaning(reason) or ("5.0.0" if action == "failed" else "4.0.0"), reason[:500]))
    return tuple(told)


def told_plainly(message: Message, raw: bytes, subject: str, own: str) -> tuple[Told, ...]:
    """Return what a mail system says in a form that nobody knows; `own` is the address it writes to. Empty where it is no bounce.

    Only for mail that a program wrote: a person may use any of these words.
    """
    reason = " ".join(line for line in _lines(message) if line)
    text = f"{subject} {reason}"
    if not (_FAILURE.search(subject) or _FAILURE.search(reason) or (_BASIC.search(reason) and meaning(reason))):
        return ()
    delayed = _DELAY.search(subject) is not None or (_DELAY.search(text) is not None and _FAILURE.search(subject) is None)
    returned = raw[raw.find(b"\n\n") + 1:]
    recipient = _whose([*_ADDRESS.findall(reason), *(found.decode("ascii", "replace") for found in _OF_ORIGINAL.findall(returned))], own)
    if not recipient:
        return ()
    found = meaning(text) or ("4.0.0" if delayed else "5.0.0")
    return (Told(recipient, "delayed" if delayed else "failed", found, reason[:500]),)


def _whose(candidates: list[str], own: str) -> str:
    """Return the first address that is neither ours nor a mail system's."""
    own = own.lower()
    return next((one for one in candidates if one.lower() != own and not re.match(r"(?i)mailer-daemon|postmaster|\d", one)), "")


def meaning(reason: str) -> str | None:
    """Return the RFC 3463 status that a reason names or describes; null where it does neither."""
    named = [code for code in _ENHANCED.findall(reason) if not code.endswith(".0")]
    if named:
        return str(named[0])
    described = next((status for status, words in _WORDS.items() if words.search(reason)), None)
    if described is None:
        return None
    # "452 mailbox full" is temporary until the relay's patience ended, which an own report would then say
    basic = _BASIC.search(reason)
    return described if basic is None or described.startswith("4") else basic[1] + described[1:]


def _lines(message: Message) -> Iterable[str]:
    """Yield the lines that say why, up to the returned message."""
    count = 0
    for part in message.walk():
        if part.get_content_maintype() == "message":
            return
        if part.get_content_maintype() != "text" or part.get_content_type() == "text/rfc822-headers":
            continue
        payload = part.get_payload(decode=True)
        if not isinstance(payload, bytes):
            continue
        for line in _decoded(part, payload).splitlines():
            if _END_OF_REASON.search(line) or count >= _MOST_LINES:
                return
            count += 1
            yield line.strip()


def _decoded(part: Message, payload: bytes) -> str:
    try:
        return payload.decode(part.get_content_charset("utf-8"), "replace")
    except LookupError:
        return payload.decode("utf-8", "replace")


def _reason(lines: list[str], recipient: str) -> str:
    """Return the lines around the last mention of the recipient, else all."""
    local = recipient.partition("@")[0].lower()
    near = [number for number, line in enumerate(lines) if recipient.lower() in line.lower()] or [
        number for number, line in enumerate(lines) if local and local in line.lower()]
    if near:
        first = max(0, near[0] - 2)
        found = [line for line in lines[first:near[-1] + _LINES_AROUND] if line]
        if meaning(text := " ".join(found)):
            return text
    return " ".join(line for line in lines if line)
