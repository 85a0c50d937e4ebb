"""Bundles with everything in them, changed and forged: what the tests of proofs that must not verify are made from.

`mutants` changes a bundle's JSON; `resigned` and `without` are what an owner of the log's key could make of it.
"""

import copy
from base64 import b64decode, b64encode
from dataclasses import replace
from pathlib import Path

from rfc3161_client import HashAlgorithm, TimestampRequestBuilder, decode_timestamp_response

from noticesvc.ledger import checkpoint as checkpoints
from noticesvc.ledger import key, merkle, note
from noticesvc.ledger import proof as tlog
from noticesvc.ledger.entry import decode, encode
from noticesvc.operations import anchoring, proving
from noticesvc.storage import ledger
from tests.fakes.tsa import Authority
from tests.support import proofs
from tests.support.ledger import ORIGIN, SIGNER

WITNESS = key.generate("witness.example.cn", bytes([7]) * 32, key.COSIGNATURE)


async def bundles(url):
    """A notice's bundle with every kind of content, one of contacts, and the roots of their timestamps."""
    async with proofs.desk(url) as desk:
        folder = Path(url.removeprefix("sqlite+aiosqlite:///")).parent
        authority = Authority(folder / "tsa")
        await desk.recipient()
        await desk.acceptance()
        notice_id = await desk.notice(
            category="platform", channels=("announcement", "in_site", "sms", "email"), sms="短信 {link}", sms_carries="link",
            reference="R-1", metadata={"a": [1]}, ground="五.2①", response_window={"days": 15}, documents=(await desk.document(),))
        await desk.deliver_in_site()
        await desk.dispatch()
        await desk.answer(notice_id, "sms", "not_sent")
        await desk.answer(notice_id, "email", "submitted", provider_reference="q-1")
        await _anchored(desk, authority)
        desk.house.clock.move(10)
        await desk.dispatch()
        await desk.answer(notice_id, "sms", "submitted", provider_reference="gw", claimed_time_raw="22:13", parts=2)
        await desk.receipt(notice_id, "sms", ("arrived", {"part": 1, "parts": 2}), ("arrived", {"part": 2, "parts": 2}))
        await desk.receipt(notice_id, "sms", ("arrived", {"part": 1, "parts": 2}), ("arrived", {"part": 2, "parts": 2}))
        await desk.receipt(notice_id, "email", "failed_permanent", raw=b"DSN", source="dsn")
        await desk.proof(notice_id)
        await _anchored(desk, authority)
        desk.house.world = replace(desk.house.world, witnesses=(WITNESS.verifier.vkey,))

        async def proved(read, prove, *about):
            reading = await desk.write(read, desk.access, *about)
            await desk.sequence()
            await desk.write(_cosigned)
            return await desk.house.database.read(prove, desk.house.world, reading)
        return {"notice": await proved(proving.read_notice, proving.notice_proof, notice_id, "诉讼举证"),
                "contacts": await proved(proving.read_contacts, proving.contacts_proof, "u-1001", None, "法院调取"),
                "roots": [authority.root]}


async def _anchored(desk, authority):
    """The newest checkpoint, stamped by a service."""
    await desk.sequence()

    def keep(tx, _world):
        size, text = ledger.latest_checkpoint(tx)
        request = TimestampRequestBuilder().data(text.encode()).hash_algorithm(HashAlgorithm.SHA256).build()
        token = decode_timestamp_response(authority.own(request.as_bytes())).time_stamp_token()
        anchoring.keep_token(tx, "tsa:test", size, text, token, 0)
    await desk.write(keep)


def _cosigned(tx, _world):
    size, text = ledger.latest_checkpoint(tx)
    anchoring.keep_cosignature(tx, size, WITNESS.verifier.vkey, note.cosign(note.parse(text).text, WITNESS, 1_790_000_000))


def mutants(value, path=()):
    """(path, what, changed copy) for every leaf and member below `value`; the copy is of the value at `path`."""
    match value:
        case dict():
            for name in value:
                yield (*path, name), "left out", {k: v for k, v in value.items() if k != name}
                for sub, what, made in mutants(value[name], (*path, name)):
                    yield sub, what, value | {name: made}
            yield path, "given a member more", value | {"extra": None}
        case list():
            for at, item in enumerate(value):
                yield (*path, at), "left out", [*value[:at], *value[at + 1:]]
                yield (*path, at), "doubled", [*value[:at], item, *value[at:]]
                if at and value[at - 1] != item:
                    yield (*path, at), "swapped", [*value[:at - 1], item, value[at - 1], *value[at + 1:]]
                for sub, what, made in mutants(item, (*path, at)):
                    yield sub, what, [*value[:at], made, *value[at + 1:]]
            yield path, "given an item more", [*value, None]
        case bool():
            yield path, "negated", not value
            yield path, "spelled as a number", int(value)
            yield path, "nulled", None
        case int():
            yield path, "raised", value + 1
            yield path, "given a fraction", value + 0.0
            yield path, "nulled", None
        case str():
            yield path, "lengthened", value + "A"
            yield path, "nulled", None
            if value:
                yield path, "shortened", value[:-1]
                middle = len(value) // 2
                yield path, "changed in the middle", value[:middle] + ("B" if value[middle] != "B" else "C") + value[middle + 1:]
        case None:
            yield path, "filled", "x"
            yield path, "set", 0


def resigned(bundle, change, signer=SIGNER):
    """The bundle as its own ledger would sign it had its entries been others: `change` edits the decoded entries in place."""
    made = copy.deepcopy(bundle)
    entries = [decode(b64decode(one["entry"])) for one in made["entries"]]
    change(entries, made)
    data = [encode(one) for one in entries]
    leaves = [merkle.leaf_hash(one) for one in data]
    signed = checkpoints.sign(checkpoints.Checkpoint(ORIGIN, len(leaves), merkle.root_hash(leaves)), signer)
    made["entries"] = [{"entry": b64encode(one).decode(), "tlog_proof": tlog.format(tlog.TlogProof(
        at, tuple(merkle.inclusion_proof(leaves, at)), signed))} for at, one in enumerate(data)]
    made["timestamps"], made["cosigners"] = [], []  # whoever holds the log's key holds none of theirs
    return made


def without(bundle, gone):
    """The bundle without one entry: all positions are moved, and the numbers behind it are counted down, as if it had never been."""
    def change(entries, made):
        number = entries[gone].get("seq")
        for name in ("openings", "raw"):
            made[name] = [one | {"entry": one["entry"] - (one["entry"] > gone)} for one in made[name] if one["entry"] != gone]
        del made["entries"][gone], entries[gone]
        for entry in entries:
            if number is not None and entry.get("seq", 0) > number:
                entry["seq"] -= 1
    return resigned(bundle, change)
