"""Signed notes and keys against the published examples of Go's sumdb/note, against forgery and malformed spelling."""

from base64 import b64decode, b64encode
from hashlib import sha256

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from noticesvc.errors import NoteError
from noticesvc.ledger.note import COSIGNATURE, Signature, Signer, Verifier, attach, cosign, generate, parse, parse_lines, sign, verify

# The example of https://pkg.go.dev/golang.org/x/mod/sumdb/note.
SKEY = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
LINE = (
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
OTHER_VKEY = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop"
OTHER_LINE = (
    "— EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ=\n"
)
NOTE = f"{TEXT}\n{LINE}"
PETER, ENOCH = Verifier.parse(VKEY), Verifier.parse(OTHER_VKEY)
LOG = generate("example.com/ledger", bytes(range(32)))
WITNESS = generate("witness.example/w1", bytes(range(32, 64)), COSIGNATURE)
BODY = f"example.com/ledger\n1\n{b64encode(bytes(32)).decode()}\n"


def by_verifiers(verified):
    return [(item.verifier, item.time_s) for item in verified.signed]


def test_published_example():
    """Go's example key signs Go's example text with Go's example signature, and it verifies."""
    assert sign(TEXT, Signer.parse(SKEY)) == NOTE
    verified = verify(NOTE, [PETER])
    assert verified.text == TEXT
    assert by_verifiers(verified) == [(PETER, None)]
    assert verify(NOTE.encode(), [PETER]) == verified


def test_published_example_with_two_signatures():
    """Of two signatures those of known keys count, in the note's order; the other is ignored."""
    note = attach(NOTE, OTHER_LINE)
    assert note == f"{TEXT}\n{LINE}{OTHER_LINE}"
    assert by_verifiers(verify(note, [ENOCH, PETER])) == [(PETER, None), (ENOCH, None)]
    assert by_verifiers(verify(note, [ENOCH])) == [(ENOCH, None)]


def test_keys_in_text():
    """Keys are written as they were read, the id follows the published rule, and the secret stays out of repr."""
    signer = Signer.parse(SKEY + "\n")
    assert signer.private_text() == SKEY
    assert signer.verifier == PETER
    assert PETER.vkey == VKEY
    assert PETER.key_id == sha256(b"PeterNeumann\n\x01" + PETER.public_key).digest()[:4]
    assert SKEY.rsplit("+", 1)[1] not in repr(signer)
    assert VKEY in repr(signer)


@given(st.binary(min_size=32, max_size=32), st.sampled_from([1, COSIGNATURE]))
def test_generated_keys_round_trip(seed, key_type):
    """A generated key is found again from both spellings, and the same seed gives the same key."""
    signer = generate("例.example/账", seed, key_type)
    assert Signer.parse(signer.private_text()).private_text() == signer.private_text()
    assert Verifier.parse(signer.verifier.vkey) == signer.verifier
    public = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
    material = "例.example/账".encode() + b"\n" + bytes([key_type]) + public
    assert signer.verifier.key_id == sha256(material).digest()[:4]


@pytest.mark.parametrize("vkey", [
    "", "PeterNeumann", "PeterNeumann+c74f20a3", VKEY[:-1], VKEY + "=", VKEY + "\n", " " + VKEY,
    VKEY.replace("c7", "C7"),
    VKEY.replace("c74f20a3", "c74f20a4"), VKEY.replace("c74f20a3", "c74f20a"), VKEY.replace("c74f20a3", "0xc74f2"),
    VKEY.replace("Peter", "Pete"), VKEY.replace("Peter", "Peter "), VKEY[:-4], VKEY.replace("+ARpc", "+AhpC"),
    VKEY.replace("PeterNeumann", ""), VKEY + "AAAA", None, 5, VKEY.encode(),
])
def test_malformed_verifier_keys(vkey):
    """A verifier key with any part missing, changed or spelled otherwise is refused."""
    with pytest.raises(NoteError):
        Verifier.parse(vkey)


@pytest.mark.parametrize("skey", [
    "", VKEY, SKEY[:-4], SKEY.replace("PRIVATE", "private"), SKEY.replace("c74f20a3", "c74f20a4"), SKEY + "\n\n",
    SKEY.replace("Peter", "Pete"), None, SKEY.encode(),
])
def test_malformed_signing_keys(skey):
    """A damaged signing key is refused, and the message does not hold it."""
    with pytest.raises(NoteError) as raised:
        Signer.parse(skey)
    assert "AYEKFALV" not in str(raised.value)


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\nb", "a\u00a0b", "a\u2003b", "a\u3000b", "a\x01b", "a\ud800",
None])
def test_impossible_names(name):
    """A name that could not stand in a signature line is refused."""
    with pytest.raises(NoteError):
        generate(name, bytes(32))


@pytest.mark.parametrize(("seed", "key_type"), [(bytes(31), 1), (bytes(33), 1), ("a" * 32, 1), (bytearray(32), 1),
                                                (bytes(32), 2), (bytes(32), 0), (bytes(32), True), (bytes(32), "1")])
def test_impossible_keys(seed, key_type):
    """Seeds of other lengths or types, and key types we do not know, are refused."""
    with pytest.raises(NoteError):
        generate("name", seed, key_type)


@given(st.integers(0, len(NOTE.encode()) - 1), st.integers(0, 7))
def test_any_changed_bit_is_found(at, bit):
    """No byte of a note can change: the result is malformed, forged, or signed by no known key."""
    changed = bytearray(NOTE.encode())
    changed[at] ^= 1 << bit
    with pytest.raises(NoteError):
        verify(bytes(changed), [PETER])


def test_bad_signature_of_a_known_key():
    """One bad signature of a known key spoils the note even beside a good one; of an unknown key it is ignored."""
    blob = bytearray(b64decode(OTHER_LINE.split(" ")[2]))
    blob[-1] ^= 1
    bad = f"— EnochRoot {b64encode(blob).decode()}\n"
    for note in (NOTE + bad, f"{TEXT}\n{bad}{LINE}", f"{TEXT}\n{LINE}{OTHER_LINE}{bad}"):
        with pytest.raises(NoteError):
            verify(note, [PETER, ENOCH])
        assert verify(note, [PETER]).text == TEXT


def test_same_name_with_another_key():
    """A signature by another key of the same name, or the same id under another name, is an unknown key's."""
    namesake = generate("PeterNeumann", bytes(32))
    with pytest.raises(NoteError):
        verify(sign(TEXT, namesake), [PETER])
    renamed = NOTE.replace("— PeterNeumann", "— PaulNeumann")
    with pytest.raises(NoteError):
        verify(renamed, [PETER])
    assert by_verifiers(verify(attach(NOTE, sign(TEXT, namesake).split("\n\n")[1]), [PETER])) == [(PETER, None)]


def test_nobody_known():
    """A note is refused when no key is given or none of those given signed it."""
    for verifiers in ([], [ENOCH]):
        with pytest.raises(NoteError):
            verify(NOTE, verifiers)


def test_a_repeated_signature_counts_once():
    """The same key signing twice is listed once, and giving a key twice does no harm."""
    assert by_verifiers(verify(NOTE + LINE, [PETER, PETER])) == [(PETER, None)]


@pytest.mark.parametrize("note", [
    "", "\n", TEXT, f"{TEXT}\n", NOTE[:-1], NOTE + "\n", f"{TEXT}{LINE}", NOTE.replace("— ", "- "), NOTE + "x\n",
    NOTE.replace("— ", "—"), NOTE.replace("— ", "—  "), NOTE.replace("— P", " — P"), NOTE.replace("n x08", "n  x08"),
    NOTE.replace("AM=\n", "AM= \n"), NOTE.replace("AM=\n", "AM\n"), NOTE.replace("AM=\n", "AN=\n"),
    NOTE.replace("\n", "\r\n"),
    NOTE.replace("x08go/", "x08go_"), NOTE + "— a\n", NOTE + "— a AAAA\n", NOTE + "— a AAAAAA==\n",
    NOTE + "— a+b AAAAAAA=\n",
    NOTE.replace("If", "I\x00f"), NOTE.replace("If", "I\tf"), NOTE.replace("If", "I\ud800f"), NOTE.encode() + b"\xff\n",
    NOTE + LINE * 100, "x" * 1_000_001 + NOTE, None, 5, bytearray(NOTE.encode()),
])
def test_malformed_notes(note):
    """Whatever is not exactly text, blank line and well-formed signature lines is refused."""
    with pytest.raises(NoteError):
        verify(note, [PETER])


@pytest.mark.parametrize("text", ["", "no line feed", "a\r\n", "a\x00\n", "a\x1f\n", "\ud800\n", None, b"a\n"])
def test_texts_that_cannot_be_signed(text):
    """A text that could not stand in a note is not signed."""
    with pytest.raises(NoteError):
        sign(text, LOG)


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="".join(map(chr,
range(32)))) | st.just("\n")))
def test_any_text_round_trips(text):
    """Every text that may be signed comes back, empty lines and things that look like signatures included."""
    for whole in (f"{text}\n", f"{text}\n\n{LINE}", f"\n{text}\n\n"):
        assert verify(sign(whole, LOG), [LOG.verifier]).text == whole


def test_cosignature():
    """A cosignature signs the header, its time and the text, as C2SP tlog-cosignature composes them."""
    line = cosign(BODY, WITNESS, 1679315147)
    blob = b64decode(line.split(" ")[2])
    assert line.startswith("— witness.example/w1 ")
    assert blob[:4] == WITNESS.verifier.key_id
    assert blob[4:12] == (1679315147).to_bytes(8, "big")
    message = f"cosignature/v1\ntime 1679315147\n{BODY}".encode()
    Ed25519PrivateKey.from_private_bytes(bytes(range(32, 64))).public_key().verify(blob[12:], message)
    note = attach(sign(BODY, LOG), line)
    assert by_verifiers(verify(note, [LOG.verifier, WITNESS.verifier])) == [(LOG.verifier, None),
                                                                            (WITNESS.verifier, 1679315147)]


def test_cosignature_forgeries():
    """Another time, a plain signature under the witness's id, a missing time and a time beyond 2^63-1 do not hold."""
    good = parse_lines(cosign(BODY, WITNESS, 5))[0].blob
    plain = WITNESS.raw_signature(BODY.encode())
    far = 2**63
    message = b"cosignature/v1\ntime %d\n" % far + BODY.encode()
    for blob in ((6).to_bytes(8, "big") + good[8:], plain, good[8:], good[:8], good + b"x", b"x",
                 far.to_bytes(8, "big") + WITNESS.raw_signature(message)):
        line = Signature(WITNESS.name, WITNESS.verifier.key_id, blob).line()
        with pytest.raises(NoteError):
            verify(attach(sign(BODY, LOG), line), [LOG.verifier, WITNESS.verifier])


def test_keys_keep_to_their_kind():
    """A witness's key does not sign notes, a ledger's key does not cosign, and times that cannot be are refused."""
    with pytest.raises(NoteError):
        sign(BODY, WITNESS)
    with pytest.raises(NoteError):
        cosign(BODY, LOG, 5)
    for time_s in (-1, 2**63, True, 1.5, "5", None):
        with pytest.raises(NoteError):
            cosign(BODY, WITNESS, time_s)


def test_attaching():
    """Lines that a note has already are not repeated, and malformed ones are refused."""
    line = cosign(BODY, WITNESS, 5)
    note = attach(sign(BODY, LOG), line)
    assert attach(note, line) == note
    assert [item.name for item in parse(note).signatures] == [LOG.name, WITNESS.name]
    for lines in ("", "\n", line[:-1], line + "\n", "hello\n", line * 101):
        with pytest.raises(NoteError):
            attach(note, lines)


def test_size_limit():
    """A million bytes are a note, one more is none (signed-note asks for a limit)."""
    room = 1_000_000 - len(sign("\n", LOG).encode())
    assert len(verify(sign("x" * room + "\n", LOG), [LOG.verifier]).text) == room + 1
    with pytest.raises(NoteError):
        verify(sign("x" * (room + 1) + "\n", LOG), [LOG.verifier])


def test_ambiguous_keys():
    """Two different keys of one name whose four-byte ids collide are refused instead of trusting either."""
    seen = {}
    for number in range(2**20):
        key = number.to_bytes(32, "big")
        twin = seen.setdefault(sha256(b"PeterNeumann\n\x01" + key).digest()[:4], key)
        if twin != key:
            break
    first, second = Verifier("PeterNeumann", twin), Verifier("PeterNeumann", key)
    assert first.key_id == second.key_id
    assert first != second
    with pytest.raises(NoteError):
        verify(NOTE, [PETER, first, second])
    assert verify(NOTE, [PETER, first, first]).text == TEXT
