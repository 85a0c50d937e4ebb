"""Verification of a proof bundle, offline, in seven numbered steps; each failure is one sentence.

Called by `noticesvc verify`, by the certificate and by tests. A step is taken only while the steps before it leave something to
rely on. Formats: RFC 6962, C2SP signed-note, tlog-checkpoint, tlog-proof and tlog-cosignature, RFC 3161, RFC 8785.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from cryptography.x509 import Certificate

from noticesvc.errors import LedgerError, VerificationError
from noticesvc.ledger import checkpoint as checkpoints
from noticesvc.ledger import merkle, note
from noticesvc.ledger import proof as tlog
from noticesvc.ledger.checkpoint import SignedCheckpoint
from noticesvc.ledger.key import COSIGNATURE, ED25519, Verifier
from noticesvc.proof import bundle as bundles
from noticesvc.proof import derive_notice, opened, timestamps, verify_contacts, verify_notice
from noticesvc.proof.bundle import Bundle
from noticesvc.proof.entries import Entry, read

TITLES = (
    "The file has the form of a proof bundle.",
    "The ledger's key is known.",
    "Every entry stands in the ledger, all under one signed checkpoint.",
    "No entry is missing, and none is there without need.",
    "Every commitment is opened or destroyed, and each opening fits.",
    "What the entries say of contacts, content and evidence agrees.",
    "What the bundle shows follows from its entries.",
)


@dataclass(frozen=True, slots=True)
class Step:
    """One step with its failures; `taken` is false if the steps before it left nothing to rely on."""

    number: int
    title: str
    failures: tuple[str, ...]
    taken: bool


@dataclass(frozen=True, slots=True)
class Report:
    """What verification found. `trusted_inside`: no log key was given, so the bundle's own was believed."""

    steps: tuple[Step, ...]
    trusted_inside: bool
    bundle: Bundle | None
    checkpoint: checkpoints.Checkpoint | None
    stamped: tuple[tuple[datetime, int], ...] = ()  # when outside services saw the ledger with so many entries

    @property
    def failures(self) -> tuple[str, ...]:
        """Every failure of every step."""
        return tuple(failure for step in self.steps for failure in step.failures)

    @property
    def ok(self) -> bool:
        """Whether every step was taken and holds."""
        return all(step.taken and not step.failures for step in self.steps)


def verify(data: bytes, log_keys: Collection[Verifier] = (), witness_keys: Collection[Verifier] = (),
           tsa_roots: Sequence[Certificate] = ()) -> Report:
    """Verify a bundle. With `log_keys` its ledger must be of one of them; each of `witness_keys` must have cosigned; with
    `tsa_roots` the signature of each timestamp must lead to one of them.
    """
    run = _Run(tuple(log_keys), tuple(witness_keys), tuple(tsa_roots))
    run.step(lambda: run.form(data), fatal=True)
    run.step(run.key, fatal=True)
    run.step(run.ledger)
    run.step(run.complete)
    run.step(run.openings, fatal=True)
    run.step(run.agree, fatal=True)
    run.step(run.derive)
    return Report(tuple(run.steps), not log_keys, run.bundle, run.signed.checkpoint if run.signed else None,
                  tuple(run.stamped))


@dataclass(slots=True)
class _Run:
    log_keys: tuple[Verifier, ...]
    witness_keys: tuple[Verifier, ...]
    tsa_roots: tuple[Certificate, ...] = ()
    stamped: list[tuple[datetime, int]] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    stopped: bool = False
    bundle: Bundle | None = None
    log_key: Verifier | None = None
    signed: SignedCheckpoint | None = None
    entries: list[Entry] = field(default_factory=list)
    values: dict[tuple[int, str], bytes] = field(default_factory=dict)

    def step(self, check: Callable[[], list[str]], *, fatal: bool = False) -> None:
        """Take the next step unless an earlier one forbids it; whatever a hostile bundle makes it raise is a failure."""
        number, title = len(self.steps) + 1, TITLES[len(self.steps)]
        if self.stopped:
            self.steps.append(Step(number, title, (), taken=False))
            return
        try:
            failures = check()
        except VerificationError as error:
            failures, fatal = [str(error)], True
        except Exception:  # the bundle is hostile: entries may hold what no writer of ours writes
            failures, fatal = ["The entries hold what no entries of this service hold, so that the step cannot be finished."], True
        self.stopped = bool(failures) and (fatal or self.stopped)
        self.steps.append(Step(number, title, tuple(failures), taken=True))

    def form(self, data: bytes) -> list[str]:
        """Step 1."""
        self.bundle = bundles.parse(data)
        return [] if self.bundle.entries else ["The bundle holds no entries."]

    def key(self) -> list[str]:
        """Step 2."""
        try:
            found = Verifier.parse(self._bundle.log_key)
        except LedgerError as error:
            return [f"The bundle's log key cannot be read. {error}"]
        if found.key_type != ED25519:
            return ["The bundle's log key is a witness's key, not a ledger's."]
        if self.log_keys and found not in self.log_keys:
            return ["The bundle's log key is none of the keys that were given: it is another ledger's, or forged."]
        self.log_key = found
        return []

    def ledger(self) -> list[str]:
        """Step 3. Reads the entries too; those that cannot be read end the verification here."""
        failures: list[str] = []
        readable, text, index = True, "", -1
        for at, item in enumerate(self._bundle.entries):
            try:
                proof = tlog.parse(item.tlog_proof)
                if not text:
                    text = proof.checkpoint
                    failures += self._checkpoint(text)
                elif proof.checkpoint != text:
                    failures.append(f"Entry {at} is proved in another checkpoint than the first.")
                if self.signed is not None:
                    tree = self.signed.checkpoint
                    merkle.verify_inclusion(proof.index, tree.size, merkle.leaf_hash(item.entry), proof.hashes, tree.root)
                if proof.index <= index:
                    failures.append(f"Entry {at} does not come after the one before it in the ledger.")
                index = proof.index
            except LedgerError as error:
                failures.append(f"Entry {at} is not proved: {error}")
            try:
                self.entries.append(Entry(at, index, read(item.entry)))
            except VerificationError as error:
                failures.append(f"Entry {at} cannot be read: {error}")
                readable = False
        failures += self._timestamps()
        self.stopped = not readable
        return failures

    def _checkpoint(self, text: str) -> list[str]:
        failures, witnesses = [], list(self.witness_keys)
        for at, vkey in enumerate(self._bundle.cosigners):
            try:
                key = Verifier.parse(vkey)
            except LedgerError as error:
                failures.append(f"Cosigner {at} cannot be read. {error}")
                continue
            if key.key_type != COSIGNATURE or vkey in self._bundle.cosigners[:at]:
                failures.append(f"Cosigner {at} is no key of a witness, or is named twice.")
            elif key not in witnesses:
                witnesses.append(key)
        try:
            self.signed = checkpoints.verify(text, [self.log_key] if self.log_key else [], witnesses)
        except LedgerError as error:
            return [*failures, f"The checkpoint does not hold: {error}"]
        signers = {one.verifier for one in self.signed.signed}
        return [*failures, *(f"The witness {key.name} did not sign the checkpoint." for key in witnesses if key not in signers)]

    def _timestamps(self) -> list[str]:
        """Each token is of its checkpoint, and that checkpoint's tree and the entries' tree are one log."""
        failures = []
        places: list[tuple[datetime, int]] = []
        for at, item in enumerate(self._bundle.timestamps):
            try:
                message = item.checkpoint.encode()
                said = timestamps.check(item.token, message, self.tsa_roots) if self.tsa_roots else timestamps.read(item.token, message)
                tree = checkpoints.parse(note.parse(item.checkpoint).text)
                self._joined(tree, item.consistency)
            except (LedgerError, VerificationError, UnicodeEncodeError) as error:
                failures.append(f"Timestamp {at} does not hold: {error}")
            else:
                places.append((said.at, tree.size))
        if len(set(self._bundle.timestamps)) != len(self._bundle.timestamps):
            failures.append("A timestamp stands in the bundle twice.")
        if [(size, at) for at, size in places] != sorted((size, at) for at, size in places):
            failures.append("The timestamps do not stand in the order of their checkpoints and times.")
        self.stamped = places
        return failures

    def _joined(self, tree: checkpoints.Checkpoint, consistency: Sequence[bytes]) -> None:
        if self.signed is None:
            return  # a failure of its own already
        mine = self.signed.checkpoint
        if tree.origin != mine.origin:
            raise VerificationError("its checkpoint is of another ledger.")
        old, new = (tree, mine) if tree.size <= mine.size else (mine, tree)
        merkle.verify_consistency(old.size, new.size, old.root, new.root, list(consistency))

    def complete(self) -> list[str]:
        """Step 4."""
        return self._own.complete(self._bundle, self.entries)  # type: ignore[no-any-return]

    def openings(self) -> list[str]:
        """Step 5."""
        self.values, failures = opened.check(self._bundle, self.entries)
        self.stopped = any(step.failures for step in self.steps[3:])
        return failures

    def agree(self) -> list[str]:
        """Step 6."""
        return self._own.agree(self.entries, self.values)  # type: ignore[no-any-return]

    def derive(self) -> list[str]:
        """Step 7."""
        return self._own.derive(self._bundle, self.entries, self.values)  # type: ignore[no-any-return]

    @property
    def _bundle(self) -> Bundle:
        if self.bundle is None:
            raise VerificationError("The file is no proof bundle.")
        return self.bundle

    @property
    def _own(self) -> Any:
        return _NOTICE if self._bundle.format == bundles.NOTICE_FORMAT else verify_contacts


class _NOTICE:
    """The steps of a notice's bundle."""

    complete: Callable[[Bundle, Sequence[Entry]], list[str]] = staticmethod(verify_notice.complete)
    agree: Callable[..., list[str]] = staticmethod(verify_notice.agree)
    derive: Callable[..., list[str]] = staticmethod(derive_notice.derive)
