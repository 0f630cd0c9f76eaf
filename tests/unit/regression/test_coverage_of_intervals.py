"""Intervals cover the truth at their level, and tests reject at theirs, in short simulations.

The tables of benchmarks/evidence.md are longer ones, of the same program.
"""

import runpy
from types import SimpleNamespace

import numpy as np
import pytest
from projects import ROOT

simulation = SimpleNamespace(**runpy.run_path(str(ROOT / "benchmarks/coverage.py")))
REPLICATIONS = 400


@pytest.mark.parametrize(
    ("estimator", "documents"), [("half-panel", 20), ("half-panel", 60), ("pooled", 60)]
)
def test_intervals_by_default_cover_at_their_level(estimator, documents):
    rows = simulation.rows_of(documents, 100, "equal")
    terms = simulation.simulated(rows, REPLICATIONS, np.random.default_rng(0))
    layers = simulation.layers_of(simulation.products_of(rows, *terms), estimator)
    covered = {
        name: simulation.covers(numbers, simulation.ESTIMATORS[estimator]).mean()
        for name, numbers in simulation.fitted(layers).items()
    }
    # Three standard errors of a share of 400 are 0.03.
    assert 0.91 <= covered["CR2"] <= 0.98
    if estimator == "pooled":
        assert covered["nonrobust"] < 0.6
