"""The sample bounces of flufl.bounce, fetched in its source distribution and pinned by hash: read at least as well as by it alone."""

import os
import subprocess
import sys
import tarfile
from email import message_from_bytes

import pytest
from flufl.bounce import all_failures

from providers.shared.dsn import read_report
from providers.shared.mail_reading import receipts_in
from tests.support.needs import missing

PINNED = "flufl.bounce==6.0.0 --hash=sha256:a1df16b9d1877ae4536f7d76c00d8421fcefbe694f80f5285d05c45a2547b1bc\n"
STRIKES = {"failed_permanent", "rejected", "expired"}

# What RFC 3464 fields say in these samples, read with the eye: action, status, recipient.
FIELDS = {
    "dsn_01": ("failed", "5.0.0", "userx@example.com"), "dsn_02": ("failed", "4.4.7", "zzzzz@example.uk"),
    "dsn_05": ("delayed", "4.4.1", "userx@example.cz"), "dsn_07": ("delayed", "4.4.1", "userx@example.nz"),
    "dsn_09": ("failed", "5.0.0", "userx@example.com"), "dsn_10": ("failed", "5.0.0", "anne.person@dom.ain"),
    "dsn_11": ("failed", "5.1.1", "joem@example.com"), "dsn_12": ("failed", "5.1.1", "userx@example.jp"),
    "dsn_15": ("failed", "5.1.1", "userx@example.com"), "dsn_17": ("delayed", "4.3.0", "userx@example.fi"),
    "dsn_18": ("failed", "5.0.0", "email@replaced.net"),
}
# What a person makes of the reason given in the text.
MEANINGS = {
    "exim_01": "failed_permanent", "postfix_01": "failed_permanent", "qmail_03": "failed_permanent", "simple_15": "failed_permanent",
    "dsn_16": "failed_permanent", "yahoo_02": "rejected", "simple_07": "rejected", "simple_09": "rejected", "qmail_06": "rejected",
    "dsn_02": "expired", "simple_42": "rejected",
}


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    """The samples by name, as bytes."""
    folder = tmp_path_factory.mktemp("flufl")
    (folder / "pinned.txt").write_text(PINNED)
    done = subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", "flufl.bounce", "--require-hashes",
         "--disable-pip-version-check", "--no-input", "-r", os.fspath(folder / "pinned.txt"), "-d", os.fspath(folder)],
        capture_output=True, text=True, check=False)
    if done.returncode:
        assert "THESE PACKAGES DO NOT MATCH THE HASHES" not in done.stderr, done.stderr
        missing("the source of flufl.bounce 6.0.0", "the package registry cannot be reached")
    with tarfile.open(folder / "flufl_bounce-6.0.0.tar.gz") as archive:
        found = {name.rpartition("/")[2].removesuffix(".txt"): archive.extractfile(name).read()
                 for name in archive.getnames() if "/tests/data/" in name and name.endswith(".txt")}
    assert len(found) == 117
    return found


def test_permanent_and_temporary_are_told_apart_as_well_as_by_flufl_alone(samples):
    """In each sample the addresses that fail for good and those that only wait are those that flufl.bounce finds."""
    for name, raw in samples.items():
        temporary, permanent = ({one.decode().lower() for one in found} for found in all_failures(message_from_bytes(raw)))
        receipts = receipts_in(raw)
        assert permanent <= {one.recipient.lower() for one in receipts if one.kind in STRIKES}, name
        assert temporary <= {one.recipient.lower() for one in receipts if one.kind not in STRIKES and one.recipient}, name
        assert not temporary & {one.recipient.lower() for one in receipts if one.kind in STRIKES}, name


def test_few_samples_say_nothing(samples):
    """Nothing is found in fewer than five of a hundred, none of them one in which flufl.bounce finds an address."""
    silent = [name for name, raw in samples.items() if not receipts_in(raw)]
    assert len(silent) <= 5, silent
    assert [name for name in silent if any(all_failures(message_from_bytes(samples[name])))] == []


@pytest.mark.parametrize("name", FIELDS)
def test_action_status_and_recipient_are_right(samples, name):
    """A notification's own fields come out as they stand in it, comments and brackets aside."""
    told = read_report(samples[name]).recipients[0]
    assert (told.action, told.status, told.shown) == FIELDS[name]


@pytest.mark.parametrize("name", MEANINGS)
def test_the_reason_decides_whether_the_mailbox_exists(samples, name):
    """A missing mailbox is permanent; a full or refusing one is rejected, and patience that ended is expired."""
    assert {receipt.kind for receipt in receipts_in(samples[name])} == {MEANINGS[name]}
