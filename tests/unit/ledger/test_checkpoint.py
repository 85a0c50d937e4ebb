"""Checkpoints against the example of C2SP tlog-checkpoint and everything that is not the one spelling."""

from base64 import b64decode, b64encode
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noticesvc.errors import NoteError
from noticesvc.ledger import checkpoint as checkpoints
from noticesvc.ledger import note
from noticesvc.ledger.checkpoint import Checkpoint

ROOT = sha256(b"root").digest()
ROOT_TEXT = b64encode(ROOT).decode()
LOG = note.generate("example.com/ledger", bytes(32))
WITNESS = note.generate("witness.example", b"w" * 32, note.COSIGNATURE)
HEAD = Checkpoint("example.com/ledger", 5, ROOT)


def test_the_specifications_example():
    """The body of the example in C2SP tlog-cosignature reads and writes the same."""
    text = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    root = b64decode("CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=")
    assert checkpoints.parse(text) == Checkpoint("example.com/behind-the-sofa", 20852163, root)
    assert checkpoints.format(checkpoints.parse(text)) == text


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1), st.integers(1, 2**63 - 1),
       st.binary(min_size=32, max_size=32))
def test_round_trip(origin, size, root):
    """Every possible checkpoint comes back from its text."""
    checkpoint = Checkpoint(origin, size, root)
    assert checkpoints.parse(checkpoints.format(checkpoint)) == checkpoint


@pytest.mark.parametrize("text", [
    "", "o\n", f"o\n5\n{ROOT_TEXT}", f"o\n5\n{ROOT_TEXT}\n\n", f"o\n5\n{ROOT_TEXT}\nextension\n", f"\n5\n{ROOT_TEXT}\n",
    f"o\n05\n{ROOT_TEXT}\n", f"o\n+5\n{ROOT_TEXT}\n", f"o\n-5\n{ROOT_TEXT}\n", f"o\n5 \n{ROOT_TEXT}\n",
    f"o\n\n{ROOT_TEXT}\n",
    f"o\n5_0\n{ROOT_TEXT}\n", f"o\n٥\n{ROOT_TEXT}\n", f"o\n{2**63}\n{ROOT_TEXT}\n", f"o\n{'9' * 5000}\n{ROOT_TEXT}\n",
    f"o\n0\n{ROOT_TEXT}\n", "o\n5\n\n", "o\n5\nAAAA\n", f"o\n5\n{ROOT_TEXT[:-1]}\n", f"o\n5\n {ROOT_TEXT}\n",
    f"o\n5\n{ROOT_TEXT[:-2]}{chr(ord(ROOT_TEXT[-2]) + 1)}=\n", f"o\n5\n{ROOT_TEXT}\r\n", f"o\r\n5\n{ROOT_TEXT}\n",
    f"o\ud800\n5\n{ROOT_TEXT}\n", f"o\n5\n{b64encode(ROOT + b'x').decode()}\n", None, b"o\n5\n", 5,
])
def test_other_spellings_are_refused(text):
    """Extension lines, other decimals, other base64, other lengths and an empty ledger with a root are refused."""
    with pytest.raises(NoteError):
        checkpoints.parse(text)


@pytest.mark.parametrize("fields", [("", 1, ROOT), ("a\nb", 1, ROOT), (None, 1, ROOT), ("o", -1, ROOT), ("o", True,
ROOT),
                                    ("o", 2**63, ROOT), ("o", "1", ROOT), ("o", 1, ROOT[:31]),
                                    ("o", 1, bytearray(ROOT)),
                                    ("o", 0, ROOT)])
def test_impossible_checkpoints(fields):
    """A checkpoint that could not be written is not made."""
    with pytest.raises(NoteError):
        Checkpoint(*fields)


def test_the_empty_ledger():
    """A ledger without entries has a checkpoint too, over SHA-256 of nothing."""
    assert checkpoints.parse("o\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n").size == 0


def test_signed_checkpoint():
    """A signed and cosigned checkpoint is read with who signed it and when."""
    signed = checkpoints.sign(HEAD, LOG)
    signed = note.attach(signed, note.cosign(checkpoints.format(HEAD), WITNESS, 9))
    result = checkpoints.verify(signed, [LOG.verifier], [WITNESS.verifier])
    assert result.checkpoint == HEAD
    assert [(item.verifier.name, item.time_s) for item in result.signed] == [("example.com/ledger", None),
                                                                            ("witness.example", 9)]


def test_only_the_origins_own_key_makes_a_checkpoint():
    """A witness alone, another ledger's key, or the right name given only as a witness's does not make a checkpoint."""
    body = checkpoints.format(HEAD)
    other = note.generate("example.com/other", b"o" * 32)
    namesake = note.generate(LOG.name, b"n" * 32, note.COSIGNATURE)
    cosigned_only = f"{body}\n{note.cosign(body, WITNESS, 9)}"
    for text, keys, witnesses in (
        (cosigned_only, [LOG.verifier], [WITNESS.verifier]),
        (cosigned_only, [WITNESS.verifier], []),
        (f"{body}\n{note.cosign(body, namesake, 9)}", [namesake.verifier], []),
        (note.sign(body, other), [other.verifier, LOG.verifier], []),
        (checkpoints.sign(HEAD, LOG), [], [LOG.verifier]),
        (checkpoints.sign(HEAD, LOG), [other.verifier], []),
        (note.sign("not a checkpoint\n", LOG), [LOG.verifier], []),
    ):
        with pytest.raises(NoteError):
            checkpoints.verify(text, keys, witnesses)
    with pytest.raises(NoteError):
        checkpoints.sign(HEAD, other)
