"""The delay before the next try."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noticesvc.domain.retry import delay_s


def test_doubles_from_first_to_longest():
    """Without jitter the delays double and stop at the longest."""
    assert [delay_s(n, 30, 3600, 0) for n in range(1, 10)] == [30, 60, 120, 240, 480, 960, 1920, 3600, 3600]


def test_jitter_takes_off_up_to_half():
    """Jitter of a half takes a quarter off: 30 * (1 - 0.5 / 2)."""
    assert delay_s(1, 30, 3600, 0.5) == 22.5


@given(
    st.integers(1, 10**12),
    st.floats(0, 1e300),
    st.floats(0, 1e300),
    st.floats(0, 1, exclude_max=True),
)
def test_never_overflows_nor_exceeds(failures, first, more, jitter):
    """However often it failed, the delay is finite and between half and all of the longest allowed."""
    longest = max(first, more)
    found = delay_s(failures, first, longest, jitter)
    assert math.isfinite(found)
    assert first / 2 * (1 - 1e-9) <= found <= longest


@pytest.mark.parametrize(
    "args", [(0, 1, 2, 0), (1, 1, 2, 1), (1, 1, 2, -0.1), (1, 3, 2, 0), (1, -1, 2, 0), (1, 1, 2, math.nan)]
)
def test_refuses_nonsense(args):
    """Arguments out of bounds are a ValueError."""
    with pytest.raises(ValueError):
        delay_s(*args)
