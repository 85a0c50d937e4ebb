"""The text of an offline proof: round trip, verification, tampering and every spelling that is not the one."""

from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noticesvc.errors import LedgerError, NoteError, ProofError
from noticesvc.ledger import checkpoint as checkpoints
from noticesvc.ledger import note, proof
from noticesvc.ledger.checkpoint import Checkpoint
from noticesvc.ledger.merkle import inclusion_proof, leaf_hash, root_hash
from noticesvc.ledger.proof import TlogProof

LOG = note.generate("example.com/ledger", bytes(32))


def proved(size, index):
    hashes = [leaf_hash(b"entry %d" % number) for number in range(size)]
    signed = checkpoints.sign(Checkpoint(LOG.name, size, root_hash(hashes)), LOG)
    return TlogProof(index, tuple(inclusion_proof(hashes, index)), signed)


GOOD = proof.format(proved(5, 3))


def test_layout():
    """The lines stand as C2SP tlog-proof orders them: header, index, hashes from the leaf up, blank, checkpoint."""
    example = proved(5, 3)
    assert "\n".join([
        "c2sp.org/tlog-proof@v1", "index 3", *(b64encode(item).decode() for item in example.hashes), "",
        example.checkpoint,
    ]) == GOOD
    assert len(example.hashes) == 3


@given(st.integers(1, 40), st.data())
def test_round_trip_and_verification(size, data):
    """Every proof comes back from its text and holds for its own entry alone."""
    index = data.draw(st.integers(0, size - 1))
    example = proof.parse(proof.format(proved(size, index)))
    assert example == proved(size, index)
    assert proof.verify(example, b"entry %d" % index, [LOG.verifier]).checkpoint.size == size
    with pytest.raises(ProofError):
        proof.verify(example, b"entry %d" % (index + 1), [LOG.verifier])


@given(st.integers(0, len(GOOD.encode()) - 1), st.integers(0, 7))
def test_any_changed_bit_is_found(at, bit):
    """No byte of a proof can change without its reading or its verification failing."""
    changed = bytearray(GOOD.encode())
    changed[at] ^= 1 << bit
    with pytest.raises((LedgerError, UnicodeDecodeError)):
        proof.verify(proof.parse(changed.decode()), b"entry 3", [LOG.verifier])


def test_another_ledgers_proof():
    """A proof whose checkpoint an unknown key signed proves nothing."""
    with pytest.raises(NoteError):
        proof.verify(proof.parse(GOOD), b"entry 3", [note.generate(LOG.name, b"o" * 32).verifier])


HASH = b64encode(bytes(32)).decode()


@pytest.mark.parametrize("text", [
    "", "\n\n", GOOD[1:], "\n" + GOOD, GOOD.replace("@v1", "@v2"), GOOD.replace("index 3", "index 03"),
    GOOD.replace("index 3", "index  3"), GOOD.replace("index 3", "Index 3"), GOOD.replace("index 3", "index 3 "),
    GOOD.replace("index 3", "index -3"), GOOD.replace("index 3", f"index {2**63}"), GOOD.replace("index 3\n", ""),
    GOOD.replace("index 3", "extra AAAA\nindex 3"), GOOD.replace("index 3", "index 3\nextra AAAA"),
    GOOD.replace("index 3", "index 3\n"), GOOD.replace("index 3", "index 3\nAAAA"), GOOD.replace("index 3",
    f"index 3\n {HASH}"),
    GOOD.replace("index 3", f"index 3\n{HASH[:-1]}"), GOOD.replace("index 3", f"index 3\n{HASH[:-2]}B="),
    GOOD.replace("index 3", "index 3" + f"\n{HASH}" * 61), GOOD.replace("index 3", "index 3" + f"\n{HASH}" * 5000),
    GOOD.replace("\n", "\r\n"), GOOD + "\n", GOOD + "more\n", GOOD[:-1], GOOD.partition("\n\n")[0] + "\n",
    GOOD.partition("\n\n")[0] + "\n\n", GOOD.partition("\n\n")[0] + "\n\nhello\n", GOOD.replace("=\n\n—",
    "=\nextension\n\n—"),
    "c2sp.org/tlog-proof@v1\n\n" + GOOD.partition("\n\n")[2], None, GOOD.encode(), 5,
])
def test_other_spellings_are_refused(text):
    """Extra data, other decimals and base64, stray or missing lines, and checkpoints with extensions are refused."""
    assert text != GOOD
    with pytest.raises(LedgerError):
        proof.parse(text)


@pytest.mark.parametrize(("index", "hashes"), [(-1, ()), (True, ()), (2**63, ()), ("0", ()), (0, (b"x",)), (0, None),
                                               (0, (bytes(32),) * 64)])
def test_impossible_proofs(index, hashes):
    """A proof that could not be written is not made."""
    with pytest.raises(ProofError):
        TlogProof(index, hashes, proved(1, 0).checkpoint)
    with pytest.raises(ProofError):
        TlogProof(0, (), None)
