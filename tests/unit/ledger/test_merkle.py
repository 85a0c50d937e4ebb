"""Merkle trees against published roots and proofs, the recursive definition of RFC 6962, and tampering."""

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noticesvc.ledger.merkle import (
    ProofError,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    root_hash,
    verify_consistency,
    verify_inclusion,
)

# The reference leaves of the Certificate Transparency implementations and the roots over the first 1 to 8 of them
# (google/certificate-transparency, cpp/merkletree/merkle_tree_test.cc).
REFERENCE_ENTRIES = [
    bytes.fromhex(text)
    for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
REFERENCE_ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
# Same source: (index from 0, size, path).
REFERENCE_PATHS = [
    (0, 1, []),
    (0, 8, ["96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"]),
    (5, 8, ["bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"]),
    (2, 3, ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"]),
    (1, 5, ["6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"]),
]
# Same source: (old size, new size, proof).
REFERENCE_CONSISTENCY = [
    (1, 1, []),
    (1, 8, ["96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"]),
    (6, 8, ["0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"]),
    (2, 5, ["5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"]),
]


def leaves(count):
    return [sha256(b"\x00entry %d" % number).digest() for number in range(count)]


def split(count):
    power = 1
    while power * 2 < count:
        power *= 2
    return power


def mth(hashes):
    """RFC 6962 section 2.1, word for word, over leaf hashes."""
    if not hashes:
        return sha256(b"").digest()
    if len(hashes) == 1:
        return hashes[0]
    k = split(len(hashes))
    return sha256(b"\x01" + mth(hashes[:k]) + mth(hashes[k:])).digest()


def path(m, hashes):
    """RFC 6962 section 2.1.1, word for word."""
    if len(hashes) == 1:
        return []
    k = split(len(hashes))
    if m < k:
        return [*path(m, hashes[:k]), mth(hashes[k:])]
    return [*path(m - k, hashes[k:]), mth(hashes[:k])]


def subproof(m, hashes, whole):
    """RFC 6962 section 2.1.2, word for word."""
    if m == len(hashes):
        return [] if whole else [mth(hashes)]
    k = split(len(hashes))
    if m <= k:
        return [*subproof(m, hashes[:k], whole), mth(hashes[k:])]
    return [*subproof(m - k, hashes[k:], False), mth(hashes[:k])]


def flip(data, bit):
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def test_reference_roots():
    """The published roots come out of the published leaves, by our code and by the recursive definition."""
    hashes = [leaf_hash(entry) for entry in REFERENCE_ENTRIES]
    for size, root in enumerate(REFERENCE_ROOTS, 1):
        assert root_hash(hashes[:size]).hex() == root
        assert mth(hashes[:size]).hex() == root


def test_empty_tree_and_prefixes():
    """The empty root is SHA-256 of nothing, and leaves and nodes are hashed under different prefixes (RFC 6962 2.1)."""
    assert root_hash([]).hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    left, right = leaves(2)
    assert leaf_hash(left + right) == sha256(b"\x00" + left + right).digest()
    assert node_hash(left, right) == sha256(b"\x01" + left + right).digest()


@pytest.mark.parametrize(("index", "size", "expected"), REFERENCE_PATHS)
def test_reference_inclusion_proofs(index, size, expected):
    """The published audit paths are made and hold."""
    hashes = [leaf_hash(entry) for entry in REFERENCE_ENTRIES[:size]]
    proof = inclusion_proof(hashes, index)
    assert [item.hex() for item in proof] == expected
    verify_inclusion(index, size, hashes[index], proof, bytes.fromhex(REFERENCE_ROOTS[size - 1]))


@pytest.mark.parametrize(("old", "new", "expected"), REFERENCE_CONSISTENCY)
def test_reference_consistency_proofs(old, new, expected):
    """The published consistency proofs are made and hold."""
    hashes = [leaf_hash(entry) for entry in REFERENCE_ENTRIES[:new]]
    proof = consistency_proof(hashes, old)
    assert [item.hex() for item in proof] == expected
    verify_consistency(old, new, bytes.fromhex(REFERENCE_ROOTS[old - 1]), bytes.fromhex(REFERENCE_ROOTS[new - 1]),
    proof)


def test_every_index_of_every_small_size():
    """Every proof up to 70 leaves is the one of the recursive definition, holds, and fails at every other index."""
    for size in range(1, 71):
        hashes = leaves(size)
        root = root_hash(hashes)
        assert root == mth(hashes)
        for index in range(size):
            proof = inclusion_proof(hashes, index)
            assert proof == path(index, hashes)
            verify_inclusion(index, size, hashes[index], proof, root)
            with pytest.raises(ProofError):
                verify_inclusion((index + 1) % (size + 1), size, hashes[index], proof, root)


def test_consistency_of_all_small_pairs():
    """Every pair up to 40 leaves is proved as defined, and the proof fails for exchanged roots and wrong sizes."""
    for new in range(1, 41):
        hashes = leaves(new)
        new_root = root_hash(hashes)
        for old in range(1, new + 1):
            proof, old_root = consistency_proof(hashes, old), root_hash(hashes[:old])
            assert proof == subproof(old, hashes, True)
            verify_consistency(old, new, old_root, new_root, proof)
            if old < new:
                for wrong in (
                    (old, new, new_root, old_root), (old, old, old_root, new_root), (new, old, old_root, new_root),
                    (old, new, new_root, new_root), (old, new, old_root, old_root),
                ):
                    with pytest.raises(ProofError):
                        verify_consistency(*wrong, proof)


@given(st.data())
def test_tampering_with_inclusion_is_found(data):
    """Flipping any bit, dropping, doubling or swapping hashes, or another index makes an inclusion proof fail."""
    size = data.draw(st.integers(2, 300))
    index = data.draw(st.integers(0, size - 1))
    hashes = leaves(size)
    proof, root = inclusion_proof(hashes, index), root_hash(hashes)
    bit, at = data.draw(st.integers(0, 255)), data.draw(st.integers(0, len(proof) - 1))
    other = data.draw(st.integers(0, size - 1).filter(lambda number: number != index))
    swapped = [proof[-1], *proof[1:-1], proof[0]]
    wrong = [
        (index, size, flip(hashes[index], bit), proof, root),
        (index, size, hashes[index], proof, flip(root, bit)),
        (index, size, hashes[index], [*proof[:at], flip(proof[at], bit), *proof[at + 1:]], root),
        (index, size, hashes[index], proof[:at] + proof[at + 1:], root),
        (index, size, hashes[index], [*proof, proof[at]], root),
        (index, size, hashes[index], [proof[at], *proof], root),
        (other, size, hashes[index], proof, root),
        (index, size, hashes[other], proof, root),
        *([(index, size, hashes[index], swapped, root)] if swapped != proof else []),
    ]
    verify_inclusion(index, size, hashes[index], proof, root)
    for arguments in wrong:
        with pytest.raises(ProofError):
            verify_inclusion(*arguments)


@given(st.data())
def test_tampering_with_consistency_is_found(data):
    """Flipping any bit or changing the length of a consistency proof makes it fail, and so does another old size."""
    new = data.draw(st.integers(2, 300))
    old = data.draw(st.integers(1, new - 1))
    hashes = leaves(new)
    proof, old_root, new_root = consistency_proof(hashes, old), root_hash(hashes[:old]), root_hash(hashes)
    bit, at = data.draw(st.integers(0, 255)), data.draw(st.integers(0, len(proof) - 1))
    other = data.draw(st.integers(1, new).filter(lambda number: number != old))
    verify_consistency(old, new, old_root, new_root, proof)
    for arguments in (
        (old, new, flip(old_root, bit), new_root, proof),
        (old, new, old_root, flip(new_root, bit), proof),
        (old, new, old_root, new_root, [*proof[:at], flip(proof[at], bit), *proof[at + 1:]]),
        (old, new, old_root, new_root, proof[:at] + proof[at + 1:]),
        (old, new, old_root, new_root, [*proof, proof[at]]),
        (old, new, old_root, new_root, [proof[at], *proof]),
        (old, new, old_root, new_root, []),
        (other, new, old_root, new_root, proof),
    ):
        with pytest.raises(ProofError):
            verify_consistency(*arguments)


def test_equal_sizes():
    """The same size is consistent with itself only by equal roots and an empty proof."""
    root, other = leaves(2)
    verify_consistency(7, 7, root, root, [])
    for second, proof in ((other, []), (root, [root]), (other, [root])):
        with pytest.raises(ProofError):
            verify_consistency(7, 7, root, second, proof)


def test_single_leaf():
    """In a tree of one the root is the leaf hash, and its proof is empty."""
    (leaf,) = leaves(1)
    verify_inclusion(0, 1, leaf, [], leaf)
    with pytest.raises(ProofError):
        verify_inclusion(0, 1, leaf, [leaf], leaf)


@pytest.mark.parametrize("height", [62, 64, 200])
def test_huge_trees(height):
    """Sizes far beyond any list are verified: a perfect tree of equal leaves has equal siblings at each height."""
    node, proof = leaf_hash(b"x"), []
    for _ in range(height):
        proof.append(node)
        node = node_hash(node, node)
    for index in (0, 1, 2**height - 1, 2**height // 3):
        verify_inclusion(index, 2**height, leaf_hash(b"x"), proof, node)
    verify_consistency(2**(height - 1), 2**height, proof[-1], node, proof[-1:])
    with pytest.raises(ProofError):
        verify_inclusion(0, 2**height + 1, leaf_hash(b"x"), proof, node)


def test_absurd_sizes_fail_at_once():
    """A number of a million bits is refused by the length of the proof, without walking its bits."""
    (leaf,) = leaves(1)
    huge = 1 << 1_000_000
    for call in (lambda: verify_inclusion(huge - 1, huge, leaf, [leaf], leaf),
                 lambda: verify_inclusion(5, huge, leaf, [], leaf),
                 lambda: verify_consistency(huge, huge + 1, leaf, leaf, [leaf]),
                 lambda: verify_consistency(3, huge, leaf, leaf, [leaf, leaf]),
                 lambda: inclusion_proof([leaf], huge),
                 lambda: consistency_proof([leaf], huge)):
        with pytest.raises(ProofError):
            call()


NO_INT = [True, False, None, "1", 1.0, b"1", [1]]
NO_HASH = [None, 0, "a" * 32, b"", b"a" * 31, b"a" * 33, bytearray(32), memoryview(bytes(32)), [0] * 32]
NO_LIST = [None, 0, "", b"", b"a" * 32, bytearray(), memoryview(b""), {}, set(), iter(()), object()]


@pytest.mark.parametrize("value", [*NO_INT, -1, -(2**70)])
def test_what_is_no_number_is_refused(value):
    """A bool, another type or a negative number in place of an index or size is a ProofError, never a TypeError."""
    hashes = leaves(2)
    root = root_hash(hashes)
    for call in (lambda: inclusion_proof(hashes, value),
                 lambda: consistency_proof(hashes, value),
                 lambda: verify_inclusion(value, 2, hashes[0], [hashes[1]], root),
                 lambda: verify_inclusion(1, value, hashes[1], [hashes[0]], root),
                 lambda: verify_inclusion(0, value, root, [], root),
                 lambda: verify_consistency(value, 2, hashes[0], root, [hashes[1]]),
                 lambda: verify_consistency(1, value, hashes[0], hashes[0], []),
                 lambda: verify_consistency(value, value, root, root, [])):
        with pytest.raises(ProofError):
            call()


@pytest.mark.parametrize("value", NO_HASH)
def test_what_is_no_hash_is_refused(value):
    """Anything but 32 bytes in place of a hash is a ProofError, wherever it stands."""
    hashes = leaves(2)
    root = root_hash(hashes)
    for call in (lambda: node_hash(value, root), lambda: node_hash(root, value),
                 lambda: root_hash([value]), lambda: root_hash([root, value]),
                 lambda: inclusion_proof([root, value], 0), lambda: inclusion_proof([value], 0),
                 lambda: consistency_proof([value], 1), lambda: consistency_proof([root, value], 1),
                 lambda: verify_inclusion(0, 2, value, [hashes[1]], root),
                 lambda: verify_inclusion(0, 2, hashes[0], [value], root),
                 lambda: verify_inclusion(0, 2, hashes[0], [hashes[1]], value),
                 lambda: verify_inclusion(0, 1, value, [], value),
                 lambda: verify_consistency(1, 2, value, root, [hashes[1]]),
                 lambda: verify_consistency(1, 2, hashes[0], value, [hashes[1]]),
                 lambda: verify_consistency(1, 2, hashes[0], root, [value]),
                 lambda: verify_consistency(1, 1, value, value, [])):
        with pytest.raises(ProofError):
            call()


@pytest.mark.parametrize("value", NO_LIST)
def test_what_is_no_list_is_refused(value):
    """Bytes, text, sets, iterators and the like in place of a list of hashes are a ProofError, even when empty."""
    (leaf,) = leaves(1)
    for call in (lambda: root_hash(value), lambda: inclusion_proof(value, 0), lambda: consistency_proof(value, 1),
                 lambda: verify_inclusion(0, 1, leaf, value, leaf),
                 lambda: verify_consistency(1, 1, leaf, leaf, value)):
        with pytest.raises(ProofError):
            call()


@pytest.mark.parametrize("value", [None, 0, "text", bytearray(b"x"), memoryview(b"x"), ["x"]])
def test_only_bytes_are_entries(value):
    """An entry that is not bytes is a ProofError."""
    with pytest.raises(ProofError):
        leaf_hash(value)


def test_impossible_numbers():
    """No proof exists for an index at or beyond the size, an old size of 0 or beyond the new one, or an empty tree."""
    hashes = leaves(3)
    root = root_hash(hashes)
    for call in (lambda: inclusion_proof(hashes, 3), lambda: inclusion_proof([], 0),
                 lambda: consistency_proof(hashes, 0), lambda: consistency_proof(hashes, 4),
                 lambda: consistency_proof([], 0), lambda: consistency_proof([], 1),
                 lambda: verify_inclusion(0, 0, root, [], root), lambda: verify_inclusion(3, 3, root, [root], root),
                 lambda: verify_consistency(0, 3, root_hash([]), root, []),
                 lambda: verify_consistency(0, 0, root_hash([]), root_hash([]), []),
                 lambda: verify_consistency(4, 3, root, root, [])):
        with pytest.raises(ProofError):
            call()


def test_tuples_are_lists():
    """A tuple of hashes serves as well as a list."""
    hashes = tuple(leaves(5))
    assert root_hash(hashes) == root_hash(list(hashes))
    verify_inclusion(4, 5, hashes[4], tuple(inclusion_proof(hashes, 4)), root_hash(hashes))
    verify_consistency(3, 5, root_hash(hashes[:3]), root_hash(hashes), tuple(consistency_proof(hashes, 3)))
