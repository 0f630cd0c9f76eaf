"""Vectors regressed on vectors, against scikit-learn, lstsq, and a process whose truth is known."""

import dataclasses

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.linalg
import scipy.stats
from designs import norms_table, one_alive
from sklearn.linear_model import Ridge

from attnlag.adjustments import columns
from attnlag.regression.beyond import vector_fits, vector_pairs, vector_products, vector_ridge
from attnlag.regression.beyond.vector_products import PairSums
from attnlag.regression.inference.bootstrap import weights_of_draws
from attnlag.regression.settings import VectorProductsSettings, VectorsSettings
from attnlag.report.vectors import vector_findings

PRODUCTS = VectorProductsSettings(folds=3)
SETTINGS = VectorsSettings(
    products=PRODUCTS, ranks=(1, 2), ridge=(0.01,), alpha=0.1, bootstrap=100, seed=3
)


def process(coefficients, lengths, seed=0):
    """Return vectors of consecutive sequences, a[t] = a[t-1] B + e[t] with a mean and e ~ N(0, I).

    Each begins in its stationary distribution, whose covariance is returned too.
    """
    random = np.random.default_rng(seed)
    c = len(coefficients)
    covariance = scipy.linalg.solve_discrete_lyapunov(coefficients.T, np.eye(c))
    root = np.linalg.cholesky(covariance)
    vectors = []
    for length in lengths:
        a = root @ random.normal(size=c)
        for _ in range(length):
            vectors.append(a + np.arange(c))
            a = a @ coefficients + random.normal(size=c)
    return np.array(vectors, np.float32), covariance


def write(path, vectors, lengths, *, windows=None, first=0, row_group=10**6, layers=1):
    """Write vectors as the extraction does; each sequence is a document, unless windows are."""
    documents = windows or [f"d{first + n}" for n in range(len(lengths))]
    keys = norms_table({(name, n): lengths[n] for n, name in enumerate(documents)})
    schema = columns.schema(layers, vectors.shape[1])
    flat = pa.array(vectors.reshape(-1))
    column = pa.FixedSizeListArray.from_arrays(flat, type=schema.field("layer_00").type)
    table = pa.Table.from_arrays([*keys.columns, *[column] * layers], schema=schema)
    pq.write_table(table, path, row_group_size=row_group)


def fitted(folder, paths, settings=SETTINGS, documents=100, control=None):
    """Return the table of R² of files of vectors, by way of the files of their products."""
    folds = vector_pairs.folds_of_documents(
        [f"d{n}" for n in range(documents)], settings.products.folds
    )
    products = []
    for path in paths:
        products.append(folder / f"products_{path.name}")
        found = vector_products.products_of_shard(path, paths[0], folds, settings.products, 2)
        vector_products.write_products(products[-1], found, {})
    return vector_fits.table_of(products, paths, control, folds, settings, 2)


def rows_of(vectors, lengths, lags=(1,), drop_first=1):
    """Return x, y and the sequence of each row, one by one."""
    x, y, sequence = [], [], []
    start = 0
    for number, length in enumerate(lengths):
        for t in range(drop_first + max(lags), length):
            x.append(np.concatenate([vectors[start + t - lag] for lag in lags]))
            y.append(vectors[start + t])
            sequence.append(number)
        start += length
    return np.array(x, float), np.array(y, float), np.array(sequence)


def sums_of(x, y):
    return PairSums(len(x), x.sum(0), y.sum(0), x.T @ x, x.T @ y, float((y**2).sum()))


def penalty_of(x, ridge):
    """Return the penalty as scikit-learn counts it."""
    return ridge * x.var(axis=0).mean() * len(x)


LENGTHS = [9, 23, 14, 30, 12, 18]
B = np.diag([0.9, 0.6, 0.3, 0.0, 0.0])


def test_fewer_rows_than_predictors_give_coefficients_although_rounding_makes_variances_negative():
    """Vectors of an untrained model are nearly equal: what is left after centring is rounded."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(20, 40)), rng.normal(size=(20, 3))
    x -= x.mean(axis=0)
    xx, xy, penalty = x.T @ x, x.T @ y, 1e-7
    noise = rng.normal(scale=1e-5, size=xx.shape)
    rounded = xx + noise + noise.T
    added = penalty * np.trace(rounded) / 40
    variances = scipy.linalg.eigvalsh(rounded)
    assert variances[0] < -added
    with pytest.raises(np.linalg.LinAlgError):
        scipy.linalg.cholesky(rounded + added * np.eye(40))
    found = vector_ridge.ridge(rounded, xy, penalty)
    expected = Ridge(alpha=penalty * np.trace(xx) / 40, fit_intercept=False).fit(x, y).coef_.T
    # What the rows determine is as without rounding.
    np.testing.assert_allclose(x @ found, x @ expected, atol=0.01)


def test_sums_equal_those_of_the_rows_for_any_row_groups(tmp_path):
    """A document of two windows, row groups that cut sequences, two lags and a damaged vector."""
    vectors, _ = process(B, LENGTHS)
    vectors[40, 2] = np.inf
    documents = ["d0", "d1", "d1", "d2", "d3", "d4"]
    path = tmp_path / "0000.parquet"
    write(path, vectors, LENGTHS, windows=documents, row_group=7)
    settings = PRODUCTS.changed(lags=(1, 3), drop_first=2)
    folds = vector_pairs.folds_of_documents(sorted(set(documents)), 3)
    ((layer, found),) = vector_products.products_of_shard(path, path, folds, settings, 1)
    x, y, sequence = rows_of(vectors - found.frame.centre, LENGTHS, (1, 3), 2)
    finite = np.isfinite(x).all(1) & np.isfinite(y).all(1)
    fold = np.array([folds[documents[one]] for one in sequence])
    assert layer == 0
    assert (~finite).sum() == 3
    for number, sums in enumerate(found.observed):
        expected = sums_of(x[finite & (fold == number)], y[finite & (fold == number)])
        for one in dataclasses.fields(PairSums):
            values = getattr(sums, one.name), getattr(expected, one.name)
            np.testing.assert_allclose(*values, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("lags", [(1,), (1, 3)])
def test_outcomes_are_exchanged_within_documents_and_never_meet_their_own_predictors(
    tmp_path, lags
):
    vectors, _ = process(B, LENGTHS)
    path = tmp_path / "0000.parquet"
    write(path, vectors, LENGTHS, row_group=50)
    settings = PRODUCTS.changed(lags=lags)
    folds = vector_pairs.folds_of_documents([f"d{n}" for n in range(6)], 3)
    ((_, found),) = vector_products.products_of_shard(path, path, folds, settings, 1)
    again = [np.zeros_like(sums.xy) for sums in found.observed]
    rows, moved = vector_pairs.rows_of(path, settings), 0
    fold = np.arange(6) % 3
    blocks = vector_pairs.vectors_by_block(path, "layer_00")
    for one, pairs in vector_pairs.paired_vectors(blocks, rows, fold, lags, found.frame):
        order = vector_pairs.exchanged(pairs, lags, rows.documents)
        assert sorted(order) == list(range(len(order)))
        assert (pairs.document[order] == pairs.document).all()
        assert not np.isin(pairs.token - pairs.token[order], lags).any()
        moved += (order != np.arange(len(order))).sum()
        again[one] += pairs.x.T @ pairs.y[order]
    assert moved > 0.8 * found.observed[0].n
    for permuted, observed, xy in zip(found.permuted, found.observed, again, strict=True):
        np.testing.assert_allclose(permuted.xy, xy, rtol=1e-4, atol=1e-2)
        for name in ("n", "x", "y", "xx", "yy"):
            assert np.array_equal(getattr(permuted, name), getattr(observed, name))


def test_documents_too_short_to_be_permuted_keep_their_order():
    token = np.array([4, 5, 9, 20, 21, 22, 23])
    document = np.array([0, 0, 1, 2, 2, 2, 2])
    short = vector_pairs.Pairs(document, token, *[np.zeros((7, 1))] * 2, np.zeros(7))
    order = vector_pairs.exchanged(short, (1,), ["a", "b", "c"])
    assert order[:3].tolist() == [0, 1, 2]
    assert set(order[3:]) == {3, 4, 5, 6}


def r_squared_by_rows(vectors, lengths, ridge):
    """Return Σ SSE and Σ SST by document, one fit and one row at a time."""
    x, y, sequence = rows_of(vectors, lengths)
    losses = np.zeros((len(lengths), 6))
    for fold in range(3):
        train, test = sequence % 3 != fold, sequence % 3 == fold
        penalty = penalty_of(x[train], ridge)
        model = Ridge(alpha=penalty).fit(x[train], y[train])
        mean_x, mean = x[train].mean(0), y[train].mean(0)
        xc, yc = x[train] - mean_x, y[train] - mean
        # The penalty as rows of data: what is predicted of them counts for the directions too.
        augmented = np.concatenate([xc, np.sqrt(penalty) * np.eye(x.shape[1])])
        right = np.linalg.svd(augmented @ model.coef_.T)[2]
        phi = (xc * yc).sum() / (xc**2).sum()
        for number in np.unique(sequence[test]):
            own = sequence == number
            predicted = model.predict(x[own])
            guesses = [np.tile(mean, (own.sum(), 1)), predicted, mean + phi * (x[own] - mean_x)]
            guesses.append((y[own].sum(0) - y[own]) / (own.sum() - 1))
            for rank in (1, 2):
                kept = right[:rank].T @ right[:rank]
                guesses.append(mean + (predicted - mean) @ kept)
            losses[number] = [((y[own] - guess) ** 2).sum() for guess in guesses]
    return losses


def r_squared_of_permuted_order(path, vectors, lengths, ridge):
    """Return R² of the rows with their outcomes exchanged."""
    x, y, sequence = rows_of(vectors, lengths)
    token = np.concatenate(
        [rows[2:] for rows in np.split(np.arange(len(vectors)), np.cumsum(lengths)[:-1])]
    )
    rows, order = vector_pairs.rows_of(path, PRODUCTS), np.arange(len(x))
    frame = vector_pairs.frame_of(path, "layer_00", 1024)
    blocks = vector_pairs.vectors_by_block(path, "layer_00")
    for _, pairs in vector_pairs.paired_vectors(
        blocks, rows, np.arange(len(lengths)) % 3, (1,), frame
    ):
        places = np.searchsorted(token, pairs.token)
        order[places] = places[vector_pairs.exchanged(pairs, (1,), rows.documents)]
    y, sse, sst = y[order], 0.0, 0.0
    for fold in range(3):
        train, test = sequence % 3 != fold, sequence % 3 == fold
        model = Ridge(alpha=penalty_of(x[train], ridge)).fit(x[train], y[train])
        sse += ((y[test] - model.predict(x[test])) ** 2).sum()
        sst += ((y[test] - y[train].mean(0)) ** 2).sum()
    return 1 - sse / sst


def test_r_squared_of_unseen_documents_equals_that_of_row_predictions(tmp_path):
    lengths = LENGTHS * 3
    vectors, _ = process(B, lengths)
    path = tmp_path / "0000.parquet"
    write(path, vectors, lengths, row_group=50, layers=2)
    table = fitted(tmp_path, [path])
    losses = r_squared_by_rows(vectors, lengths, 0.01)
    expected = 1 - losses[:, 1:].sum(0) / losses[:, 0].sum()
    (weights,) = weights_of_draws(len(lengths), 100, 3)
    drawn = weights @ losses
    low, high = np.quantile(1 - drawn[:, 1:] / drawn[:, :1], [0.05, 0.95], axis=0)
    for layer in (0, 1):
        found = table[table["layer"] == layer].iloc[[2, 3, 4, 0, 1]]
        assert found["predictor"].tolist() == ["vector", "scalar", "document_mean"] + ["vector"] * 2
        assert found["rank"].fillna(0).tolist() == [5, 0, 0, 1, 2]
        for name, values in (("r_squared", expected), ("conf_low", low), ("conf_high", high)):
            np.testing.assert_allclose(found[name], values, atol=2e-5)
        permuted = table.query(f"layer == {layer} and predictor == 'permuted_order'")
        expected_of_any_order = r_squared_of_permuted_order(path, vectors, lengths, 0.01)
        assert permuted["r_squared"].tolist() == pytest.approx([expected_of_any_order], abs=2e-5)
    assert set(table["rows"]) == {sum(lengths) - 2 * len(lengths)}
    assert set(table["documents"]) == {len(lengths)}


def test_the_penalty_of_a_fold_is_chosen_on_the_other_folds():
    """The oracle is scikit-learn. The two directions with memory are far smaller than the noise."""
    random = np.random.default_rng(5)
    x = random.normal(size=(240, 12)) * np.geomspace(0.1, 10, 12)
    y = 0.4 * x[:, ::-1] + random.normal(size=(240, 12)) * 8
    fold = np.arange(240) % 4
    penalties = (0.001, 0.1, 1.0, 10.0)
    folds = [sums_of(x[fold == one], y[fold == one]) for one in range(4)]
    (chosen,) = vector_ridge.chosen_penalties([folds], penalties)
    # Outcomes beside these have penalties of their own, and change nothing.
    noise = [sums_of(x[fold == one], y[fold == one][::-1]) for one in range(4)]
    both = vector_ridge.chosen_penalties([folds, noise], penalties)
    assert both[0].tolist() == chosen.tolist()
    assert both[1].tolist() == vector_ridge.chosen_penalties([noise], penalties)[0].tolist()
    expected = []
    for out in range(4):
        errors = np.zeros((3, 4))
        others = [one for one in range(4) if one != out]
        for row, unseen in enumerate(others):
            train = (fold != out) & (fold != unseen)
            for column, penalty in enumerate(penalties):
                model = Ridge(alpha=penalty_of(x[train], penalty)).fit(x[train], y[train])
                error = ((y[fold == unseen] - model.predict(x[fold == unseen])) ** 2).sum()
                total = ((y[fold == unseen] - y[train].mean(0)) ** 2).sum()
                errors[row, column] = error / total
        excess = errors - errors[:, [errors.mean(0).argmin()]]
        within = excess.mean(0) <= excess.std(0, ddof=1) / np.sqrt(3)
        expected.append(max(np.array(penalties)[within]))
    assert chosen.tolist() == expected
    assert len(set(expected)) > 1 or expected[0] not in (penalties[0], penalties[-1])


def test_random_directions_choose_the_same_penalties_as_all_directions(monkeypatch):
    random = np.random.default_rng(2)
    x = random.normal(size=(1500, 80)) * np.geomspace(0.1, 10, 80)
    y = 0.5 * x + random.normal(size=(1500, 80)) * 12
    folds = [sums_of(x[one::5], y[one::5]) for one in range(5)]
    penalties = (0.0001, 0.01, 1.0, 100.0)
    (some,) = vector_ridge.chosen_penalties([folds], penalties)
    monkeypatch.setattr(vector_ridge, "DIRECTIONS", 80)
    assert some.tolist() == vector_ridge.chosen_penalties([folds], penalties)[0].tolist()
    assert set(some) <= {0.01, 1.0}


def test_one_document_or_no_draws_give_no_interval():
    losses = np.array([[10.0, 4.0, 8.0], [30.0, 21.0, 6.0]])
    assert np.isnan(vector_fits.intervals(losses[:1], SETTINGS)).all()
    assert np.isnan(vector_fits.intervals(losses, SETTINGS.changed(bootstrap=0))).all()


def test_rank_and_r_squared_of_a_process_are_found(tmp_path):
    """The truth: B of rank 2, and R² = 1 - c / trace of the stationary covariance."""
    random = np.random.default_rng(1)
    plane = np.linalg.qr(random.normal(size=(8, 2)))[0]
    coefficients = plane @ np.diag([0.9, 0.75]) @ plane.T
    lengths = [200] * 60
    vectors, covariance = process(coefficients, lengths)
    path = tmp_path / "0000.parquet"
    write(path, vectors, lengths)
    settings = SETTINGS.changed(ranks=(1, 2), ridge=(1e-5,))
    fits = fitted(tmp_path, [path], settings)
    table = fits.set_index(["predictor", "rank"])["r_squared"]
    truth = 1 - 8 / np.trace(covariance)
    strengths = np.array([0.9, 0.75]) ** 2 / (1 - np.array([0.9, 0.75]) ** 2)
    assert table["vector", 8] == pytest.approx(truth, abs=0.02)
    assert table["vector", 2] == pytest.approx(truth, abs=0.02)
    assert table["vector", 1] == pytest.approx(strengths[0] / np.trace(covariance), abs=0.03)
    assert table["permuted_order", 8] < 0.2 * truth
    # The first direction has less than half of R², and the two have all of it.
    assert strengths[0] > strengths[1]
    assert fits["half_rank"].tolist() == [1] * 6


def test_r_squared_does_not_depend_on_the_coordinates_or_the_shards(tmp_path):
    lengths = LENGTHS * 3
    vectors, _ = process(B, lengths)
    rotation = scipy.stats.ortho_group.rvs(5, random_state=4).astype(np.float32)
    write(tmp_path / "one.parquet", vectors, lengths)
    write(tmp_path / "turned.parquet", vectors @ rotation, lengths)
    half = sum(lengths[:9])
    write(tmp_path / "0000.parquet", vectors[:half], lengths[:9])
    write(tmp_path / "0001.parquet", vectors[half:], lengths[9:], first=9)
    settings = SETTINGS.changed(ridge=(0.001, 0.1, 1.0))
    one = fitted(tmp_path, [tmp_path / "one.parquet"], settings)
    turned = fitted(tmp_path, [tmp_path / "turned.parquet"], settings)
    shards = [tmp_path / "0000.parquet", tmp_path / "0001.parquet"]
    numbers = one.select_dtypes("number").columns
    for other in (turned, fitted(tmp_path, shards, settings)):
        np.testing.assert_allclose(
            other[numbers].astype(float), one[numbers].astype(float), atol=1e-4
        )


def test_the_rows_of_one_shard_are_in_memory_at_a_time(tmp_path, monkeypatch):
    vectors, _ = process(B, LENGTHS)
    paths = [tmp_path / f"{shard:04d}.parquet" for shard in range(3)]
    for shard, path in enumerate(paths):
        write(path, vectors, LENGTHS, first=shard * len(LENGTHS))
    tables = one_alive(monkeypatch, vector_fits, "rows_of")
    fitted(tmp_path, paths)
    assert len(tables) == 3


def test_variance_outside_the_components_is_not_predicted(tmp_path):
    """Four of eight directions have all the memory and most of the variance."""
    lengths = [60] * 12
    inside, _ = process(np.diag([0.9, 0.9, 0.8, 0.8]), lengths)
    outside = np.random.default_rng(3).normal(size=(len(inside), 4)).astype(np.float32)
    write(tmp_path / "all.parquet", np.concatenate([inside, outside], axis=1), lengths)
    wide = SETTINGS.changed(ridge=(1e-5,))
    few = wide.changed(products=PRODUCTS.changed(components=4))
    full, projected = (fitted(tmp_path, [tmp_path / "all.parquet"], one) for one in (wide, few))
    found, expected = (one.query("predictor == 'vector'") for one in (projected, full))
    assert found["rank"].max() == 4
    assert expected["rank"].max() == 8
    np.testing.assert_allclose(found["r_squared"], expected["r_squared"], atol=0.02)
    np.testing.assert_allclose(projected["mean_share"], full["mean_share"], atol=0.01)


def test_random_weights_are_a_control_and_equal_vectors_give_no_fit(tmp_path):
    lengths = LENGTHS * 2
    vectors, _ = process(B, lengths)
    write(tmp_path / "own.parquet", vectors, lengths)
    smooth, _ = process(0.99 * np.eye(5), lengths)
    write(tmp_path / "random.parquet", smooth, lengths)
    table = fitted(tmp_path, [tmp_path / "own.parquet"], control=tmp_path / "random.parquet")
    alone = fitted(tmp_path, [tmp_path / "random.parquet"])
    found = table.set_index("predictor")["r_squared"]["random_weights"]
    assert found == pytest.approx(alone.query("rank == 5")["r_squared"].iloc[0], abs=1e-5)
    assert table["rows"].tolist() == alone["rows"].tolist() + alone["rows"].tolist()[:1]
    words = vector_findings(table, name="m, c, s", alpha=0.05, lags=[1])
    assert f"random weights {found:.3f} (188 tokens of 188)\n" in words
    write(tmp_path / "flat.parquet", np.ones_like(vectors), lengths)
    flat = fitted(tmp_path, [tmp_path / "flat.parquet"])
    assert flat["r_squared"].isna().all()
    assert (flat[["documents", "rows"]] == 0).all(axis=None)
    assert flat["predictor"].tolist() == [p for p in table["predictor"] if p != "random_weights"]
    words = vector_findings(flat, name="m, c, s", alpha=0.05, lags=[1])
    assert words == (
        "m, c, s, vectors:\n  no layer has varying vectors in enough documents for its folds\n"
    )


def test_findings_state_r_squared_its_rank_and_its_controls():
    rows = [
        *((0, "vector", 1, 0.3), (0, "vector", 4, 0.5), (0, "vector", 8, 0.5)),
        *((1, "vector", 1, 0.1), (1, "vector", 4, 0.2), (1, "vector", 8, 0.3)),
        *((layer, "scalar", None, 0.2 - 0.1 * layer) for layer in (0, 1)),
        *((layer, "permuted_order", 8, 0.01) for layer in (0, 1)),
    ]
    table = pd.DataFrame(rows, columns=["layer", "predictor", "rank", "r_squared"])
    table = table.assign(conf_low=table["r_squared"] - 0.05, conf_high=0.55, documents=12)
    table["half_rank"] = table["layer"].map({0: 1.0, 1: 3.0})
    assert vector_findings(table, name="m, c, s", alpha=0.05, lags=[1]) == (
        "m, c, s, vectors:\n"
        "  a linear prediction of a token's vector from previous ones (lag 1) has an R² of 0.400 "
        "in the median layer, in 12 unseen documents; 0.300 to 0.500 over the layers (highest in "
        "layer 0, 95% interval 0.450 to 0.550)\n"
        "  for comparison, in the median layer: the previous vector times one number 0.150, tokens "
        "in permuted order 0.010\n"
        "  half of this R² takes 2 of the vector's dimensions (median over 2 layers), 1 in layer 0 "
        "to 3 in layer 1\n"
    )
