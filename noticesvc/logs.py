"""Logs: one JSON object a line on stderr, constant text plus fields, and a redacting step that nothing can go around.

`configure` is called once by the command line. Log calls never hold an address, content or a recipient's id; `redact`
is the net below that rule: it masks fields by their name and, in every text, whatever looks like an address, a number
or a key. Exceptions are written as types and places: their messages may repeat what a caller sent, so only errors of
this project, whose sentences hold no such thing, keep theirs. Records of other libraries are reduced to their constant
text, for the same reason.
"""

import logging
import re
import sys
import traceback
from collections.abc import Mapping, MutableMapping
from typing import Any, Final, TextIO, cast

import structlog

from noticesvc.errors import NoticesvcError

MASK: Final = "[redacted]"
# Members whose value is never written, whatever it looks like.
CLOSED_FIELDS: Final = frozenset({
    "address", "addresses", "authorization", "body", "case_number", "contact", "content", "content_sha256", "email",
    "from_address", "html", "key", "locale", "message", "metadata", "name_of_recipient", "openings", "params", "password",
    "phone", "plaintext", "provider_reference", "raw", "recipient", "recipient_id", "reference", "salt", "sealed", "secret",
    "sms", "statement", "subject", "text", "to", "token", "username", "wrapped_key",
})
_LONGEST = 2000
_DEEPEST = 6

# Tried in this order at each place. Addresses come first, from the beginning of a word on, so that nothing else can take
# a piece of one; then what operators must be able to read; then the rest.
_PATTERNS: Final = (
    ("userinfo", r"(?<![^\s@])(?P<scheme>[A-Za-z][\w+.\-]*://)[^/\s@]*(?:@[^/\s@]*)*@"),
    ("email", r"(?<![^\s@])[^\s@]+@[^\s@]+"),
    ("keep", r"\b[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}\b"),
    ("keep", r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)?"),
    ("sql", r"\[parameters: .*|DETAIL: .*|=\([^)]*\)"),  # SQLAlchemy and PostgreSQL repeat values in their messages
    ("key", r"PRIVATE\+KEY\+\S+|(?:nsk|nsi)_\S+|whsec_\S+|[Bb]earer\s+\S+"),
    ("phone", r"(?<![\w.])(?:\+|00)?\(?\d(?:[ ()\-\u2010-\u2015]{0,3}\d){6,19}(?!\w)"),
    ("phone", r"\+\d{7,15}|(?<!\d)(?:86)?1[3-9]\d{9}(?!\d)"),
)
_ANY = re.compile("|".join(f"(?P<{name}{number}>{pattern})" for number, (name, pattern) in enumerate(_PATTERNS)), re.DOTALL)
_MOBILE_NUMBERS = ((10_000_000_000, 19_999_999_999), (8_610_000_000_000, 8_619_999_999_999))


def scrub(text: str) -> str:
    """The text with everything that looks like an address, number, key or repeated value masked."""
    return _ANY.sub(_masked, text[:4 * _LONGEST])[:_LONGEST]


def _masked(match: re.Match[str]) -> str:
    kind = str(match.lastgroup).rstrip("0123456789")
    if kind == "keep":
        return match[0]
    return f"{match['scheme']}{MASK}@" if kind == "userinfo" else MASK


def redact(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """The structlog processor: masks closed fields by name and scrubs every text, at any depth."""
    return {str(name): _value(str(name), value, 0) for name, value in event.items()}


def _value(name: str, value: Any, depth: int) -> Any:
    if name.lower() in CLOSED_FIELDS:
        return MASK
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int):
        return MASK if any(low <= value <= high for low, high in _MOBILE_NUMBERS) else value
    if isinstance(value, bytes | bytearray | memoryview) or depth > _DEEPEST:
        return MASK
    if isinstance(value, BaseException):
        return exception_chain(value)
    if isinstance(value, Mapping):
        return {scrub(str(k)): _value(str(k), v, depth + 1) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_value("", item, depth + 1) for item in value]
    return scrub(str(value))


def exception_chain(error: BaseException) -> list[dict[str, Any]]:
    """An exception and what caused it, outermost first: type and frames, and the sentence where it is one of ours."""
    chain: list[dict[str, Any]] = []
    current: BaseException | None = error
    while current is not None and len(chain) < _DEEPEST:
        frames = traceback.extract_tb(current.__traceback__)[-8:]
        link: dict[str, Any] = {"type": type(current).__qualname__,
                                "frames": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]}
        if isinstance(current, NoticesvcError):
            link["says"] = scrub(str(current))
        elif isinstance(current, OSError) and current.strerror:
            link["says"] = scrub(current.strerror)
        chain.append(link)
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
    return chain


def _exceptions(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    given = event.pop("exc_info", None)
    if given is True:
        given = sys.exc_info()
    error = given[1] if isinstance(given, tuple) else given
    if isinstance(error, BaseException):
        event["exception"] = exception_chain(error)
    return event


class _Forward(logging.Handler):
    """Records of libraries (uvicorn, alembic, asyncio, aiosmtplib, httpx) as events of ours, by their constant text."""

    def emit(self, record: logging.LogRecord) -> None:
        first_line = str(record.msg).strip().partition("\n")[0]
        if not re.search(r"[A-Za-z]{3}", re.sub(r"%[-#0-9.]*[a-zA-Z]", "", first_line)):
            first_line = "a library's message without constant text"  # such as "%s": its text is in its arguments
        structlog.get_logger().log(min(record.levelno, logging.CRITICAL), first_line[:200], library=record.name,
                                   exc_info=record.exc_info)


class _Forgiving:
    """A stream that takes every line, also where it cannot be written: a full disk under the log must not end what is logged."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._broken = stream, False

    def write(self, text: str) -> int:
        """Write, or lose the text; what comes after a loss begins a line of its own."""
        try:
            self._stream.write("\n" + text if self._broken else text)
        except (OSError, ValueError):
            self._broken = True
        return len(text)

    def flush(self) -> None:
        """Write what waits, or lose it."""
        try:
            self._stream.flush()
        except (OSError, ValueError):
            self._broken = True
        else:
            self._broken = False


def configure(level: str = "info", stream: TextIO | None = None) -> None:
    """Send every log of this process through `redact` to `stream` (default stderr). `level` is of our own events;
    libraries are heard from WARNING on.
    """
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
            _exceptions,
            redact,
            structlog.processors.JSONRenderer(ensure_ascii=False, default=lambda _: MASK),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(cast("TextIO", _Forgiving(stream or sys.stderr))),
        cache_logger_on_first_use=True,
    )
    root = logging.getLogger()
    root.handlers[:] = [_Forward()]
    root.setLevel(logging.WARNING)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "alembic"):
        library = logging.getLogger(name)
        library.handlers[:] = []
        library.propagate = name != "uvicorn.access"
    logging.captureWarnings(capture=True)
