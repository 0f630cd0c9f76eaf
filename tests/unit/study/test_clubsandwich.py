"""Fits equal what R's clubSandwich printed for the same norms: `make test-r` prints it anew."""

from pathlib import Path

import pandas as pd
from clubsandwich import assert_equal, fits_of, simulated


def test_errors_and_tests_equal_those_that_clubsandwich_printed(gpt2, tmp_path):
    printed = pd.read_csv(Path(__file__).with_name("clubsandwich.csv"))
    assert_equal(fits_of(simulated(gpt2, tmp_path / "tags.csv"), [0]), printed, rtol=1e-11)
