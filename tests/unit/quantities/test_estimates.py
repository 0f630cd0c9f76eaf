"""Estimates with intervals."""

import pytest

from attnlag.quantities.estimates import level_of


@pytest.mark.parametrize(("alpha", "level"), [(0.05, 0.95), (0.1, 0.9), (0.9, 0.1)])
def test_a_level_has_no_error_of_rounding(alpha, level):
    assert level_of(alpha) == level
