"""The controls of a regression: permuted tokens against permutations by hand, random weights."""

from dataclasses import dataclass, replace

import designs
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from designs import FACTS, changed, corpus_of, design_of, design_settings, pieces_of, sequences_of
from fits import assert_alike, fit_settings, fitted, moments_of, orders_of, sums_of
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats
from scipy.spatial import distance
from scipy.stats import false_discovery_control

from attnlag.quantities.columns import KEYS
from attnlag.regression.design.design import Formula
from attnlag.regression.inference import controls, fitting, permutation
from attnlag.regression.moments.moments import write_design
from attnlag.regression.properties import Property
from attnlag.regression.settings import DesignSettings, Errors
from attnlag.storage import tables

FORMULA = Formula(DesignSettings(lags=[1, 2]), FACTS)


@pytest.fixture
def norms(tmp_path):
    """Return a file of norms of 12 documents in two layers, and the design of their regression."""
    table = corpus_of(level=0.5, dynamics=(0.6, 0.1), documents=12, tokens=25)
    return written(tmp_path, table, "own")


def written(folder, table, scale, **facts):
    """Write norms of random weights at a scale, and return their file."""
    path = folder / f"{scale}.parquet"
    draw = {"scale": scale, "initializer_range": 0.04, "origin": "stated", **facts}
    record = {"model": {"name": "m"}, "corpus": {"name": "c"}, "stages": {}, "draw": draw}
    tables.write_table(table, path, record)
    return path


def controlled(paths, trained, **settings):
    """Return the coefficients of the files of scales, and the comparison of scales."""
    layers = moments_of(design_of(pq.read_table(trained), FORMULA.settings), halves=True)
    untrained = controls.untrained_moments(FORMULA.settings, {}, paths)
    return controls.fit_untrained(untrained, fit_settings(**settings), layers)


def fits_of(norms, documents, **options):
    """Return the fit of each layer in some documents."""
    design = design_of(pq.read_table(norms), FORMULA.settings)
    own = pc.is_in(design["document"], pa.array(documents, pa.string()))
    return fitted(design.filter(own), "nonrobust", **options)


LAGS = ["lag_1", "lag_2"]


@pytest.mark.parametrize("effects", ["none", "document"])
@pytest.mark.parametrize("correction", ["none", "half-panel"])
def test_both_models_are_fitted_to_the_documents_of_the_control_without_correction(
    norms, tmp_path, effects, correction, subtests
):
    """The control has 5 of the 12 documents; halves of the trained model are not used."""
    some = [f"d{i}" for i in range(5)]
    other = corpus_of(dynamics=(0.3, 0.2), documents=12, tokens=25, seed=7)
    control = written(tmp_path, other.filter(pc.field("document").isin(some)), "by-depth")
    options = {"fixed_effects": effects, "bias_correction": correction}
    found, _ = controlled([control], norms, **options)
    assert set(found["untrained_documents"]) == {5}
    for column, path in (("untrained_by_depth", control), ("trained", norms)):
        with subtests.test(column=column):
            for layer, fit in enumerate(fits_of(path, some, effects=effects == "document")):
                own = found[found["layer"] == layer].set_index("term").loc[LAGS]
                assert_allclose(own[column], fit.estimate[-2:])
                assert_allclose(own[f"{column}_sum"], fit.estimate[-2:].sum())
                assert_allclose(own[f"{column}_r_squared"], fit.goodness["r_squared"])


def two_scales_and_trained(folder):
    """Return the file of each of two scales of untrained weights, and that of a trained model."""
    scales = {"own": (0.6, 0.1), "default": (0.2, 0.0)}
    paths = [
        written(folder, corpus_of(dynamics=dynamics, documents=8, seed=seed), scale)
        for seed, (scale, dynamics) in enumerate(scales.items())
    ]
    trained = written(folder, corpus_of(dynamics=(0.3, 0.1), documents=8, seed=9), "trained")
    return paths, trained


def test_scales_are_compared_with_the_trained_model_by_the_jackknife(tmp_path, subtests):
    """Each document is left out of both models in turn, which are fitted anew."""
    paths, trained = two_scales_and_trained(tmp_path)
    table, compared = controlled(paths, trained)
    assert list(table.columns[2:5]) == ["untrained_own", "untrained_default", "trained"]
    names = [f"d{i}" for i in range(8)]

    def means_of(path, documents):
        """Return the means of lags 1 and 2 over the layers, and their sum."""
        lags = np.mean([fit.estimate[1:] for fit in fits_of(path, documents)], axis=0)
        return np.append(lags, lags.sum())

    for path, scale in zip(paths, ("own", "default"), strict=True):
        with subtests.test(scale=scale):
            rows = compared[compared["scale"] == scale].set_index("quantity")
            assert rows.index.tolist() == ["lag_1", "lag_2", "lags_summed", "r_squared"]
            apart, *without = (
                means_of(path, kept) - means_of(trained, kept)
                for kept in [names, *([*filter(name.__ne__, names)] for name in names)]
            )
            error = np.sqrt(7 / 8 * ((np.array(without) - apart) ** 2).sum(axis=0))
            reach = stats.t.ppf(0.975, 7) * error
            found = rows.loc[[*LAGS, "lags_summed"]]
            assert (found["df"] == 7).all()
            columns = ["difference", "std_error", "conf_low", "conf_high"]
            expected = np.stack([apart, error, apart - reach, apart + reach])
            assert_allclose(found[columns].T, expected, rtol=1e-6)
            alone, *without = (
                means_of(path, kept)
                for kept in [names, *([*filter(name.__ne__, names)] for name in names)]
            )
            spread = ((np.array(without) - alone) ** 2).sum(axis=0)
            margin = stats.t.ppf(0.975, 7) * np.sqrt(7 / 8 * spread)
            assert_allclose(found["before_low"], alone - margin, rtol=1e-6, atol=1e-9)
            assert_allclose(found["before_high"], alone + margin, rtol=1e-6, atol=1e-9)


def test_a_scale_left_out_has_no_numbers_and_few_documents_have_no_interval(tmp_path):
    paths, trained = two_scales_and_trained(tmp_path)
    empty = corpus_of(documents=8).slice(0, 0)
    left_out = written(tmp_path, empty, "by-depth", left_out="the same as own")
    _, compared = controlled([paths[0], left_out], trained)
    rows = compared[compared["scale"] == "by-depth"]
    assert rows["before"].isna().all()
    assert set(rows["left_out"]) == {"the same as own"}
    few = written(tmp_path, corpus_of(documents=5), "own")
    _, compared = controlled([few], trained)
    assert compared["difference"].notna().sum() == 3
    assert compared[["std_error", "conf_low", "conf_high"]].isna().all(axis=None)


def test_documents_of_unequal_length_leave_fewer_degrees_of_freedom(tmp_path):
    """They are those of the effective number of documents, N² / Σ n², less one."""
    lengths = {(f"d{place}", 0): tokens for place, tokens in enumerate([200, *[30] * 7])}
    random = np.random.default_rng(3)
    tables_of_models = []
    for _ in range(2):
        values = np.exp(random.normal(size=(2, sum(lengths.values()))))
        tokens = random.integers(0, 4, values.shape[1])
        tables_of_models.append(designs.norms_table(lengths, values, tokens))
    control = written(tmp_path, tables_of_models[0], "own")
    trained = written(tmp_path, tables_of_models[1], "trained")
    _, compared = controlled([control], trained)
    rows = np.array([length - 3 for length in lengths.values()])
    expected = rows.sum() ** 2 / (rows**2).sum() - 1
    assert_allclose(compared["df"].dropna(), expected)


def test_every_row_compares_the_same_layers_and_states_them(tmp_path):
    """A layer without a fit at one scale is in no row; a scale without any layer does not count."""
    whole = corpus_of(documents=8, seed=1)
    flat = changed(whole, {"layer_01": np.ones(whole.num_rows)})
    silent = changed(flat, {"layer_00": np.ones(whole.num_rows)})
    paths = [
        written(tmp_path, table, scale, initializer_range=initial)
        for table, scale, initial in (
            (whole, "own", 0.04),
            (flat, "own-x1.5", 0.06),
            (silent, "default", 0.02),
        )
    ]
    trained = written(tmp_path, corpus_of(documents=8, seed=2), "trained")
    table, compared = controlled(paths, trained)
    known = compared[compared["before"].notna()]
    assert set(known["scale"]) == {"own", "own-x1.5"}
    assert set(known["layers"]) == {"0"}
    assert set(compared.loc[compared["above_own"], "scale"]) == {"own-x1.5"}
    assert (known.groupby("quantity")["trained"].nunique() == 1).all()
    of_layer = table.query("layer == 0 and term == 'lag_1'").iloc[0]
    rows = known.set_index(["scale", "quantity"])
    assert rows.loc[("own", "lag_1"), "trained"] == of_layer["trained"]
    assert rows.loc[("own-x1.5", "lag_1"), "before"] == of_layer["untrained_own_x1.5"]
    assert (compared.loc[compared["scale"] == "default", "layers"] == "").all()


def test_medians_over_layers_stand_beside_the_difference_of_means():
    both = [designs.design_table([20] * 8, 3, seed) for seed in (1, 2)]
    before, trained = map(moments_of, both)
    draw = {"scale": "own", "initializer_range": 0.02, "origin": "config"}
    _, compared = controls.fit_untrained([(draw, before)], fit_settings(), trained)
    lags = np.array([[fit.estimate[1] for fit in fitted(table)] for table in both])
    found = compared.set_index("quantity").loc["lag_1", ["before", "trained", "difference"]]
    expected = [*np.median(lags, axis=1), lags[0].mean() - lags[1].mean()]
    assert found.tolist() == pytest.approx(expected, rel=1e-9)


def test_a_layer_without_rows_or_of_constant_norms_has_no_coefficient(norms, tmp_path, subtests):
    whole = pq.read_table(norms)
    whole = changed(whole, {"layer_00": np.full(whole.num_rows, 8.0)})
    found, _ = controlled([written(tmp_path, whole, "default")], norms)
    for column in ("untrained_default", "untrained_default_r_squared", "untrained_default_sum"):
        with subtests.test(column=column):
            assert found[column].isna().tolist() == [True] * 3 + [False] * 3
    # If all documents are too short, no layer has one either.
    short = written(tmp_path, corpus_of(documents=3, tokens=3), "default")
    found, _ = controlled([short], norms)
    assert found["term"].tolist() == ["intercept", *LAGS] * 2
    assert found[["untrained_default", "untrained_default_r_squared"]].isna().all(axis=None)
    assert set(found["untrained_documents"]) == {0}


def run_of(norms, settings, **given):
    """Fit a regression as a run does, in documents of two groups by turns."""
    files = [norms.with_name("crossproducts.parquet")], [norms.with_name("design.parquet")]
    write_design(norms, None, files[1][0], files[0][0], FORMULA, halves=False)
    group_of = {f"d{i}": f"group {i % 2}" for i in range(12)}
    return fitting.fit_regression(*files, group_of, settings, **given)


def test_the_table_lists_each_lag_beside_its_controls(norms, subtests):
    """The same norms serve as those of the untrained model."""
    orders = [sums_of(pq.read_table(norms), FORMULA.settings, draws=19)]
    untrained = controls.untrained_moments(FORMULA.settings, {}, [norms])
    fitted = run_of(norms, fit_settings(), permutations=orders, untrained=untrained)
    table, lags = fitted.controls, fitted.coefficients.query("term != 'intercept'")
    pd.testing.assert_frame_equal(
        table[["layer", "term", "estimate"]],
        lags[["layer", "term", "estimate"]].reset_index(drop=True),
    )
    assert table["r_squared"].tolist() == np.repeat(fitted.goodness["r_squared"], 2).tolist()
    for column in ("untrained_own", "trained"):
        with subtests.test(column=column):
            assert_allclose(table[column], table["estimate"])
    assert table.notna().all(axis=None)
    assert (table[["permutations", "permuted_within"]] == [19, "document"]).all(axis=None)


@pytest.mark.parametrize("documents", [1, 2, 5, 6])
def test_few_documents_have_no_draws_and_one_has_no_effect(documents, tmp_path):
    """Two groups by turns are the same folds as two folds of documents."""
    norms = written(tmp_path, corpus_of(documents=documents), "own")
    options = {"fixed_effects": "document", "bootstrap": 9, "folds": "groups"}
    run, within = run_of(norms, fit_settings(**options)), documents > 1
    assert run.coefficients["term"].eq("intercept").any() == (not within)
    assert set(run.medians["draws"]) == {9 if documents == 6 else 0}
    fits = fitted(design_of(pq.read_table(norms), FORMULA.settings), "nonrobust", 2, effects=within)
    expected = [fit.goodness["cv_r_squared"] for fit in fits]
    assert_allclose(run.goodness["cv_r_squared"], expected)
    assert np.isfinite(expected).all() == within


TWO_LAGS = design_settings(lags=(1, 2))
COVARIATES = ("position", "log_frequency", "surprisal", "upos_previous", "previous_layer")
TWO = {("a", 0): 30, ("b", 0): 25}


def norms_table(lengths):
    """Return norms of sequences without structure, given the length of each."""
    random = np.random.default_rng(0)
    tokens = sum(lengths.values())
    values = np.exp(random.normal(size=(2, tokens)))
    return designs.norms_table(lengths, values, random.integers(0, 4, tokens))


def order_test(orders, **settings):
    return permutation.order_test(orders, Errors(**settings))


def test_numbers_for_draws_do_not_depend_on_how_many_are_in_memory(monkeypatch):
    documents, tokens = ["one", "two"], [7, 12]
    few = np.array(list(permutation.keys_by_draw(documents, tokens, 9, 3)))
    monkeypatch.setattr(permutation, "NUMBERS_AT_ONCE", 2 * sum(tokens))
    again = list(permutation.keys_by_draw(documents, tokens, 9, 3))
    assert_array_equal(again, few)
    # Two draws of both documents are in memory, not all of them.
    assert again[0].base.shape == (2, sum(tokens))
    assert_array_equal(few[:, 7:], list(permutation.keys_by_draw(["two"], [12], 9, 3)))


def by_hand(table, known, classes, draws):
    """Yield the order of tokens as it is and in each draw, and the table, whose keys stay."""
    document = np.array(table["document"].to_pylist())
    for draw in range(-1, draws):
        order = np.arange(table.num_rows)
        for name in np.unique(document) if draw >= 0 else ():
            keys = np.zeros(table.num_rows)
            own = document == name
            keys[own] = list(permutation.keys_by_draw([name], [own.sum()], draws, 0))[draw]
            for kind in np.unique(classes):
                places = np.flatnonzero(own & known & (classes == kind))
                order[places] = places[np.argsort(keys[places], kind="stable")]
        yield order, changed(table.take(order), {key: table[key] for key in KEYS[:3]})


@dataclass(frozen=True)
class Case:
    """Norms of documents, given the lengths of their sequences, and what is regressed on what."""

    documents: list[list[int]]
    covariates: frozenset[str] = frozenset()
    lags_and_leads: tuple[tuple[int, ...], tuple[int, ...]] = ((1, 2), ())
    drop_first: int = 1
    # Tokens without a norm in a layer, and whether the first document has none in the first.
    zeros: tuple[tuple[int, int], ...] = ()
    silent_first: bool = False
    # Whether tokens change places within their class, and whether documents have effects.
    within: bool = False
    effects: bool = False
    # How many keys there are, rows at once, and documents of the first shards.
    grid: int = 4
    rows: int = 30
    cuts: tuple[int, ...] = ()


CASES = st.builds(
    Case,
    documents=st.lists(
        st.lists(st.integers(1, 12), min_size=1, max_size=2), min_size=1, max_size=4
    ),
    covariates=st.frozensets(st.sampled_from(COVARIATES)),
    lags_and_leads=st.sampled_from([((1, 2), ()), ((), (1,))]),
    drop_first=st.integers(0, 2),
    zeros=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 1)), max_size=3).map(tuple),
    silent_first=st.booleans(),
    within=st.booleans(),
    effects=st.booleans(),
    grid=st.sampled_from([4, 2**24]),
    rows=st.integers(1, 30),
    cuts=st.lists(st.integers(0, 4), max_size=2).map(tuple),
)
EMPTY_FIRST = Case([[2], [9, 6]], cuts=(1,))
SILENT_FIRST = Case(
    [[9], [12], [5]],
    frozenset({"surprisal"}),
    silent_first=True,
    within=True,
    effects=True,
    rows=1,
)
A_LEAD = Case([[9], [6]], frozenset({"upos_previous"}), ((), (1,)), drop_first=0)
A_SHORT_LEAD = Case([[3]], frozenset({"upos_previous"}), ((), (1,)))


class Tokens:
    """The tokens of a case: norms, properties, classes, and which may change their place."""

    def __init__(self, case):
        self.case = case
        lengths = sequences_of(case.documents)
        table, tokens = norms_table(lengths), sum(lengths.values())
        norms = np.stack([table[name].to_numpy() for name in ("layer_00", "layer_01")])
        for place, layer in case.zeros:
            norms[layer, place % tokens] = 0
        if case.silent_first:
            norms[0, : sum(case.documents[0])] = 0
        self.table = changed(table, dict(zip(("layer_00", "layer_01"), norms, strict=True)))
        self.starts = dict(zip(lengths, np.cumsum([0, *lengths.values()]), strict=False))
        surprisal = np.random.default_rng(2).random(tokens)
        surprisal[::5] = np.nan
        self.properties = {"surprisal": surprisal, "upos_previous": np.arange(tokens) % 3.0}
        self.classes = np.arange(tokens) % 3 * case.within
        # A layer without any norm in a document is ignored there.
        frame = pd.DataFrame({"document": table["document"].to_pylist(), 0: norms[0], 1: norms[1]})
        dead = (frame.groupby("document").transform("max") == 0).to_numpy().T
        known = ((norms > 0) | dead).all(axis=0)
        known &= self.table["position"].to_numpy() >= case.drop_first
        if "surprisal" in case.covariates:
            known &= ~np.isnan(surprisal)
        self.known = known
        # A norm of zero is no outcome and no lag.
        rows = {f"layer_0{layer}": np.where(known, own, 0) for layer, own in enumerate(norms)}
        self.silent = changed(self.table, rows)
        self.design = design_settings(
            *case.lags_and_leads,
            set(case.covariates),
            position_knots=(1, 3, 5),
            drop_first=case.drop_first,
        )

    def facts_in(self, order):
        """Return what the design is built from, with the tokens in an order."""
        own = {
            name: Property(name, self.starts, values[order])
            for name, values in self.properties.items()
        }
        return FACTS | own

    def permuted(self):
        """Return the sums of each shard, and the order of tokens and the table of each draw.

        Keys are few, so that some are equal.
        """
        case = self.case
        keys_by_draw = permutation.keys_by_draw

        def few_keys(*arguments):
            for keys in keys_by_draw(*arguments):
                yield np.floor(case.grid * keys) / case.grid

        kinds = None
        if case.within:
            kinds = Property("upos", self.starts, self.classes.astype(float))
        options = (self.design, self.facts_in(slice(None)), case.rows, kinds)
        fixed_effects = "document" if case.effects else "none"
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(permutation, "keys_by_draw", few_keys)
            shards = [
                sums_of(part, *options, fixed_effects=fixed_effects)
                for part in pieces_of(self.table, *case.cuts)
                if len(part)
            ]
            draws = list(by_hand(self.silent, self.known, self.classes, 3))
        return shards, draws

    def rows_of(self, layer, terms, order, by_order):
        """Return the documents and the values of the rows of a layer in an order of tokens."""
        built = design_of(by_order, self.design, self.facts_in(order)).to_pandas()
        names = [f"layer_0{layer}.{term}" for term in terms]
        names = [name if name in built else name.partition(".")[2] for name in names]
        kept = built.dropna(subset=names)
        return kept["document"].astype(str), kept[names]


@given(case=CASES)
@example(case=EMPTY_FIRST)
@example(case=SILENT_FIRST)
@example(case=A_LEAD)
@example(case=A_SHORT_LEAD)
def test_orders_are_those_of_tokens_permuted_by_hand(case):
    """Batches and shards change nothing, and keys that are equal do not mix documents.

    Covariates move with their token if the catalogue says so. A token without a norm in one of the
    layers, or without a covariate, stays in its place, and is no outcome, lag or lead of a row.
    """
    tokens = Tokens(case)
    shards, draws = tokens.permuted()
    for layer, own in enumerate(orders_of(*shards)):
        for number, draw in enumerate(draws):
            documents, rows = tokens.rows_of(layer, own.terms, *draw)
            w = rows - own.centre[1:]
            if case.effects:
                w -= w.groupby(documents).transform("mean")
            w = np.insert(w.to_numpy(), 0, 1, axis=1)
            assert_allclose(own.products[0, number], w.T @ w, atol=1e-8)
        # They are about the means of the observed order over all shards.
        assert_allclose(own.products[0, 0, 0, 1:], 0, atol=1e-8)


@pytest.mark.parametrize("case", [EMPTY_FIRST, SILENT_FIRST, A_LEAD])
def test_orders_count_the_documents_that_have_rows(case):
    tokens = Tokens(case)
    shards, draws = tokens.permuted()
    for layer, own in enumerate(orders_of(*shards)):
        documents, _ = tokens.rows_of(layer, own.terms, *draws[0])
        assert own.documents == documents.nunique()


def test_the_size_of_terms_is_that_before_the_means_of_documents_are_removed():
    tokens = Tokens(replace(SILENT_FIRST, silent_first=False))
    shards, draws = tokens.permuted()
    for layer, own in enumerate(orders_of(*shards)):
        _, rows = tokens.rows_of(layer, own.terms, *draws[0])
        w = rows - own.centre[1:]
        assert_allclose(own.squares, [len(w), *(w**2).sum()])


def test_the_sizes_of_terms_in_shards_are_added():
    shards, _ = Tokens(replace(SILENT_FIRST, silent_first=False, cuts=(1, 2))).permuted()
    assert len(shards) == 3
    for layer, own in enumerate(orders_of(*shards)):
        assert_allclose(own.squares, sum(shard.squares[layer] for shard in shards))


@pytest.mark.parametrize("case", [EMPTY_FIRST, SILENT_FIRST])
def test_sums_name_what_tokens_change_places_in(case):
    shards, _ = Tokens(case).permuted()
    assert {shard.within for shard in shards} == {"upos" if case.within else "document"}


def test_a_first_shard_without_rows_has_no_means_and_costs_no_precision():
    shards, _ = Tokens(EMPTY_FIRST).permuted()
    assert not shards[0].documents.any()
    assert_alike(orders_of(*shards), orders_of(*shards[1:]), "products")


def test_moments_of_orders_are_read_back_as_they_were_written(tmp_path):
    path, sums = tmp_path / "0000.parquet", sums_of(norms_table({("a", 0): 12}), TWO_LAGS)
    sums.outcome_is_logarithm, sums.within = False, "upos"
    sums.write(path, {})
    again = permutation.PermutedMoments.read(path)
    assert_alike([again], [sums])
    assert not again.moments_of_layer(1).outcome_is_logarithm


def test_a_layer_without_norms_has_no_test(subtests):
    table = changed(norms_table(TWO), {"layer_00": np.zeros(55)})
    test = order_test(orders_of(sums_of(table, TWO_LAGS)))
    for column in ("order_p_value", "permuted_low"):
        with subtests.test(column=column):
            assert test[column].isna().tolist() == [True] * 3 + [False] * 3


def test_the_control_shows_how_much_of_a_lag_comes_from_document_means(subtests):
    """In white noise around document means a lag predicts well in any order."""
    table = corpus_of(level=1.0)
    pooled, within = (
        order_test(orders_of(sums_of(table, TWO_LAGS, draws=99, fixed_effects=effects)))
        for effects in ("none", "document")
    )
    lag = pooled.query("term == 'lag_1'")
    low, mean, high = (lag[f"permuted_{name}"] for name in ("low", "mean", "high"))
    assert ((low < mean) & (mean < high) & (mean > 0.25)).all()
    for effects, test in {"none": pooled, "document": within}.items():
        with subtests.test(effects=effects):
            assert (test["order_p_value"] > 0.01).all()
            assert (test["order_p_adjusted"] >= test["order_p_value"]).all()
    # Demeaning tilts the lags of unordered tokens below 0, by about 1 / T.
    lag = within.query("term == 'lag_1'")
    assert_allclose(lag["permuted_mean"], -1 / 37, atol=0.01)


@pytest.mark.parametrize("adjust", ["holm", "benjamini-hochberg"])
def test_the_joint_test_of_two_lags_detects_an_effect_of_order(adjust, subtests):
    """Where each layer has one, the fewest draws that a configuration may state find it."""
    for dynamics in ((0.3, 0.0), (0.0, 0.3)):
        with subtests.test(dynamics=dynamics):
            sums = sums_of(corpus_of(dynamics=dynamics), TWO_LAGS, draws=19)
            test = order_test(orders_of(sums), adjust=adjust)
            assert set(test["order_p_value"]) == set(test["order_p_adjusted"]) == {1 / 20}
            assert set(test["permutations"]) == {19}


def test_the_statistic_is_the_mahalanobis_distance_over_all_orders():
    sums = orders_of(sums_of(corpus_of(documents=6), TWO_LAGS, draws=49))
    names, found = permutation.estimates_by_permutation(sums)
    assert names == ["intercept", "lag_1", "lag_2"]
    test = order_test(sums, alpha=0.1, adjust="benjamini-hochberg")
    # Mean and range are those of the draws, without the order that the documents have.
    draws = found[1:].reshape(49, -1)
    bounds = test[["permuted_low", "permuted_mean", "permuted_high"]].to_numpy().T
    expected = np.percentile(draws, 5, axis=0), draws.mean(axis=0), np.percentile(draws, 95, axis=0)
    assert_allclose(bounds, expected)
    distances = np.empty((2, 50))
    for layer, lags in enumerate(found[:, :, 1:].swapaxes(0, 1)):
        mean, inverse = lags.mean(axis=0), np.linalg.inv(np.cov(lags.T))
        distances[layer] = [distance.mahalanobis(one, mean, inverse) ** 2 for one in lags]
    observed = distances[:, 0]
    of_layers = test.drop_duplicates("layer")
    assert_allclose(of_layers["permutation_wald"], observed)
    p_values = (distances >= observed[:, None]).mean(axis=1)
    assert_allclose(of_layers["order_p_value"], p_values)
    assert_allclose(of_layers["order_p_adjusted"], false_discovery_control(p_values))
    # Westfall and Young: the largest statistic is one of the largest of each order.
    of_largest = (distances.max(axis=0) >= observed.max()).mean()
    of_layers = order_test(sums, adjust="holm").drop_duplicates("layer")
    assert_allclose(of_layers["order_p_adjusted"], np.maximum(of_largest, p_values))


def test_products_of_merged_terms_equal_those_of_one_term():
    """The terms are dummies of classes that are merged: the first and the third."""
    codes, settings = np.arange(55.0) % 4, design_settings(lags=(1,), covariates=("upos",))

    def merged(codes, *names):
        facts = {"upos": Property("upos", {("a", 0): 0, ("b", 0): 30}, codes)}
        sums = sums_of(norms_table(TWO), settings, facts, fixed_effects="document")
        parts = {name: [name] for name in ("y", "lag_1", "upos_ADP", "upos_AUX")}
        return permutation.permutations_by_layer([sums], parts | {"upos_other": names})

    found = merged(codes, "upos_ADJ", "upos_ADV")
    of_one = merged(np.where(codes == 2, 0, codes), "upos_ADJ")
    assert_alike(found, of_one, "terms", "products", "centre", rtol=1e-7, atol=1e-10)
    for one, other in zip(found, of_one, strict=True):
        # The size of a sum of disjoint dummies is about that of its parts together.
        assert_allclose(one.squares[:5], other.squares[:5])
        assert_allclose(one.squares[5], other.squares[5], rtol=1)
