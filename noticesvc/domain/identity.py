"""Our ids: UUIDv7 (RFC 9562, 5.7), so that keys carry their time and neighbours in time are neighbours in the index."""

import re
from typing import Final

UUID7: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def uuid7(micros: int, random10: bytes, counter: int = 0) -> str:
    """An id of this instant (microseconds since 1970 UTC) from ten random bytes.

    The twelve bits after the version hold the fraction of the millisecond (RFC 9562, 6.2, method 3), then come fourteen bits of
    `counter` (method 1), so that ids made one after the other at one instant are in order; the other 48 bits are random.
    """
    millis, rest = divmod(micros, 1000)
    fraction = (rest * 4096) // 1000
    tail = 0x8000_0000_0000_0000 | (counter & 0x3FFF) << 48 | int.from_bytes(random10[:6], "big")
    h = f"{millis & 0xFFFF_FFFF_FFFF:012x}7{fraction:03x}{tail:016x}"
    return f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}"


def uuid7s(micros: int, random6s: bytes, first: int) -> list[str]:
    """Ids as `uuid7` makes them, one for each six random bytes, with counters from `first` on."""
    millis, rest = divmod(micros, 1000)
    h = f"{millis & 0xFFFF_FFFF_FFFF:012x}7{(rest * 4096) // 1000:03x}"
    start, tails = f"{h[:8]}-{h[8:12]}-{h[12:]}-", random6s.hex()
    return [f"{start}{0x8000 | (first + at // 12) & 0x3FFF:04x}-{tails[at:at + 12]}" for at in range(0, len(tails), 12)]


def is_id(text: object) -> bool:
    """Whether this is a UUIDv7 in its one canonical spelling."""
    return isinstance(text, str) and UUID7.fullmatch(text) is not None


def lower_bound(micros: int) -> str:
    """The smallest UUID of this instant: bounds for ranges of ids and for partitions."""
    h = f"{micros // 1000:012x}"
    return f"{h[:8]}-{h[8:12]}-0000-0000-000000000000"


def micros_of(identity: str) -> int:
    """The instant an id was made at, to the millisecond, in microseconds."""
    return int(identity[:8] + identity[9:13], 16) * 1000
