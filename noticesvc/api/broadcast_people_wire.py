"""Wire models of the broadcasts' routes that people use."""

from noticesvc.api import wire


class RejectedLine(wire.Wire):
    """A physical line that cannot be taken; the first line of an upload is 1, in CSV the header."""

    line: int
    reason: str


class Uploaded(wire.Wire):
    """What became of an upload's rows: the first 1,000 rejections, and how many there were."""

    accepted: int
    duplicates: int
    rejected: list[RejectedLine]
    rejected_total: int
