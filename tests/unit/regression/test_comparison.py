"""The comparison of models: against least squares on rows, and small cases."""

import designs
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from oracles import multipletests
from refusals import refused
from scipy import stats

from attnlag.regression.beyond import comparison
from attnlag.regression.estimation.crossproducts import Stored
from attnlag.regression.inference import results
from attnlag.regression.settings import Errors
from attnlag.report.comparison import comparison_findings
from attnlag.storage import tables

TERMS = ["y", "lag_1", "lag_2"]
NAMES = [f"d{number}" for number in range(12)]


def bump(layers, place=0.5):
    """Return a slope of lag 1 for each layer, largest at a relative depth."""
    depth = np.arange(layers) / max(layers - 1, 1)
    return 0.6 - 1.5 * (depth - place) ** 2


def rows_of(first, documents=NAMES, length=25, seed=0, mean=3.0):
    """Return rows of documents with effects of their own: names, y and lags by layer.

    ``first`` holds the slope of lag 1 of each layer; that of lag 2 is its half.
    """
    random = np.random.default_rng(seed)
    codes = np.repeat(np.arange(len(documents)), length)
    # The slopes of documents differ, or a bootstrap by document had little to do.
    spread = 1 + 0.3 * random.normal(size=(len(documents), 1))[codes]
    x = random.normal(size=(len(codes), 2, len(first)))
    y = spread * (x[:, 0] * first + x[:, 1] * first / 2) + random.normal(
        size=(len(codes), len(first))
    )
    return np.array(documents)[codes], np.stack([y, x[:, 0], x[:, 1]], axis=1) + mean


def design_of(rows):
    names, values = rows
    columns = {"document": pa.array(names.tolist(), pa.string()).dictionary_encode()}
    for layer in range(values.shape[2]):
        for place, term in enumerate(TERMS):
            column = pa.array(values[:, place, layer], from_pandas=True)
            columns[f"layer_{layer:02d}.{term}"] = column
    return pa.table(columns)


def write_study(
    folder,
    model,
    rows,
    *,
    corpus="prompts",
    site="attention",
    source="path",
    shards=1,
    halves=False,
    **options,
):
    """Write the coefficients and cross-products of a study as the pipeline does."""
    folder = folder / model / corpus / site / "notebook"
    stated = {"covariance": "cluster", "alpha": 0.05, "adjust": "holm", "folds": 3}
    stated |= {"cluster": "document", "equivalence_bound": 0.05, "fixed_effects": "none"}
    stated |= {"bias_correction": "none", **options}
    record = {
        "model": {"name": model, "source": source},
        "corpus": {"name": corpus},
        "stages": {"tokens": {"shards": shards}, "regression": stated},
    }
    names = list(dict.fromkeys(rows[0]))
    written = []
    for shard, part in enumerate(np.array_split(names, shards)):
        chosen = np.isin(rows[0], part)
        design = design_of((rows[0][chosen], rows[1][chosen]))
        path = folder / "crossproducts" / f"{shard:04d}.parquet"
        designs.write_shard(design, path, record, halves=halves)
        written.append(path)
    layers = designs.regressed(Stored(written))
    fits = designs.fits_of(layers, stated["covariance"], stated["folds"])
    keys = "covariance", "alpha", "adjust", "equivalence_bound"
    errors = Errors(**{key: stated[key] for key in keys})
    table = results.coefficients_table(fits, errors)
    keys = {"model": model, "corpus": corpus, "site": site, "regression": "notebook"}
    for place, (key, value) in enumerate(keys.items()):
        table.insert(place, key, value)
    tables.write_frame(table, folder / "coefficients.parquet", record)
    return folder / "coefficients.parquet"


def study_of(path):
    shards = sorted((path.parent / "crossproducts").glob("*.parquet"))
    return comparison.ComparedStudy(path, shards, pd.DataFrame())


def pairs_of(*paths, alpha=0.05, equivalence_bound=0.05):
    studies = [study_of(path) for path in paths]
    return comparison.pairs_of_models(
        studies, alpha=alpha, adjust="holm", equivalence_bound=equivalence_bound
    )


def slopes_of(rows, documents):
    """Return (layers, 2) slopes of least squares on the rows of some documents."""
    taken, found = np.isin(rows[0], documents), []
    for layer in range(rows[1].shape[2]):
        y, *x = rows[1][taken, :, layer].T
        design = np.column_stack([np.ones(len(y)), *x])
        found.append(np.linalg.lstsq(design, y, rcond=None)[0][1:])
    return np.array(found)


def profile_of(estimates, errors, documents=30, seed=0):
    """Return a profile of lag 1 whose scores are normal, independent between layers."""
    estimates = np.array(estimates, dtype=float)[:, None]
    random = np.random.default_rng(seed)
    scores = random.normal(size=(documents, *estimates.shape)) * errors / np.sqrt(documents)
    df = np.full(estimates.shape, documents - 1.0)
    return comparison.Profile(["lag_1"], estimates, scores, df)


def differences(first, second, adjust="holm", equivalence_bound=0.05):
    options = {"alpha": 0.05, "adjust": adjust, "equivalence_bound": equivalence_bound}
    return comparison.differences(first, second, "lag_1", **options)


def test_differences_are_tested_layer_by_layer():
    """The oracle is the errors of the scores, and Holm's method of statsmodels."""
    first = profile_of([0.5, 0.3, 0.12, 0.1, 0.2], 0.03)
    second = profile_of([0.1, 0.2, 0.1, 0.1, np.nan], 0.03, seed=1)
    size = np.array([0.4, 0.1, 0.02, 0.0])
    error = np.sqrt(((first.scores - second.scores) ** 2).sum(axis=0))[:4, 0]
    assert error == pytest.approx(0.03 * np.sqrt(2), rel=0.5)
    p = stats.t.sf((size - 0.05) / error, 29) + stats.t.sf((size + 0.05) / error, 29)
    assert multipletests(p, method="holm")[0].tolist() == [True, False, False, False]
    assert differences(first, second) == {
        "layers_compared": 4,
        "layers_differing": 1,
        "layers_alike": 0,
        "median_difference": pytest.approx(0.06),
    }
    alone = differences(first, second, "none", 0.02)
    # The second differs by more than 0.02 only if the number of layers does not count.
    p = stats.t.sf((size - 0.02) / error, 29) + stats.t.sf((size + 0.02) / error, 29)
    assert alone["layers_differing"] == (p < 0.05).sum() == 2
    assert multipletests(p, method="holm")[0].sum() == 1
    wide = differences(first, second, equivalence_bound=0.15)
    upper = stats.t.sf((0.15 - size) / error, 29)
    assert wide["layers_alike"] == multipletests(upper, method="holm")[0].sum() == 2
    # No layer is both.
    assert wide["layers_differing"] == 1


def test_each_layer_of_the_deeper_model_is_compared_with_the_nearest():
    shallow, deep = profile_of([0.2, -0.2, 0.2], 0.01), profile_of([0.1, 0.2, -0.2, 0.2, 0.2], 0.01)
    # Depths 0, ¼ (as near to 0 as to ½: the earlier), ½, ¾, 1.
    assert comparison.nearest_layers(3, 5).tolist() == [0, 0, 1, 1, 2]
    found = differences(shallow, deep, "holm")
    assert (found["layers_compared"], found["layers_differing"]) == (5, 2)


def test_differences_use_the_correlation_over_shared_documents(tmp_path):
    """Effects of a text that all models share are no difference between them."""
    random = np.random.default_rng(3)
    names, values = rows_of(bump(4))
    moved = values + random.normal(scale=0.05, size=values.shape)
    moved[:, 0] += 0.08 * values[:, 1]
    a, b = (write_study(tmp_path, m, (names, v)) for m, v in (("a", values), ("b", moved)))
    table = pairs_of(a, b, equivalence_bound=0.01).set_index("term")
    assert table.loc["lag_1", "layers_differing"] == 4
    assert table.loc["lag_2", "layers_differing"] == 0
    errors = pd.read_parquet(a).query("term == 'lag_1'")["std_error"]
    # Errors of two models apart would hide it.
    apart = 1.96 * np.sqrt(2) * errors.median()
    assert abs(table.loc["lag_1", "median_difference"]) < apart


def test_models_without_fitted_layers_have_no_comparison():
    none = profile_of([np.nan] * 3, 0.01)
    found = differences(none, none)
    assert (found["layers_compared"], found["layers_differing"]) == (0, 0)
    assert np.isnan(found["median_difference"])


def test_a_pair_of_6_and_12_layers_is_that_of_least_squares(tmp_path):
    small, large = rows_of(bump(6), seed=1), rows_of(bump(12, 0.4), seed=2)
    a = write_study(tmp_path, "small", small, shards=3)
    b = write_study(tmp_path, "large", large, shards=2)
    table = pairs_of(a, b, alpha=0.1)
    assert list(table.columns) == list(comparison.PAIR_COLUMNS)
    assert list(table["term"]) == ["lag_1", "lag_2"]
    six, twelve = (slopes_of(rows, NAMES) for rows in (small, large))
    nearest = [round(depth * 5 / 11) for depth in range(12)]
    difference = np.median(six[nearest] - twelve, axis=0)
    np.testing.assert_allclose(table["median_difference"], difference, rtol=1e-9)
    np.testing.assert_allclose(table["median_a"], np.median(six, axis=0), rtol=1e-9)
    np.testing.assert_allclose(table["median_b"], np.median(twelve, axis=0), rtol=1e-9)
    assert (table["layers_a"] == 6).all()
    assert (table["layers_b"] == 12).all()
    assert (table["documents"] == 12).all()
    assert (table[["documents_only_a", "documents_only_b"]] == 0).all(axis=None)
    assert (table["layers_compared"] == 12).all()


def test_a_pair_is_the_same_in_either_order(tmp_path):
    a = write_study(tmp_path, "small", rows_of(bump(6), seed=1))
    b = write_study(tmp_path, "large", rows_of(bump(12, 0.4), seed=2))
    one, other = pairs_of(a, b), pairs_of(b, a)
    same = ["layers_compared", "layers_differing", "layers_alike"]
    pd.testing.assert_frame_equal(one[same], other[same])
    assert (one["median_difference"] == -other["median_difference"]).all()
    assert (one["model_a"] == other["model_b"]).all()


def test_halves_count_only_where_they_corrected_the_regression(tmp_path):
    """With few documents a regression is not corrected, although their halves are summed apart."""
    rows = rows_of(bump(3))
    plain = study_of(write_study(tmp_path, "plain", rows))
    apart = study_of(write_study(tmp_path, "apart", rows, halves=True))
    for one, other in zip(plain.moments(), apart.moments(), strict=True):
        np.testing.assert_allclose(other.s, one.s, atol=1e-9)
    options = {"halves": True, "bias_correction": "half-panel", "fixed_effects": "document"}
    corrected = study_of(write_study(tmp_path, "corrected", rows, **options))
    assert {len(layer.s) for layer in corrected.moments()} == {3}


def test_identical_models_differ_nowhere(tmp_path):
    rows = rows_of(bump(7))
    table = pairs_of(write_study(tmp_path, "a", rows), write_study(tmp_path, "b", rows))
    assert (table["layers_compared"] == 7).all()
    assert (table["layers_alike"] == 7).all()
    assert (table[["layers_differing", "median_difference"]] == 0).all(axis=None)


def test_documents_that_one_model_lacks_are_dropped_and_counted(tmp_path):
    few, many = rows_of(bump(4), seed=1), rows_of(bump(4), seed=2)
    drop = np.isin(few[0], ["d3", "d11"])
    few[1][drop] = np.nan  # no rows are left of these
    without = few[0] != "d0"
    fewer = few[0][without], few[1][without]
    inside = many[0] != "d7"
    b = write_study(tmp_path, "many", (many[0][inside], many[1][inside]))
    table = pairs_of(write_study(tmp_path, "few", fewer), b)
    assert (table["documents"] == 8).all()
    assert (table["documents_only_a"] == 1).all()
    assert (table["documents_only_b"] == 3).all()
    # As if neither had ever seen them.
    both = [name for name in NAMES if name not in ("d0", "d3", "d7", "d11")]
    shared = [
        write_study(tmp_path / "shared", name, tuple(part[np.isin(rows[0], both)] for part in rows))
        for name, rows in (("few", few), ("many", many))
    ]
    numbers = ["layers_differing", "layers_alike", "median_a", "median_b", "median_difference"]
    np.testing.assert_allclose(table[numbers], pairs_of(*shared)[numbers], rtol=1e-9)


def test_layers_are_not_compared_over_few_documents(tmp_path):
    rows = rows_of(bump(4), documents=NAMES[:5])
    options = {"covariance": "nonrobust"}
    table = pairs_of(
        write_study(tmp_path, "a", rows, **options), write_study(tmp_path, "b", rows, **options)
    )
    assert (table["documents"] == 5).all()
    assert (table["layers_compared"] == 0).all()
    assert table["median_difference"].isna().all()
    assert "differ by more" not in comparison_findings(table, 0.05)


def test_no_document_in_common_gives_no_comparison(tmp_path):
    paths = [
        write_study(tmp_path, "a", rows_of(bump(4), documents=NAMES[:6])),
        write_study(tmp_path, "b", rows_of(bump(4), documents=NAMES[6:])),
    ]
    table = pairs_of(*paths)
    assert (table["documents"] == 0).all()
    assert (table["layers_compared"] == 0).all()
    assert table[["median_a", "median_b", "median_difference"]].isna().all(axis=None)


def test_models_are_compared_in_pairs_within_a_corpus_and_site(tmp_path):
    paths = [
        write_study(tmp_path, model, rows_of(bump(3), seed=seed), corpus=corpus, site=site)
        for seed, model in enumerate(("a", "b", "c"))
        for corpus in ("prompts", "novels")
        for site in ("attention", "mlp")
    ]
    table = pairs_of(*paths)
    found = table.groupby(["model_a", "model_b", "corpus", "site"]).size()
    assert sorted(found.index) == [
        (a, b, corpus, site)
        for a, b in (("a", "b"), ("a", "c"), ("b", "c"))
        for corpus in ("novels", "prompts")
        for site in ("attention", "mlp")
    ]
    assert (found == 2).all()
    # A pair does not depend on what else is compared.
    alone = pairs_of(paths[0], paths[4])
    merged = table[
        (table[["model_b", "corpus", "site"]] == ["b", "prompts", "attention"]).all(axis=1)
    ]
    pd.testing.assert_frame_equal(merged[merged["model_a"] == "a"].reset_index(drop=True), alone)


def test_the_table_of_all_studies_states_depth(tmp_path):
    studies = [
        study_of(path)
        for path in (
            write_study(tmp_path, "a", rows_of(bump(3))),
            write_study(tmp_path, "deep", rows_of(bump(5))),
            write_study(tmp_path, "single", rows_of(bump(1))),
        )
    ]
    table = comparison.combined_coefficients(studies)
    tidy = list(studies[0].coefficients.columns)
    assert list(table.columns) == [*tidy, "depth"]
    assert len(table) == 3 * (3 + 5 + 1)
    depth = table[table["term"] == "lag_1"].groupby("model", sort=False)["depth"].agg(list)
    assert depth.to_dict() == {
        "a": [0, 0.5, 1],
        "deep": [0, 0.25, 0.5, 0.75, 1],
        "single": [0],
    }
    pd.testing.assert_frame_equal(
        table.loc[table["model"] == "a", tidy], studies[0].coefficients, check_dtype=False
    )


def test_findings_have_a_line_for_each_pair(tmp_path):
    a = write_study(tmp_path, "a", rows_of(bump(6), seed=1))
    b = write_study(tmp_path, "b", rows_of(bump(6, 0.3) / 2, seed=2))
    table = pairs_of(a, b, alpha=0.1)
    lines = comparison_findings(table, 0.05).splitlines()
    assert lines[0] == "comparison of models over relative depth, notebook:"
    assert lines[1] == (
        "  lag 1, attention, prompts: median 0.49 in a, 0.23 in b; they are shown to differ by "
        "more than 0.05 in 4 of 6 layers and by less in 0, +0.28 in the median layer"
    )
    assert len(lines) == 3


def test_findings_name_omitted_documents(tmp_path):
    rows = rows_of(bump(2))
    fewer = tuple(part[rows[0] != "d4"] for part in rows)
    table = pairs_of(write_study(tmp_path, "a", rows), write_study(tmp_path, "b", fewer))
    line = comparison_findings(table, 0.05).splitlines()[1]
    assert "differ by more than 0.05 in 0 of 2 layers and by less in " in line
    assert line.endswith("in the median layer; 1 document with rows in one model only left out")


def test_one_model_over_two_corpora_has_no_pairs(tmp_path):
    paths = [
        write_study(tmp_path, "a", rows_of(bump(3)), corpus=corpus) for corpus in ("one", "two")
    ]
    table = pairs_of(*paths)
    assert table.empty
    assert list(table.columns) == list(comparison.PAIR_COLUMNS)
    assert "no pairs" in comparison_findings(table, 0.05)


def test_regressions_with_different_settings_are_not_compared(tmp_path):
    a = write_study(tmp_path, "a", rows_of(bump(3)))
    b = write_study(tmp_path, "b", rows_of(bump(3)), alpha=0.01, adjust="none")
    first, _ = refused(comparison.common_inference, [study_of(path) for path in (a, b)])
    assert first == (
        "b, prompts: found alpha 0.01, expected 0.05 as in a, prompts; fit the regressions with "
        "equal settings"
    )
