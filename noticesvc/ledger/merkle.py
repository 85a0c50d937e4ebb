"""Merkle tree hashing, inclusion proofs and consistency proofs after RFC 6962 section 2.1 (RFC 9162 section 2.1).

Called by everything that makes or checks a ledger proof. Leaf SHA-256(0x00 ‖ entry), node SHA-256(0x01 ‖ left ‖ right),
empty root SHA-256(""), a tree of n > 1 leaves split at the largest power of two below n. Only `bytes` and `int` are
taken; anything else (a bool, a bytearray, a memoryview, a str) is refused with `ProofError`, never with a TypeError, so
that a verifier has one way to fail. Proofs and lists of hashes are sequences (list, tuple) of 32-byte hashes.
"""

from collections.abc import Sequence
from hashlib import sha256

from noticesvc.errors import ProofError

__all__ = [
    "EMPTY_ROOT", "HASH_BYTES", "ProofError", "consistency_proof", "consistency_ranges", "inclusion_proof",
    "inclusion_ranges", "leaf_hash", "node_hash", "require_hash", "require_hashes", "require_int", "root_hash",
    "verify_consistency", "verify_inclusion",
]

HASH_BYTES = 32
EMPTY_ROOT = sha256(b"").digest()


def leaf_hash(entry: bytes) -> bytes:
    """The hash of one entry's bytes as a leaf. Raises ProofError if `entry` is not bytes."""
    if not isinstance(entry, bytes):
        raise ProofError("An entry to be hashed is not bytes; pass its exact bytes.")
    return sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node over its two children. Raises ProofError unless both are 32 bytes."""
    require_hash(left, "the left child")
    require_hash(right, "the right child")
    return _node(left, right)


def root_hash(leaf_hashes: Sequence[bytes]) -> bytes:
    """The root over these leaf hashes, SHA-256("") for none. Raises ProofError for a hash that is not 32 bytes."""
    return _root(require_hashes(leaf_hashes, "the leaf hashes"))


def inclusion_proof(leaf_hashes: Sequence[bytes], index: int) -> list[bytes]:
    """The audit path of leaf `index`, from its sibling up to the root's child (RFC 9162 2.1.3.1).

    Raises ProofError if no such leaf exists or a hash is malformed.
    """
    hashes = require_hashes(leaf_hashes, "the leaf hashes")
    return [_root(hashes[low:high]) for low, high in inclusion_ranges(index, len(hashes))]


def consistency_proof(leaf_hashes: Sequence[bytes], old_size: int) -> list[bytes]:
    """The proof that the first `old_size` leaves are a prefix of this tree (RFC 9162 2.1.4.1).

    Empty when `old_size` is the whole size. Raises ProofError if `old_size` is below 1 or beyond the tree, or a hash is
    malformed.
    """
    hashes = require_hashes(leaf_hashes, "the leaf hashes")
    return [_root(hashes[low:high]) for low, high in consistency_ranges(old_size, len(hashes))]


def inclusion_ranges(index: int, size: int) -> list[tuple[int, int]]:
    """The leaf ranges [low, high) whose roots form the inclusion proof, in its order.

    Raises ProofError unless 0 <= index < size.
    """
    _require_index(index, size)
    ranges: list[tuple[int, int]] = []
    low, high = 0, size
    while high - low > 1:
        middle = low + _split(high - low)
        if index < middle:
            ranges.append((middle, high))
            high = middle
        else:
            ranges.append((low, middle))
            low = middle
    ranges.reverse()
    return ranges


def consistency_ranges(old_size: int, size: int) -> list[tuple[int, int]]:
    """The leaf ranges [low, high) whose roots form the consistency proof, in its order.

    Raises ProofError unless 1 <= old_size <= size.
    """
    _require_sizes(old_size, size)
    ranges: list[tuple[int, int]] = []
    low, high = 0, size
    while high != old_size:
        middle = low + _split(high - low)
        if old_size <= middle:
            ranges.append((middle, high))
            high = middle
        else:
            ranges.append((low, middle))
            low = middle
    if low:  # else the remaining range is the old tree itself, whose root the verifier already has
        ranges.append((low, high))
    ranges.reverse()
    return ranges


def verify_inclusion(index: int, size: int, leaf_hash: bytes, proof: Sequence[bytes], root: bytes) -> None:
    """Returns if `leaf_hash` is leaf `index` of the tree of `size` leaves with this root, else raises ProofError.

    The path of a leaf has an inner part, where it lies beside nodes on either side, and an outer part along the tree's
    right edge, where every sibling lies to the left; both lengths follow from `index` and `size` alone.
    """
    # 1. The numbers and lengths are possible.
    _require_index(index, size)
    require_hash(leaf_hash, "the leaf hash")
    require_hash(root, "the root")
    path = require_hashes(proof, "the inclusion proof")
    # 2. The proof is exactly as long as this index and size demand.
    inner = (index ^ (size - 1)).bit_length()
    if len(path) != inner + (index >> inner).bit_count():
        raise ProofError("The inclusion proof has the wrong number of hashes for this index and size.")
    # 3. Hashing from the leaf upwards gives the root.
    if _climb(index, inner, leaf_hash, path) != root:
        raise ProofError("The inclusion proof does not lead from this leaf to this root.")


def verify_consistency(old_size: int, new_size: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> None:
    """Returns if the tree of `old_size` is a prefix of the tree of `new_size`, else raises ProofError.

    Equal sizes need equal roots and an empty proof; an old size of 0 proves nothing and is refused.
    """
    # 1. The numbers and lengths are possible.
    _require_sizes(old_size, new_size)
    require_hash(old_root, "the old root")
    require_hash(new_root, "the new root")
    path = require_hashes(proof, "the consistency proof")
    if old_size == new_size:
        if path:
            raise ProofError("The consistency proof between equal sizes is not empty.")
        if old_root != new_root:
            raise ProofError("Two trees of the same size have different roots; the ledger was forked or changed.")
        return
    # 2. The walk starts at the largest perfect subtree that ends where the old tree ends; if that is the whole old tree
    #    its root is known, else the proof begins with it.
    shift = (old_size & -old_size).bit_length() - 1
    if old_size == 1 << shift:
        start = old_root
    elif path:
        start, path = path[0], path[1:]
    else:
        raise ProofError("The consistency proof is empty although the sizes differ.")
    # 3. The rest is exactly as long as the sizes demand.
    last = (old_size - 1) >> shift
    inner = (last ^ ((new_size - 1) >> shift)).bit_length()
    if len(path) != inner + (last >> inner).bit_count():
        raise ProofError("The consistency proof has the wrong number of hashes for these sizes.")
    # 4. The siblings to the left give the old root, all siblings the new one.
    node = start
    for level, sibling in enumerate(path):
        if level >= inner or last >> level & 1:
            node = _node(sibling, node)
    if node != old_root:
        raise ProofError("The consistency proof does not lead to the old root.")
    if _climb(last, inner, start, path) != new_root:
        raise ProofError("The consistency proof does not lead to the new root.")


def require_int(value: object, what: str) -> None:
    """Raises ProofError unless `value` is an int that is no bool and not negative; `what` names it."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ProofError(f"What stands for {what} is not a whole number from 0 upwards.")


def require_hash(value: object, what: str) -> None:
    """Raises ProofError unless `value` is 32 bytes; `what` names it."""
    if not isinstance(value, bytes) or len(value) != HASH_BYTES:
        raise ProofError(f"What stands for {what} is not a hash of 32 bytes.")


def require_hashes(value: object, what: str) -> tuple[bytes, ...]:
    """The items of a sequence of 32-byte hashes. Raises ProofError for anything else; `what` names it."""
    if not isinstance(value, Sequence) or isinstance(value, (str, bytes, bytearray, memoryview)):
        raise ProofError(f"What stands for {what} is not a list of hashes.")
    hashes = tuple(value)
    for item in hashes:
        if not isinstance(item, bytes) or len(item) != HASH_BYTES:
            raise ProofError(f"An item of {what} is not a hash of 32 bytes.")
    return hashes


def _require_index(index: object, size: object) -> None:
    require_int(index, "the index")
    require_int(size, "the size")
    if not index < size:  # type: ignore[operator]  # both are ints here
        raise ProofError("The index lies outside the tree; a tree of n entries has the indexes 0 to n-1.")


def _require_sizes(old_size: object, new_size: object) -> None:
    require_int(old_size, "the old size")
    require_int(new_size, "the new size")
    if old_size == 0:
        raise ProofError("The old size is 0: an empty tree is consistent with every tree, so nothing can be proved.")
    if old_size > new_size:  # type: ignore[operator]  # both are ints here
        raise ProofError("The old size is larger than the new one; a ledger only grows.")


def _split(size: int) -> int:
    """The largest power of two below `size`, which is at least 2."""
    return 1 << (size - 1).bit_length() - 1


def _node(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()


def _root(hashes: Sequence[bytes]) -> bytes:
    """Pairs up level by level; an odd last node moves up unchanged, which is the split of RFC 6962."""
    if not hashes:
        return EMPTY_ROOT
    level = list(hashes)
    while len(level) > 1:
        above = [_node(level[at], level[at + 1]) for at in range(0, len(level) - 1, 2)]
        if len(level) & 1:
            above.append(level[-1])
        level = above
    return level[0]


def _climb(position: int, inner: int, node: bytes, path: Sequence[bytes]) -> bytes:
    """Hashes upwards from `node`; below height `inner` the bits of `position` say on which side it lies."""
    for level, sibling in enumerate(path):
        if level >= inner or position >> level & 1:
            node = _node(sibling, node)
        else:
            node = _node(node, sibling)
    return node
