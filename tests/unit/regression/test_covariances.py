"""The catalogue of covariances: one entry, and a row in the documentation, is all they need."""

import dataclasses
import runpy
from types import SimpleNamespace

import numpy as np
import pytest
from designs import design_table
from fits import fits_of, layers_of
from projects import ROOT

from attnlag.regression.covariances import CATALOGUE, label_of

WITHOUT_RESIDUALS = [name for name, entry in CATALOGUE.items() if not entry.residuals]


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_covariance_is_documented(name):
    assert f"\n| `{name}`" in (ROOT / "docs" / "inference.md").read_text(encoding="utf-8")


def test_a_new_entry_gives_a_fit_its_errors(monkeypatch):
    layers = layers_of(design_table([30, 12, 25, 8, 14, 40, 9]))
    plain = CATALOGUE["nonrobust"]
    doubled = dataclasses.replace(
        plain, label="doubled", of=lambda sums: 2 * plain.of(sums), df=lambda sums: 5
    )
    monkeypatch.setitem(CATALOGUE, "doubled", doubled)
    for one, two in zip(*(fits_of(layers, n, 2) for n in ("nonrobust", "doubled")), strict=True):
        np.testing.assert_allclose(two.covariance, 2 * one.covariance, rtol=1e-12)
        assert two.df.tolist() == [5, 5, 5]
        assert two.wald.statistic == pytest.approx(one.wald.statistic / 2)
    assert label_of("doubled") == "doubled"


@pytest.mark.parametrize("name", WITHOUT_RESIDUALS)
def test_labels_name_the_unit_of_clustering(name):
    by_document, by_group = label_of(name), label_of(f"{name}-group")
    assert (by_document != by_group) == CATALOGUE[name].clustered
    assert by_group == by_document.replace("by document", "by group of documents")


@pytest.mark.parametrize(
    ("estimator", "documents"), [("half-panel", 20), ("half-panel", 60), ("pooled", 60)]
)
def test_intervals_by_default_cover_at_their_level(estimator, documents):
    """The tables of benchmarks/evidence.md are longer simulations, of the same program."""
    simulation = SimpleNamespace(**runpy.run_path(str(ROOT / "benchmarks/coverage.py")))
    rows = simulation.rows_of(documents, 100, "equal")
    terms = simulation.simulated(rows, 400, np.random.default_rng(0))
    layers = simulation.layers_of(simulation.products_of(rows, *terms), estimator)
    covered = {
        name: simulation.covers(numbers, simulation.ESTIMATORS[estimator]).mean()
        for name, numbers in simulation.fitted(layers).items()
    }
    # Three standard errors of a share of 400 are 0.03.
    assert 0.91 <= covered["CR2"] <= 0.98
    if estimator == "pooled":
        assert covered["nonrobust"] < 0.6
