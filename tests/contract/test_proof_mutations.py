"""Whatever carries a claim in a proof bundle, changed, left out, doubled or swapped, makes it fail: every leaf of real bundles.

What is excepted stands in MEANS_NOTHING with its reason. The bundles come from the real operations on SQLite; what is mutated is
the JSON as it is served.
"""

import asyncio
import copy
import json
import random
from base64 import b64decode, b64encode
from functools import cache

import jsonschema_rs
import pytest
from asn1crypto import cms
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from noticesvc.errors import VerificationError
from noticesvc.ledger import key, note
from noticesvc.ledger import proof as tlog
from noticesvc.ledger.entry import commitment, decode
from noticesvc.proof import timestamps
from noticesvc.proof.bundle import MAX_BYTES
from noticesvc.proof.entries import conforms, read
from noticesvc.proof.entry_types import json_schemas
from noticesvc.proof.verify import TITLES, verify
from tests.support import forging, proofs
from tests.support.forging import mutants, resigned, without
from tests.support.ledger import ORIGIN, SIGNER

KEYS = (SIGNER.verifier,)


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    """A notice's bundle with every kind of content, and one of contacts."""
    return asyncio.run(forging.bundles(f"sqlite+aiosqlite:///{tmp_path_factory.mktemp('mutations') / 'ns.db'}"))


# What may be changed without a failure, and why.
MEANS_NOTHING = {
    ("timestamps", "left out"): "a token is one more voice; without it the bundle claims less, and nothing that is false",
    ("cosigners", "left out"): "the same of a witness that is not demanded; whoever wants it names it by --witness",
    ("timestamps", "swapped"): "two tokens of one second over one checkpoint have no order",
}


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("which", ["notice", "contacts"])
def test_every_mutation_of_every_leaf_fails(bundles, which, monkeypatch):
    """Each leaf changed, each member and item left out, doubled or swapped: no mutant verifies, and none raises."""
    monkeypatch.setattr("noticesvc.proof.verify.read", cache(read))  # most entries and proofs are the same in each mutant
    monkeypatch.setattr(tlog, "parse", cache(tlog.parse))
    bundle, roots = bundles[which], bundles["roots"]
    assert verify(proofs.data(bundle), KEYS, (), roots).failures == ()
    assert bundle["timestamps"]
    count, passed = 0, []
    for path, what, made in mutants(bundle):
        if path and path[0] in ("notice", "outcomes") and what in ("lengthened", "shortened", "given a fraction"):
            continue  # derived members are compared whole: one other string is as good as the next
        if len(path) == 2 and (path[0], what) in MEANS_NOTHING:
            continue
        count += 1
        report = verify(proofs.data(made), KEYS, (), roots)
        if report.ok:
            passed.append((path, what))
        assert all(failure.endswith((".", "!")) for failure in report.failures), report.failures
    assert passed == []
    assert count > 400


@pytest.mark.timeout(300)
def test_each_byte_of_a_token_and_of_its_checkpoint_matters(bundles):
    """Every byte of a token changed, left out or doubled makes it fail, and so does every character of what it is over."""
    item = bundles["notice"]["timestamps"][0]
    token, message = b64decode(item["token"]), item["checkpoint"].encode()
    timestamps.check(token, message, bundles["roots"])
    passed = []
    # The name of the signature's algorithm is covered by nothing (RFC 5652, 5.4); the certificate, which is, says what key it is.
    named = cms.ContentInfo.load(token)["content"]["signer_infos"][0]["signature_algorithm"].dump()
    begin = token.rindex(named)
    for at in range(len(token)):
        for made in (token[:at] + bytes([token[at] ^ 1]) + token[at + 1:], token[:at] + token[at + 1:], token[:at + 1] + token[at:]):
            try:
                timestamps.check(made, message, bundles["roots"])
            except VerificationError:
                continue
            passed.append((at, len(made) - len(token)))
    assert [(at, longer) for at, longer in passed if not (begin <= at < begin + len(named) and longer == 0)] == []
    for at in range(len(message)):
        with pytest.raises(VerificationError):
            timestamps.check(token, message[:at] + bytes([message[at] ^ 1]) + message[at + 1:], bundles["roots"])


def test_what_belongs_to_another_bundle_fails(bundles):
    """Entries, proofs, openings, raw bytes and tokens of the other bundle in the place of a bundle's own."""
    own, other = bundles["notice"], bundles["contacts"]
    for name in ("entries", "openings", "timestamps", "issued_at", "log_key"):
        for at in range(len(own[name]) if isinstance(own[name], list) else 1):
            made = copy.deepcopy(own)
            if isinstance(own[name], list):
                made[name][at] = other[name][at % len(other[name])]
                fits = made[name][at] == own[name][at]
            else:
                made[name] = other[name]
                fits = made[name] == own[name]
            assert verify(proofs.data(made), KEYS, (), bundles["roots"]).ok is fits, (name, at)
    for at, one in enumerate(other["entries"]):
        made = copy.deepcopy(own)
        made["entries"][at % len(own["entries"])]["tlog_proof"] = one["tlog_proof"]
        assert not verify(proofs.data(made), KEYS).ok


def test_each_line_of_a_tlog_proof_matters(bundles):
    """Every line changed, left out or doubled in the first proof fails; so does the proof of another entry in its place."""
    bundle = bundles["notice"]
    lines = bundle["entries"][0]["tlog_proof"].split("\n")
    for at, line in enumerate(lines):
        for made in (lines[:at] + lines[at + 1:], [*lines[:at], line, *lines[at:]], [*lines[:at], line + "0", *lines[at + 1:]]):
            if made == lines:
                continue
            changed = copy.deepcopy(bundle)
            changed["entries"][0]["tlog_proof"] = "\n".join(made)
            assert not verify(proofs.data(changed), KEYS).ok, (at, line)


def test_an_owner_who_rebuilds_the_whole_ledger_is_caught_by_what_follows(bundles):
    """With the real key: a false service time, a missing bounce, an attempt to another contact, a gap. Each is named."""
    bundle = bundles["notice"]
    entries = [decode(b64decode(one["entry"])) for one in bundle["entries"]]
    other = next(one["contact_id"] for one in entries if one["type"] == "contact.recorded" and one["channel"] == "email")
    bounce = next(at for at, one in enumerate(entries) if one.get("kind") == "failed_permanent")

    def moved(found, _made):
        """The service time of every determination an hour earlier, as the sender would like it."""
        for one in found:
            if one["type"] == "service.determined" and one["served_at"]:
                one["served_at"] = "2026-09-21T12:00:00.000000Z"

    def elsewhere(found, _made):
        for one in found:
            if one.get("channel") == "sms" and one.get("contact_id"):
                one["contact_id"] = other

    def gap(found, _made):
        for one in found:
            if one.get("seq", 0) > 4:
                one["seq"] += 1
    for made, sentence in ((resigned(bundle, moved), "does not follow from the evidence"),
                           (without(bundle, bounce), "follow"),
                           (resigned(bundle, elsewhere), "contact"),
                           (resigned(bundle, gap), "5 is missing")):
        failures = verify(proofs.data(made), KEYS).failures
        assert any(sentence in failure for failure in failures), (sentence, failures)
    for at, entry in enumerate(entries[:-1]):
        failures = verify(proofs.data(without(bundle, at)), KEYS).failures
        assert failures or entry["type"] == "proof.read", (at, entry["type"])


def failures_of(bundle, change, **more):
    return verify(proofs.data(resigned(bundle, change)), KEYS, **more).failures


def test_entries_that_contradict_each_other_fail_though_the_ledger_signed_them(bundles):
    """An owner who holds the key still cannot make entries claim what does not follow: each lie is named."""
    bundle = bundles["notice"]
    assert failures_of(bundle, lambda _entries, _made: None) == ()

    def last(entries, type_, **members):
        next(one for one in reversed(entries) if one["type"] == type_).update(members)

    lies = {
        "does not follow from the evidence before it": lambda e, _: last(e, "service.determined", served_at="2026-01-01T00:00:00.000000Z"),
        "not the next revision": lambda e, _: last(e, "service.determined", revision=7),
        "that does not end where the count ends": lambda e, _: last(e, "deadline.set", ends_at="2026-12-01T16:00:00.000000Z"),
        "does not run from the independent service": lambda e, _: last(e, "deadline.set", from_evidence_id=e[0]["subject_id"]),
        "against the recorded times": lambda e, _: last(e, "attempt.intended", contact_in_effect=False),
        "passes over its own provider": lambda e, _: last(e, "attempt.intended", passed_over=[
            {"provider": "other", "reason": "refused"}, {"provider": "other", "reason": "breaker_open"}]),
        "tells an outcome and another kind": lambda e, _: last(e, "attempt.answered", outcome="arrived"),
        "another contact or provider than its intent": lambda e, _: last(e, "receipt.observed", provider="other"),
        "authenticated by nobody": lambda e, _: last(e, "receipt.observed", authenticated=False),
        "a shared number": lambda e, _: last(e, "receipt.observed", seq=3),
        "more than one recipient": lambda e, _: last(e, "receipt.observed", subject_id=e[-1]["notice_id"]),
        "more than one notice": lambda e, _: last(e, "receipt.observed", notice_id=e[-1]["subject_id"]),
        "cannot be read": lambda e, _: last(e, "receipt.observed", extra=True),
        "does not have the number that follows": lambda e, _: last(e, "attempt.intended", attempt=9),
        "is no instant": lambda e, _: last(e, "receipt.observed", observed_at="2026-13-01T00:00:00.000000Z"),
        "another channel, confirmation or beginning": lambda e, _: last(e, "contact.recorded", confirmation="unknown"),
        "mandatory or not against its category": lambda e, _: last(e, "notice.accepted", mandatory=False),
        "not the one in the entry of its own reading": lambda _, made: made.update(issuer="别家公司"),
        "is issued": lambda e, _: last(e, "proof.read", at="2026-01-01T00:00:00.000000Z"),
        "says openly of its content hash": lambda e, _: last(e, "receipt.observed", content_matches=False),
        "the first evidence with the same raw bytes": lambda e, _: [one.update(same_raw_as=None) for one in e if one.get("same_raw_as")],
        "the service rule and its version": lambda e, _: last(e, "notice.accepted", policy_version="2"),
    }
    sentences = {"a shared number": "without a gap", "is issued": "was not recorded when",
                 "the service rule and its version": "service rule"}
    for lie, change in lies.items():
        found = failures_of(bundle, change)
        assert any(sentences.get(lie, lie) in failure for failure in found), (lie, found)


def test_another_opening_of_a_contact_or_a_content_fails(bundles):
    """An address or text other than the recorded one is named, although its commitment was signed."""
    def commit_to(type_, field, value):
        def change(entries, made):
            at = max(i for i, one in enumerate(entries) if one["type"] == type_)
            opening = next(one for one in made["openings"] if (one["entry"], one["field"]) == (at, field))
            opening["value"] = b64encode(value).decode()
            entries[at][f"{field}_commit"] = commitment(field, b64decode(opening["salt"]), value)
        return change
    bundle = bundles["notice"]
    for change, sentence in (
            (commit_to("attempt.intended", "contact", b"+8613900139000"), "another address than its contact"),
            (commit_to("notice.accepted", "content_sha256", b"00" * 32), "does not have the hash"),
            (commit_to("content.shared", "content_sha256", b"00" * 32), "does not have the hash"),
            (commit_to("notice.accepted", "recipient_id", b"u-2"), "another recipient"),
            (commit_to("receipt.observed", "raw_sha256", b"00" * 32), "do not have the hash")):
        found = failures_of(bundle, change)
        assert any(sentence in failure for failure in found), (sentence, found)


def test_an_entry_left_out_fails_though_the_rest_is_proved(bundles):
    """Without any one entry, openings renumbered as they should be, the bundle is not complete."""
    for which in ("notice", "contacts"):
        bundle = bundles[which]
        for gone in range(len(bundle["entries"])):
            made = copy.deepcopy(bundle)
            del made["entries"][gone]
            for name in ("openings", "raw"):
                made[name] = [one | {"entry": one["entry"] - (one["entry"] > gone)} for one in made[name] if one["entry"] != gone]
            assert not verify(proofs.data(made), KEYS).ok, (which, gone)


def test_keys_and_witnesses_are_demanded(bundles):
    """Another ledger's key, a forged one inside, a missing witness and a forged cosignature fail; a true one holds."""
    bundle = bundles["notice"]
    other = key.generate(ORIGIN, bytes(32))
    assert verify(proofs.data(bundle)).trusted_inside
    assert verify(proofs.data(bundle)).ok
    assert not verify(proofs.data(bundle), [other.verifier]).ok
    forged = resigned(bundle, lambda _entries, made: made.update(log_key=other.verifier.vkey), other)
    assert verify(proofs.data(forged)).ok
    assert not verify(proofs.data(forged), KEYS).ok
    witness, false = (key.generate("witness.example.cn", bytes([n]) * 32, key.COSIGNATURE) for n in (9, 8))
    bundle = resigned(bundle, lambda _entries, _made: None)  # without anchors
    assert "did not sign" in verify(proofs.data(bundle), KEYS, [witness.verifier]).failures[0]

    def cosigned(by):
        made = copy.deepcopy(bundle)
        for one in made["entries"]:
            head, _, signed = one["tlog_proof"].partition("\n\n")
            one["tlog_proof"] = f"{head}\n\n{note.attach(signed, note.cosign(note.parse(signed).text, by, 1_790_000_000))}"
        return made
    true = cosigned(witness)
    assert verify(proofs.data(true), KEYS, [witness.verifier]).ok
    assert verify(proofs.data(true | {"cosigners": [witness.verifier.vkey]}), KEYS).ok
    for cosigners in ([false.verifier.vkey], [witness.verifier.vkey] * 2, [SIGNER.verifier.vkey], ["x"]):
        assert not verify(proofs.data(true | {"cosigners": cosigners}), KEYS).ok
    assert not verify(proofs.data(bundle | {"cosigners": [witness.verifier.vkey]}), KEYS).ok


def test_a_timestamp_that_is_none_fails(bundles):
    """No token, one of another text, one over another ledger's checkpoint, and one whose tree is not joined to the entries'."""
    bundle, roots = bundles["notice"], bundles["roots"]
    good = bundle["timestamps"][0]
    for item, sentence in (({"checkpoint": "x\n", "consistency": [], "token": "AAAA"}, "cannot be read"),
                           (good | {"checkpoint": good["checkpoint"] + "x"}, "another text"),
                           (good | {"consistency": good["consistency"][:-1]}, "does not hold"),
                           (good | {"consistency": [*good["consistency"], good["consistency"][0]]}, "does not hold")):
        for trusted in (roots, ()):
            failures = verify(proofs.data(bundle | {"timestamps": [item]}), KEYS, (), trusted).failures
            assert any("Timestamp 0" in failure and sentence in failure for failure in failures), (sentence, failures)
    again = verify(proofs.data(bundle | {"timestamps": [good, good]}), KEYS, (), roots)
    assert again.failures == ("A timestamp stands in the bundle twice.",)


@pytest.mark.parametrize("data", [
    b"", b"{}", b"[]", b"null", b"\xff\xfe", b'{"format":"noticesvc-proof/1"}', b"[" * 100_000, b'{"a":' * 100_000, b"1" * 5000,
    b'{"format":"noticesvc-proof/1","format":"noticesvc-proof/1"}', b'{"format":NaN}', b'{"format":1e999}', b'{"format":"\\ud800"}',
    b"\xef\xbb\xbf{}", b" " * (MAX_BYTES + 1)], ids=lambda data: repr(data[:20]))
def test_hostile_files_fail_in_step_one(data):
    """Garbage, depth, size, doubled names and odd numbers: one sentence, no exception, nothing further is tried."""
    report = verify(data)
    assert [step.taken for step in report.steps] == [True] + [False] * (len(TITLES) - 1)
    assert len(report.failures) == 1
    assert not report.ok


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
def test_bytes_changed_anywhere_never_raise_and_never_pass(bundles_bytes, seed):
    """Random bytes of the file overwritten, cut or inserted: either the same JSON, or a failure."""
    rng = random.Random(seed)
    made = bytearray(bundles_bytes)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(made))
        match rng.randrange(3):
            case 0:
                made[at] = rng.randrange(256)
            case 1:
                del made[at:at + rng.randrange(1, 50)]
            case _:
                made[at:at] = rng.randbytes(rng.randrange(1, 5))
    report = verify(bytes(made), KEYS)
    if report.ok:
        assert json.loads(bytes(made)) == json.loads(bundles_bytes)


@pytest.fixture
def bundles_bytes(bundles):
    """The notice's bundle as a file."""
    return proofs.data(bundles["notice"])


def test_the_published_schemas_judge_entries_as_the_verifier_does(bundles):
    """An independent validator (jsonschema-rs) and ours agree on every entry of the bundles and on every mutant of one."""
    schemas = json_schemas()
    verdicts = set()
    for bundle in (bundles["notice"], bundles["contacts"]):
        for item in bundle["entries"]:
            entry = decode(b64decode(item["entry"]))
            validator = jsonschema_rs.Draft202012Validator(schemas[entry["type"]])
            for one in (entry, *(made for _, _, made in mutants(entry) if isinstance(made, dict))):
                if any(isinstance(value, float) for value in one.values()):
                    continue  # JSON Schema takes 1.0 for an integer; entries with fractions are refused before
                told = conforms(one, schemas[entry["type"]])
                assert told == validator.is_valid(one), one
                verdicts.add(told)
    assert verdicts == {True, False}
