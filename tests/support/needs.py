"""What a test needs from the machine: a program by name, or the test is skipped; with REQUIRE_ALL=1 it fails instead.

Called by fixtures and tests that talk to a real peer (Postfix, Kannel, Chromium, Go, PostgreSQL).
"""

import os
import shutil
from typing import NoReturn

import pytest

SYSTEM_PLACES = ("/usr/sbin", "/sbin", "/usr/lib/kannel/test", "/usr/lib/postfix/sbin")


def require_all() -> bool:
    """Whether this run counts a skipped test as a failed one, as CI does."""
    return os.environ.get("REQUIRE_ALL", "") not in {"", "0"}


def missing(what: str, reason: str) -> NoReturn:
    """Skip the running test for want of `what`, or fail it where everything is required."""
    sentence = f"{what} is not on this machine: {reason}"
    if require_all():
        pytest.fail(f"REQUIRE_ALL is set and {sentence}", pytrace=False)
    pytest.skip(sentence)


def needs(program: str, reason: str = "install it to run this test") -> str:
    """The full path of a program, also from places that are not on an ordinary PATH; else skip or fail."""
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), *SYSTEM_PLACES))
    return shutil.which(program, path=path) or missing(program, reason)
