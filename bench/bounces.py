"""Reads a folder of bounces from outside (one mail a file) and says what comes of them: `python -m bench.bounces DIR`.

Prints counts by kind, the share in which nothing is found, and every file about whose failing addresses flufl.bounce alone
says something else. Exit status 1 if the parser raised anything, which it must not, whatever the bytes.
"""

import argparse
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from email import message_from_bytes
from pathlib import Path

from flufl.bounce import all_failures

from providers.shared.mail_reading import receipts_in

STRIKES = frozenset({"failed_permanent", "rejected", "expired"})


@dataclass
class Tally:
    """What came of a folder."""

    files: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    silent: list[str] = field(default_factory=list)
    disagreements: list[str] = field(default_factory=list)
    raised: list[str] = field(default_factory=list)

    @property
    def share_silent(self) -> float:
        """The share of files in which nothing was found."""
        return len(self.silent) / self.files if self.files else 0.0


def main() -> int:
    """Read the folder and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.bounces", description=__doc__)
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("--list", action="store_true", help="name the files with no result, and the disagreements")
    arguments = parser.parse_args()
    began = time.perf_counter()
    tally = read(arguments.folder)
    if tally.files == 0:
        print(f"{arguments.folder} holds no files", file=sys.stderr)
        return 1
    print(f"{tally.files} files in {time.perf_counter() - began:.1f} s")
    for kind, count in tally.kinds.most_common():
        print(f"  {kind:<18} {count}")
    print(f"no result: {len(tally.silent)} ({tally.share_silent:.1%}); flufl.bounce disagrees on {len(tally.disagreements)}; "
          f"raised: {len(tally.raised)}")
    if arguments.list:
        for name in (*tally.raised, *(f"no result: {name}" for name in tally.silent), *tally.disagreements):
            print(name)
    return 1 if tally.raised else 0


def read(folder: Path) -> Tally:
    """What comes of every file below a folder."""
    tally = Tally()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        raw, name = path.read_bytes(), str(path.relative_to(folder))
        tally.files += 1
        try:
            receipts = receipts_in(raw)
        except Exception as error:
            tally.raised.append(f"{name}: raised {type(error).__name__}")
            continue
        if not receipts:
            tally.silent.append(name)
        tally.kinds.update(receipt.kind for receipt in receipts)
        ours = {(receipt.recipient or "").lower() for receipt in receipts if receipt.kind in STRIKES}
        theirs = alone(raw)
        if theirs and ours != theirs:
            tally.disagreements.append(f"differs: {name}: {len(theirs - ours)} only by flufl.bounce, {len(ours - theirs)} only here")
    return tally


def alone(raw: bytes) -> set[str]:
    """The permanently failing addresses by flufl.bounce alone; empty where it raises."""
    try:
        return {found.decode("ascii", "replace").lower() for found in all_failures(message_from_bytes(raw))[1]}
    except Exception:
        return set()


if __name__ == "__main__":
    sys.exit(main())
