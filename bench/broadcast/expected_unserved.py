"""Who cannot have been served, by the word of the sinks and the uploads alone: nothing of the service is asked, nothing of it imported.

usage: python -m bench.broadcast.expected_unserved RECIPIENTS.ndjson UPLOAD.csv MAIL.log SMS.log

An address was reached when the mail server took a mail for it that did not bounce, or the gateway reported an SMS to it as delivered.
A recipient of the upload is expected as unserved when none of the addresses that were imported for them was reached. Prints their
ids, one a line, in order.
"""

import csv
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def expected(recipients: Path, upload: Path, mail: Path, sms: Path) -> set[str]:
    """The ids of those whom nothing reached."""
    reached = _mailboxes(mail) | _numbers(sms)
    addresses = {one["recipient_id"]: [contact["address"] for contact in one["contacts"]] for one in _lines(recipients)}
    with upload.open(encoding="utf-8", newline="") as file:
        wanted = {row["recipient_id"] for row in csv.DictReader(file)}
    return {recipient_id for recipient_id in wanted if reached.isdisjoint(addresses[recipient_id])}


def _mailboxes(log: Path) -> set[str]:
    bounced = {line["reference"] for line in _lines(log) if line["event"] == "bounced"}
    return {line["to"] for line in _lines(log) if line["event"] == "taken" and line["answered"] and line["reference"] not in bounced}


def _numbers(log: Path) -> set[str]:
    delivered = {line["reference"] for line in _lines(log) if line["event"] == "reported" and not line["lost"] and line["status"] == 200}
    return {line["to"] for line in _lines(log) if line["event"] == "taken" and line["reference"] in delivered}


def _lines(path: Path) -> Iterator[Any]:
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                yield json.loads(line)


if __name__ == "__main__":
    sys.stdout.writelines(f"{one}\n" for one in sorted(expected(*map(Path, sys.argv[1:5]))))
