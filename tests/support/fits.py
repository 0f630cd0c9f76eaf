"""Moments and fits of designs, as the programs compute them, for the tests of the regression."""

import numpy as np
import statsmodels.api as sm
from designs import FACTS, HEADS, TERMS, batches_of, design_of, norms_table
from numpy.testing import assert_allclose, assert_array_equal

from attnlag.regression.design.design import Formula
from attnlag.regression.estimation.least_squares import solve
from attnlag.regression.inference import bootstrap, layer_fit, permutation
from attnlag.regression.inference.layer_fit import fit_layer
from attnlag.regression.moments.in_memory import joined, moments_of_design
from attnlag.regression.moments.moments import RowPartition, Stored, write_moments
from attnlag.regression.settings import PermutationsSettings, RegressionSettings


def fit_settings(**changes):
    """Return the settings of a regression, stated in part and not checked."""
    stated = {"fixed_effects": "none", "bias_correction": "none", "bootstrap": 0}
    return RegressionSettings.model_construct(**stated | changes)


def moments_of(table, rows=10**6, halves=False, **fields):
    """Return the moments of each layer of a design, read in batches."""
    batches = batches_of(table, rows)
    cells = RowPartition(halves, **fields)
    return moments_of_design(batches, table.schema, cells)


def regressed(layers, effects=False, group_of=None):
    """Return the moments that the regressions of some layers are solved from."""
    prepared = [layer.prepared(fixed_effects=effects) for layer in layers]
    if group_of is None:
        return prepared
    return [layer.by_group(group_of) for layer in prepared]


def layers_of(table, rows=10**6, halves=False, **options):
    """Return the moments that the regressions of a design are solved from."""
    return regressed(moments_of(table, rows, halves), **options)


def fits_of(layers, covariance="cluster", folds=5, **options):
    """Return the fit of each layer."""
    return [fit_layer(solve(layer), covariance, folds, **options) for layer in layers]


def fitted(table, covariance="cluster", folds=5, **options):
    """Return the fit of each layer of a design."""
    return fits_of(layers_of(table, **options), covariance, folds)


def lags_of_norms(document, norms, settings=HEADS):
    """Return the coefficients of two lags within documents, of norms, (layers, tokens)."""
    lengths = document.groupby(document, sort=False, observed=True).size()
    table = norms_table({(name, 0): n for name, n in lengths.items()}, norms)
    fits = fitted(design_of(table, settings.design), settings.covariance, effects=True)
    rows = np.repeat([fit.n_obs for fit in fits], 2)
    return layer_fit.coefficients_table(fits, settings).assign(rows=rows)


def drawn(layers, draws, seed):
    """Return the estimates in draws of the bootstrap, (draws, layers, K)."""
    weights = bootstrap.Draws(len(layers[0].clusters), draws, seed)
    return np.stack([solve(layer).weighted(weights) for layer in layers], axis=1)


def joined_of(shards):
    """Return the moments of each layer of several shards."""
    return [joined(parts) for parts in zip(*shards, strict=True)]


def stored_of(designs, folder, outcome="norm", rows=10**6, halves=False, **fields):
    """Return the moments of each layer of designs, written to files and read back."""
    folder.mkdir(parents=True)
    paths = [folder / f"{place:04d}.parquet" for place in range(len(designs))]
    record = {"stages": {"design": {"outcome": outcome}}}
    for table, path in zip(designs, paths, strict=True):
        batches = batches_of(table, rows)
        cells = RowPartition(halves, **fields)
        write_moments(batches, table.schema, path, record, cells)
    return Stored(paths)


def columns_of(table, layer, shared=()):
    """Return the rows for statsmodels: y, X with a constant, document codes."""
    names = [*(f"layer_{layer:02d}.{term}" for term in TERMS), *shared]
    frame = table.to_pandas().dropna(subset=names)
    x = sm.add_constant(frame[names[1:]].to_numpy())
    return frame[names[0]].to_numpy(), x, frame["document"].cat.codes.to_numpy(int)


def assert_alike(found, expected, *names, rtol=0.0, atol=0.0):
    """Hold fields of pairs to be equal, all if none are named, and floats to a tolerance."""
    for one, other in zip(found, expected, strict=True):
        for name in names or vars(other):
            own, value = getattr(one, name), getattr(other, name)
            if isinstance(value, np.ndarray) and value.dtype == np.float64:
                largest = np.abs(value[np.isfinite(value)]).max(initial=1)
                assert_allclose(own, value, rtol, atol * largest, err_msg=name)
            else:
                assert_array_equal(own, value, err_msg=name)


def sums_of(table, settings, facts=FACTS, rows=10**6, classes=None, **changes):
    """Return the moments of a table of norms in permuted orders."""
    stated = {"draws": 3, "seed": 0, "fixed_effects": "none", **changes}
    exchanged = PermutationsSettings.model_construct(**stated)
    return permutation.permuted(
        batches_of(table, rows), Formula(settings, facts), exchanged, classes
    )


def orders_of(*shards):
    """Return the moments of each layer of shards in permuted orders."""
    return permutation.permutations_by_layer(shards, {term: [term] for term in shards[0].terms})
