"""What each figure claims and shows, from tables whose numbers are known."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import statsmodels.api as sm
import statsmodels.formula.api as smf
from figure_inputs import compared, inputs_of, of_regression, of_regressions
from oracles import cr2
from pictures import TITLE, grid, synthetic_controls, synthetic_tables, texts_of, with_interval
from scipy import stats

from attnlag.claims import lags
from attnlag.claims.row import Row
from attnlag.claims.run import Claims
from attnlag.corpus.documents import Document, corpus_table
from attnlag.figures import (
    catalogue,
    coefficients_by_depth,
    coefficients_by_layer,
    cosines_by_distance,
    elasticities_by_layer,
    files,
    groups_by_layer,
    heads_by_layer,
    norms_by_layer,
    norms_by_part_of_speech,
    norms_by_position,
    norms_by_surprisal,
    readout_by_layer,
    slopes_by_class,
    sources_by_layer,
    specifications_by_layer,
    wording,
)
from attnlag.figures.inputs import Inputs
from attnlag.figures.sampling import NormsSample, shares_between
from attnlag.figures.settings import ON_REQUEST
from attnlag.figures.sizes import PAGE
from attnlag.figures.templates import Line, Lines, Sheet, legend_of
from attnlag.pipeline.outputs import TABLE
from attnlag.quantities.catalogue import OPTIONAL
from attnlag.quantities.head_shares import ABOVE, WHOLE
from attnlag.regression.labels import weights_in_words
from attnlag.storage import tables
from attnlag.storage.results import Declared

LAYERS = range(4)
GROUPS_OF_DOCUMENTS = {f"d{n:02d}": "verse" if n % 2 else "prose" for n in range(40)}
TESTED = {"alpha": 0.05, "adjust": "holm", "equivalence_bound": 0.05}


def responses():
    """Return the medians of two responses."""
    terms = pd.DataFrame({"term": ["response_1", "response_2"], "median": [0.23, 0.11]})
    return terms.assign(conf_low=[0.2, 0.09], conf_high=[0.26, 0.13])


def of_coefficients(controls=True, **kinds):
    """Return the inputs of the figure of coefficients, and the figure."""
    table, fits = synthetic_tables(12, **kinds)
    frames = {"fits": fits}
    if controls:
        frames["controls"] = synthetic_controls(table)
    if controls and table["estimate"].notna().any():
        frames["medians"] = responses()
    inputs = of_regression(table, **frames)
    return inputs, coefficients_by_layer.figure(inputs)


def test_coefficients_stand_beside_their_controls(subtests):
    inputs, sheet = of_coefficients(unfitted=(4,))
    one, two, *_ = sheet.panels
    assert [panel.title for panel in sheet.panels] == [
        "lag 1",
        "lag 2",
        "lag 1, trained and untrained (by scale)",
        "response in the median layer",
        "variance explained within documents",
    ]
    for term, panel in (("lag_1", one), ("lag_2", two)):
        with subtests.test(term=term):
            own, controls = (
                table[table["term"] == term]
                for table in (inputs.regression.coefficients, inputs.regression.controls)
            )
            line, order = panel.lines
            np.testing.assert_array_equal(line.y, own["estimate"])
            np.testing.assert_array_equal(line.weak, own["p_adjusted"] >= 0.05)
            np.testing.assert_array_equal(order.low, controls["permuted_low"])
            np.testing.assert_array_equal(order.high, controls["permuted_high"])
            assert panel.missing == [4]


def test_untrained_weights_later_tokens_and_explained_variance_have_panels_of_their_own():
    inputs, sheet = of_coefficients(unfitted=(4,))
    _, _, before, later, explained = sheet.panels
    controls = inputs.regression.controls.query("term == 'lag_1'")
    # Two scales of the initial weights, and the trained model.
    assert [line.label for line in before.lines] == [
        "own",
        "default",
        "trained",
    ]
    for line, column in zip(
        before.lines, ["untrained_own", "untrained_default", "trained"], strict=True
    ):
        np.testing.assert_array_equal(line.y, controls[column])
    (response,) = later.lines
    assert (list(later.x), later.xlabel) == ([1, 2], "tokens later")
    assert list(response.low) == [0.2, 0.09]
    assert list(response.y) == [0.23, 0.11]
    assert list(response.high) == [0.26, 0.13]
    np.testing.assert_array_equal(explained.lines[0].y, inputs.regression.fits["r_squared"])
    # Each line of untrained weights is named, as beside the coefficients.
    assert [line.label for line in explained.lines] == ["trained", "own"]
    # Labels stand beside the lines, so there is no legend but of layers without a fit.
    assert list(legend_of(sheet)) == ["not fitted"]


def test_the_title_of_coefficients_is_the_median_layer():
    _, sheet = of_coefficients(unfitted=(4,))
    one, *_ = sheet.panels
    median = one.lines[0].y[np.isfinite(one.lines[0].y)]
    assert sheet.claim == (
        f"After a 1% larger adjustment the next is {np.median(median):.2f}% larger, the one after "
        "0.11% larger (median layer)"
    )
    assert wording.PREDICTIVE in sheet.note
    assert sheet.extent == "300 rows from 20 documents"


def test_responses_beyond_the_lags_are_said_to_be_extrapolated_where_lags_are_too_few():
    too_few = Claims((Row("omitted_lags", layers=12, above=3),))
    assert coefficients_by_layer.extrapolated(too_few, ["lag_1", "lag_2"]) == (
        " Responses beyond 2 tokens are extrapolated from these lags, though tokens further back "
        "still predict in 3 of 12 layers."
    )
    enough = Claims((Row("omitted_lags", layers=12, above=0),))
    assert coefficients_by_layer.extrapolated(enough, ["lag_1", "lag_2"]) == ""


def test_the_title_of_coefficients_has_the_lag_before_training():
    lag = Row("lag", "lag_1", value=0.23)
    extremes = Row("untrained_extremes", "lag_1", baseline_low=0.5, baseline_high=1.56)
    claims = [lag, lags.follows(lag, "norm"), Row("response", "2", value=0.11), extremes]
    assert coefficients_by_layer.title_of(Claims(tuple(claims)), ["lag_1"]) == (
        "After a 1% larger adjustment the next is 0.23% larger, the one after 0.11% larger "
        "(median layer; lag 1 before training: 0.50 to 1.56)"
    )


def test_coefficients_without_controls_and_with_many_lags_have_fewer_panels(subtests):
    inputs, alone = of_coefficients(controls=False)
    # Norms before training that do not vary have no coefficient.
    nothing = {"untrained_own": np.nan, "untrained_default": np.nan}
    table = inputs.regression.coefficients
    controls = synthetic_controls(table).assign(**nothing)
    constant = of_regression(table, controls=controls)
    sheets = {"no controls": alone, "constant norms": coefficients_by_layer.figure(constant)}
    for name, sheet in sheets.items():
        with subtests.test(name=name):
            titles = ["lag 1", "lag 2", "variance explained within documents"]
            assert [panel.title for panel in sheet.panels] == titles
            assert "before training" not in sheet.claim
    nowhere = of_coefficients(unfitted=range(12))[1]
    assert all(panel.missing == [*range(12)] for panel in nowhere.panels)
    assert nowhere.claim == "No coefficient could be estimated"
    lines, *_ = of_coefficients(lags=6)[1].panels
    assert [line.label for line in lines.lines] == [f"lag {n}" for n in range(1, 7)]


def of_groups(**estimates):
    table = grid(subset=estimates, layer=LAYERS).assign(term="lag_1", vcov_type="cluster")
    table["estimate"] = table["subset"].map(estimates)
    table["p_adjusted"] = np.where(table["layer"] == 1, 0.2, 0.01)
    table["status"] = np.where(table["estimate"].isna(), "2 documents", "ok")
    wide = table["subset"] == "verse"
    groups = table.assign(
        n_documents=7,
        median_low=table["estimate"] - np.where(wide, 1, 0.1),
        median_high=table["estimate"] + np.where(wide, 1, 0.1),
        level=0.95,
    )
    table, fits = synthetic_tables(len(LAYERS))
    return groups_by_layer.figure(of_regression(table, fits=fits, groups=groups))


def test_groups_are_rows_of_a_map(looks_as_before):
    sheet = of_groups(prose=0.2, verse=0.4, rare=np.nan)
    looks_as_before("groups_by_layer", sheet)
    (cells,) = sheet.panels
    assert cells.rows == ["verse (7)", "prose (7)", "rare (7)"]
    np.testing.assert_array_equal(cells.values[:2], [[0.4] * 4, [0.2] * 4])
    assert cells.weak[0].tolist() == [False, True, False, False]
    assert cells.texts == {2: "not fitted: 2 documents"}
    # The joint interval of verse reaches below zero.
    assert sheet.claim == "Groups of documents with lag 1 above 0: 1 of 2, below 0: 0"
    assert not of_groups(prose=0.2).panels


@pytest.fixture(scope="module")
def norms(tmp_path_factory):
    """Norms of 40 documents in two groups, with parts of speech; layer 2 depends on both."""
    folder = tmp_path_factory.mktemp("norms")
    random = np.random.default_rng(0)
    frame = grid(document=[f"d{n:02d}" for n in range(40)], position=range(30))
    frame["upos"] = random.choice(["NOUN", "VERB", "none"], len(frame))
    frame["group"] = np.where(frame["document"].str[1:].astype(int) % 2, "verse", "prose")
    frame[list(LAYERS)] = random.normal(size=(len(frame), len(LAYERS)))
    frame[2] += 2.0 * (frame["upos"] == "NOUN") + 1.0 * (frame["group"] == "verse")
    frame.loc[frame["position"] == 0, list(LAYERS)] += np.log(3)
    columns = {
        "document": pa.array(frame["document"]).dictionary_encode(),
        "position": frame["position"].to_numpy("int32"),
        "upos": pa.array(frame["upos"]).dictionary_encode(),
        "word": frame.index // 2,
        "word_initial": frame.index % 2 == 0,
    }
    files = {}
    for name, shift in (("norms", 0.0), ("stream", 1.0), ("token_properties", 0.0)):
        layers = {f"layer_{n:02d}": np.exp(frame[n] + shift) for n in LAYERS}
        files[name] = [folder / f"m/c/attention/{name}/0000.parquet"]
        record = {"model": {"name": "m"}, "corpus": {"name": "c"}}
        tables.write_table(pa.table(columns | layers), files[name][0], record)
    return Inputs(Path(), Declared(files), {"drop_first": 1}), frame


def with_sample(inputs, kept, **files):
    """Return inputs with some of the tokens of their sample, and with other files."""
    paths = {name: inputs.paths(name) for name in ("norms", "stream", "token_properties")}
    changed = Inputs(Path(), Declared(paths | files), inputs.settings)
    changed.norms_sample = sampled(inputs.norms_sample, kept)
    return changed


def sampled(sample, kept):
    """Return some of the tokens of a sample."""
    logs = sample.log_norms[kept].reset_index(drop=True)
    return NormsSample(sample.tokens, sample.rows[kept], sample.position[kept], logs)


def test_norms_by_layer_are_quantiles_without_first_tokens(norms):
    inputs, frame = norms
    absolute, relative = norms_by_layer.figure(inputs).panels
    rest = frame[frame["position"] > 0][list(LAYERS)]
    first = frame[frame["position"] == 0][list(LAYERS)]
    for shown, logs in (
        (absolute.lines[-1].y, rest.median()),
        (absolute.lines[0].low, rest.quantile(0.05)),
        (absolute.lines[1].high, rest.quantile(0.75)),
        (absolute.lines[-2].y, first.median()),
    ):
        np.testing.assert_allclose(shown, np.exp(logs), rtol=1e-6)
    np.testing.assert_allclose(relative.lines[-1].y, np.full(4, np.exp(-1)), rtol=1e-6)
    assert absolute.log_scale
    assert absolute.lines[-1].label == "median of the other tokens"
    # Where no first tokens are drawn, there are no others.
    alone = norms_by_layer.norms_panel(inputs.norms_sample, 0, "", "")
    assert alone.lines[-1].label == "median of the tokens"


@pytest.mark.parametrize(
    ("medians", "text"),
    [
        ([2.0, 4.0, 193.4, np.nan], "Norms go from 2 to 193"),
        (
            [2.0, 1.5, 193.4, 101.2],
            "Norms go from 2 to 101, largest in layer 5 (193)",
        ),
        (
            [np.nan, 1.0, 0.25, 0.5],
            "Norms go from 1 to 0.5, smallest in layer 5 (0.25)",
        ),
        ([np.nan] * 4, ""),
    ],
)
def test_the_title_has_the_norms_of_the_first_and_last_layer_and_the_extreme(medians, text):
    panel = Lines([Line(np.array(medians))], "")
    assert norms_by_layer.title_of([3, 4, 5, 6], panel, "norm") == text


@pytest.mark.parametrize("longest", [0, 1, 7, 8, 9, 100, 5000])
def test_each_position_is_in_exactly_one_row(longest):
    edges = norms_by_position.position_edges(longest)
    assert edges[0] == 0
    assert edges[-2] <= longest < edges[-1]
    assert (np.diff(edges) > 0).all()
    assert (np.diff(edges)[:8] == 1).all()


def test_effects_of_no_document_are_drawn():
    """All tokens that are intervened on may be dropped."""
    columns = ["source_site", "target_site", "documents", "lag", "intervention"]
    empty = pd.DataFrame(columns=[*columns, "source_layer", "target_layer"], dtype=float)
    settings = {"source": "attention", "target": "attention"}
    inputs = inputs_of(settings, {"elasticities": {"alpha": 0.05}}, elasticities=empty)
    sheet = elasticities_by_layer.figure(inputs)
    assert sheet.extent == "0 documents"
    assert sheet.claim == "No layer was changed before an observed one"


def test_norms_by_position_are_means_of_the_rows(norms, subtests, looks_as_before):
    inputs, frame = norms
    sheet = norms_by_position.figure(inputs)
    looks_as_before("norms_by_position", sheet)
    (cells,) = sheet.panels
    centred = frame[list(LAYERS)] - frame.loc[frame["position"] > 0, list(LAYERS)].mean()
    for position in (0, 5):
        with subtests.test(position=position):
            mean = centred[frame["position"] == position].mean()
            np.testing.assert_allclose(cells.values[position], mean, atol=1e-6)
    # The first tokens, which are dropped, do not stretch the scale.
    assert cells.limits[1] < np.abs(cells.values[0]).max()
    # The last row is of positions 27 to 31, but no document is longer than 30 tokens; the title is
    # about what is not hatched.
    drift = np.expm1(
        centred[frame["position"] >= 27].mean() - centred[frame["position"] == 1].mean()
    )
    low, high = drift.idxmin(), drift.idxmax()
    assert sheet.claim == (
        f"From position 1 to 27–29, the mean norm of a layer changes by {drift[low]:+.0%} (layer "
        f"{low}) to {drift[high]:+.0%} (layer {high})"
    ).replace("-", "−")
    assert "Rows of fewer than 20 documents are left out. Hatched" in sheet.note
    alone = frame["document"] == "d00"
    one = with_sample(inputs, alone)
    assert "left out" not in norms_by_position.figure(one).note
    # Few documents, or none, may have tokens that are not dropped.
    for rows in (0, 1):
        with subtests.test(rows=rows):
            claim = norms_by_position.title_of(
                np.zeros((rows, 4)), np.arange(rows + 1), list(LAYERS)
            )
            assert claim == "Norms along the text"


def test_the_title_compares_positions_that_nearly_all_documents_reach(norms, tmp_path):
    """Of what only a few documents reach, the note says how many, and of which groups."""
    inputs, frame = norms
    rows = [Document(name, group, "words") for name, group in GROUPS_OF_DOCUMENTS.items()]
    pq.write_table(corpus_table(rows), tmp_path / "corpus.parquet")
    number = frame["document"].str[1:].astype(int)
    kept = (frame["position"] < 16) | (number % 2 == 0) | (number < 12)
    cut = with_sample(inputs, kept, corpus=tmp_path / "corpus.parquet")
    sheet = norms_by_position.figure(cut)
    assert sheet.claim.startswith("From position 1 to 13–15, ")
    assert "The last row is of 26 documents: prose and verse." in sheet.note
    assert norms_by_position.last_row_in_words(["code"] * 5 + ["mail", "law", "law", "news"]) == (
        "The last row is of 9 documents, 8 of them code, law and mail."
    )
    assert norms_by_position.last_row_in_words(["code"]) == "The last row is of 1 document."


def test_shares_of_variance_stand_beside_what_chance_gives(norms, looks_as_before):
    inputs, frame = norms
    rest = frame[frame["position"] > 0].rename(columns={2: "y"})
    centred = rest["y"] - rest["y"].mean()
    of_groups = smf.ols("y ~ C(group)", rest).fit().rsquared
    logs = rest[["y"]].rename(columns={"y": 2})
    assert shares_between(logs, rest["group"].to_numpy())[2] == pytest.approx(of_groups)
    speech = norms_by_part_of_speech.figure(inputs)
    looks_as_before("norms_by_part_of_speech", speech)
    explained, cells = speech.panels
    names = [row.partition(" (")[0] for row in cells.rows]
    # Every token of a word counts, as in the regressions.
    assert sorted(names) == ["noun", "verb"]
    place = names.index("noun")
    assert cells.rows[place] == f"noun ({(rest['upos'] == 'NOUN').sum():,})"
    noun = centred[rest["upos"] == "NOUN"].mean()
    tagged = centred[rest["upos"] != "none"]
    assert cells.values[place, 2] == pytest.approx(noun, abs=1e-6)
    most = smf.ols("y ~ C(upos)", rest.loc[tagged.index]).fit().rsquared
    assert f"to {most:.0%} of the variance" in speech.claim
    assert explained.lines[0].y[2] == pytest.approx(most)
    few = with_sample(inputs, frame.index < 10)
    assert norms_by_part_of_speech.figure(few).claim == "No part of speech has 20 tokens"
    nouns = frame.index[(frame["upos"] == "NOUN") & (frame["position"] > 0)]
    (_, enough) = norms_by_part_of_speech.figure(
        with_sample(inputs, frame.index.isin(nouns[:20]))
    ).panels
    assert enough.rows == ["noun (20)"]


def test_parts_of_speech_explain_their_number_less_one_of_the_tokens_by_chance(norms):
    """R² of k random classes of n tokens is (k − 1) / (n − 1) on average."""
    inputs, frame = norms
    kept = frame.index < 80
    few = with_sample(inputs, kept)
    tagged = kept & (frame["position"] > 0) & (frame["upos"] != "none")
    assert frame["upos"][tagged].nunique() == 2
    said = f"(by chance {1 / (tagged.sum() - 1):.1%})"
    assert norms_by_part_of_speech.figure(few).claim.endswith(said)


def test_surprisal_is_permuted_only_within_documents():
    random = np.random.default_rng(0)
    x, document = random.normal(size=60), random.integers(0, 5, 60)
    for draw in norms_by_surprisal.exchanged(x, document, 3):
        assert not np.array_equal(draw, x)
        for one in np.unique(document):
            assert sorted(draw[document == one]) == sorted(x[document == one])


@pytest.fixture(scope="module")
def over_surprisal(norms, tmp_path_factory):
    """Return the figure of norms by surprisal, and the tokens that it is drawn from."""
    inputs, frame = norms
    random = np.random.default_rng(1)
    # Layer 1 falls with surprisal, layer 3 rises with it.
    surprisal = 6 - 0.9 * frame[1] + 0.5 * frame[3] + random.normal(size=len(frame))
    frequency = random.normal(size=len(frame)) - 0.5 * surprisal
    folder = tmp_path_factory.mktemp("surprisal")
    files = {"norms": inputs.paths("norms")}
    for name, column, values in (
        ("surprisal", "surprisal", surprisal),
        ("token_properties", "log_frequency", frequency),
    ):
        files[name] = [folder / f"{name}.parquet"]
        tables.write_table(pa.table({column: values}), files[name][0], {})
    given = Inputs(Path(), Declared(files), inputs.settings)
    columns = {layer: f"y{layer}" for layer in LAYERS}
    tokens = frame[frame["position"] > 0].rename(columns=columns)
    return norms_by_surprisal.figure(given), tokens.assign(
        surprisal=surprisal, frequency=frequency, number=pd.factorize(tokens["document"])[0]
    )


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize(
    ("place", "terms"), [(1, ["surprisal"]), (2, ["surprisal", "frequency"])], ids=["alone", "both"]
)
def test_slopes_over_surprisal_are_those_of_least_squares(over_surprisal, layer, place, terms):
    """Errors are CR2's, clustered by document."""
    sheet, tokens = over_surprisal
    line = sheet.panels[1].lines[place]
    y, x = tokens[f"y{layer}"].to_numpy(), sm.add_constant(tokens[terms])
    slope = sm.OLS(y, x).fit().params["surprisal"]
    assert line.y[layer] == pytest.approx(slope, abs=1e-6)
    contrast = np.array([[float(name == "surprisal") for name in x]])
    covariance, (df,) = cr2(y, x.to_numpy(), tokens["number"].to_numpy(), [contrast])
    margin = stats.t.ppf(0.975, df) * np.sqrt((contrast @ covariance @ contrast.T).item())
    ends = line.low[layer], line.high[layer]
    assert ends == pytest.approx((slope - margin, slope + margin), rel=1e-5)


@pytest.mark.parametrize("layer", LAYERS)
def test_slopes_in_random_order_are_95_percent_of_100_draws_within_documents(over_surprisal, layer):
    sheet, tokens = over_surprisal
    order = sheet.panels[1].lines[0]
    surprisal, documents = tokens["surprisal"].to_numpy(), tokens["number"].to_numpy()
    draws = norms_by_surprisal.exchanged(surprisal, documents, 100)
    slopes = [np.polyfit(draw, tokens[f"y{layer}"], 1)[0] for draw in draws]
    expected = np.quantile(slopes, [0.025, 0.975])
    assert (order.low[layer], order.high[layer]) == pytest.approx(tuple(expected), rel=1e-5)


def test_the_title_has_the_steepest_slopes_in_percent_of_the_norm(over_surprisal):
    sheet, tokens = over_surprisal
    falling, rising = (np.polyfit(tokens["surprisal"], tokens[name], 1)[0] for name in ("y1", "y3"))
    assert sheet.claim.startswith(
        f"One more nat of surprisal changes the norm by −{-np.expm1(falling):.1%} (layer 1) to "
        f"+{np.expm1(rising):.1%} (layer 3); in random order, by −"
    )
    assert sheet.panels[1].lines[0].high[1] < 0.3 * abs(falling)


def bins_of(tokens):
    """Return the bin of each token: of equal size, from the lowest surprisal to the highest."""
    return (tokens["surprisal"].rank() - 1) * norms_by_surprisal.BINS // len(tokens)


def test_bins_of_surprisal_are_of_equal_size_and_layers_have_a_line_each(
    over_surprisal, looks_as_before
):
    sheet, tokens = over_surprisal
    looks_as_before("norms_by_surprisal", sheet)
    means, slopes = sheet.panels
    assert (means.xlabel, slopes.xlabel) == ("surprisal (nats)", "layer")
    centres = tokens["surprisal"].groupby(bins_of(tokens)).mean()
    np.testing.assert_allclose(means.x, centres, atol=1e-6)
    assert [line.label for line in means.lines] == [f"layer {layer}" for layer in LAYERS]


@pytest.mark.parametrize("layer", LAYERS)
def test_the_mean_of_a_bin_is_a_ratio_of_sums_over_its_documents(over_surprisal, layer):
    """Degrees of freedom are those of the effective number of documents."""
    sheet, tokens = over_surprisal
    line = sheet.panels[0].lines[layer]
    centred = tokens[f"y{layer}"] - tokens[f"y{layer}"].mean()
    for at, (_, rows) in enumerate(centred.groupby(bins_of(tokens))):
        documents = tokens["number"][rows.index]
        sums = (rows - rows.mean()).groupby(documents).sum()
        count = len(rows) ** 2 / (documents.value_counts() ** 2).sum()
        error = np.sqrt(count / (count - 1) * (sums**2).sum()) / len(rows)
        margin = stats.t.ppf(0.975, count - 1) * error
        expected = rows.mean(), rows.mean() - margin, rows.mean() + margin
        found = line.y[at], line.low[at], line.high[at]
        assert found == pytest.approx(expected, rel=1e-5, abs=1e-6)


def study(name, effects, estimate, term="lag_1"):
    table = pd.DataFrame({"regression": name, "layer": LAYERS, "term": term, "estimate": estimate})
    table = with_interval(table.assign(p_adjusted=[0.01, 0.2, 0.01, 0.01], vcov_type="cluster"))
    fits = pd.DataFrame({"layer": LAYERS, "r_squared": 0 * table["estimate"]})
    folder = Path(f"results/m/c/attention/{name}")
    stated = {"fixed_effects": effects}
    return {"folder": folder, "coefficients": table, "fits": fits, "stated": stated}


def test_regressions_are_named_by_what_they_hold_fixed():
    def drawn(*studies):
        sheet = specifications_by_layer.figure(of_regressions(*studies))
        (panel,) = sheet.panels
        return sheet.claim, [line.label for line in panel.lines], panel.lines

    two = study("a", "document", [0.2, 0.23, 0.23, 0.3]), study("b", "none", 0.32)
    claim, ends, lines = drawn(*two)
    line, _ = lines
    assert claim == (
        "Lag 1, median (range) over the layers: within documents 0.23 (0.20 to 0.30), "
        "pooled 0.32 (0.32)"
    )
    assert ends == ["within documents", "pooled"]
    # A filled mark is a test.
    assert line.weak.tolist() == [False, True, False, False]
    one, other = lines
    assert one.color != other.color
    assert one.linestyle == other.linestyle == "-"
    _, ends, _ = drawn(*two, study("c", "none", np.nan, "lead_1"))
    assert ends == ["within documents", "pooled (b)", "pooled (c) (lead 1, not fitted)"]
    # The title of many regressions has the smallest and the largest number.
    sizes = {"a": 0.3, "b": -0.5, "c": 0.4, "d": 0.1}
    claim, *_ = drawn(*(study(name, "none", size) for name, size in sizes.items()))
    assert claim == (
        "Lag 1, median (range) over the layers: pooled (b) −0.50 (−0.50; smallest), "
        "pooled (c) 0.40 (0.40; largest)"
    )


def of_classes(name, p_value, sizes, merged="", apart=0.1):
    """Return the figure of slopes and numbers of rows of classes."""
    table = grid(subset=sizes, layer=LAYERS).assign(term="lag_1", vcov_type="cluster")
    table["estimate"], table["n_obs"] = (table["subset"].map(sizes).str[n] for n in (0, 1))
    size, layer = table["estimate"], table["layer"]
    table = with_interval(table).assign(
        p_adjusted=0.001,
        difference=size - 0.3,
        difference_p_adjusted=np.where(layer == 1, 0.01, 0.4),
        median=size,
        median_low=size - 0.1,
        median_high=size + apart,
        level=0.95,
        equivalence=np.where(layer == 2, "absent", "present"),
    )
    tests = {"layer": LAYERS, "term": "lag_1", "p_adjusted": p_value, "merged": merged}
    settings = {"regression": TESTED | {"outcome": "norm"}, "property": name}
    inputs = inputs_of(
        stages={"classes": settings},
        equal_slopes=pd.DataFrame(tests),
        classes=table.assign(n_documents=3),
    )
    return slopes_by_class.figure(inputs)


def test_classes_are_rows_and_the_extremes_are_named():
    sizes = {"all": (0.3, 900), "PUNCT": (0.16, 300), "SPACE": (0.45, 500), "other": (0.9, 9)}
    sheet = of_classes("upos", 0.01, sizes, merged="X")
    shared, cells = sheet.panels
    assert sheet.claim == (
        "Layers in which lag 1 differs by part of speech: 4 of 4; weakest for punctuation (0.16), "
        "strongest for white space (0.45)"
    )
    near = of_classes("upos", 0.01, sizes, apart=0.5)
    assert near.claim == "Layers in which lag 1 differs by part of speech: 4 of 4"
    untested = of_classes("upos", np.nan, sizes, apart=0.5)
    assert untested.claim.startswith("Slopes by class of token: fewer than two classes have enough")
    assert cells.rows == ["white space (500)", "punctuation (300)"]
    assert "○ shown to be within ±0.05" in sheet.caption
    np.testing.assert_allclose(cells.values[:, 0], [0.15, -0.14])
    assert cells.weak[0].tolist() == [True, False, True, True]
    np.testing.assert_allclose(shared.lines[0].y, 0.3)
    one = {name: sizes[name] for name in ("all", "PUNCT")}
    assert not of_classes("upos", 0.01, one).panels


def test_thirds_of_a_number_are_drawn_in_order():
    sizes = {"all": (0.5, 900), "low": (0.5, 290), "middle": (0.5, 310), "high": (0.5, 300)}
    sheet = of_classes("surprisal", 0.3, sizes)
    assert sheet.panels[1].rows == ["low (290)", "middle (310)", "high (300)"]
    assert sheet.claim == "Layers in which lag 1 differs by surprisal: 0 of 4"


def heads(sink=0.7, lag=1.0, layers=LAYERS, mixers=None):
    estimates = {"0": 0.2, "1": 0.3, "10": 0.25, WHOLE: 0.23, ABOVE: 0.9}
    table = grid(layer=layers, part=["0", "1", "10", WHOLE])
    table = table.assign(share=0.5, sink=sink, sink_uniform=0.06, coherence=1.0, at_floor=0.0)
    lags = grid(layer=layers, part=estimates).assign(term="lag_1")
    lags["estimate"] = lag * lags["part"].map(estimates).astype(float)
    return inputs_of(
        stages={"heads_table": {"alpha": 0.05, "regression": "w", "equivalence_bound": 0.05}},
        model={"name": "m", "mixers": mixers or {}},
        heads=table,
        head_coefficients=lags,
    )


def test_heads_are_maps_of_what_was_measured(looks_as_before):
    sheet = heads_by_layer.figure(heads())
    looks_as_before("heads_by_layer", sheet)
    lag, share, sink = sheet.panels
    assert share.rows == ["0", "1", "10"]
    np.testing.assert_allclose(share.values, 50)
    np.testing.assert_allclose(lag.values[:, 0], [0.2, 0.3, 0.25])
    np.testing.assert_allclose(sink.values, 70)
    # One fact a title.
    assert sheet.claim.startswith("Lag 1 of single heads is 0.25, ")
    assert share.title == "one head has up to 50% of its layer's squared norms (33% if equal)"
    assert sink.title.startswith("the median head gives 70%")
    assert len(heads_by_layer.figure(heads(sink=np.nan)).panels) == 2
    without = heads_by_layer.figure(heads(lag=np.nan))
    assert without.claim.startswith("One head has up to 50% of ")
    assert len(without.panels) == 2
    assert heads_by_layer.figure(heads(layers=[])).claim == "No heads were found"


def test_layers_without_attention_are_marked_in_the_file_of_a_figure(tmp_path, subtests):
    drawing = {"titles": True, "sizes": ["page"], "formats": ["svg"]}
    marks = []
    for mixers in ({}, {"1": "Mamba"}):
        with subtests.test(mixers=mixers):
            names = {"model": "m", "corpus": "c"}
            files.draw_figure("heads_by_layer", heads(mixers=mixers), names, tmp_path, drawing)
            drawn = (tmp_path / "heads_by_layer.svg").read_text()
            assert ">m, c, attention" in drawn
            marks.append(drawn.count("<use "))
    # The panels share an axis.
    assert marks[1] == marks[0] + 1


def test_the_second_line_of_a_title_has_names_weights_and_extent(tmp_path):
    """The name of a pair of sites is in words."""
    drawing = {"titles": True, "sizes": ["page"], "formats": ["svg"]}
    names = {"model": "m", "corpus": "c", "pair": "attention"}
    inputs = effects(
        lambda table: table.assign(predictive=0.3), lambda sums: sums.assign(conf_low=-0.1)
    )
    inputs.models["m"]["bits"] = 4
    files.draw_figure("elasticities_by_layer", inputs, names, tmp_path, drawing)
    drawn = (tmp_path / "elasticities_by_layer.svg").read_text()
    assert ">m, c, attention · 4-bit weights · 13 documents<" in drawn
    across = effects()
    across.settings["target"] = "mlp"
    assert elasticities_by_layer.figure(across).names == {"pair": "attention to mlp"}


@pytest.mark.parametrize("layers", [4, 80])
def test_cells_of_heads_have_sixteen_pixels(layers):
    figure = heads_by_layer.figure(heads(layers=range(layers))).draw(TITLE, PAGE)
    figure.draw_without_rendering()
    for axes in figure.axes[::2]:
        box = axes.get_window_extent()
        # A page has 150 dots an inch.
        dots = 150 / figure.dpi
        assert box.height * dots / 3 >= 16
        assert box.width * dots / layers >= 16


def test_directions_are_beside_those_of_random_pairs():
    table = grid(layer=LAYERS, distance=(1, 2, 4)).assign(quantity="cosine_previous_centred")
    table["mean"] = 0.54 / table["distance"]
    table = table.assign(site="attention", untrained=np.nan)
    table["random_pairs"] = table["mean"] / 2
    table = with_interval(table, "mean").assign(tokens=9, documents=3)
    inputs = inputs_of(stages={"geometry_means": {"alpha": 0.05}}, directions=table)
    sheet = cosines_by_distance.figure(inputs)
    neighbours, distances = sheet.panels
    np.testing.assert_allclose(neighbours.lines[0].y, 0.54)
    np.testing.assert_allclose(neighbours.lines[1].y, 0.27)
    np.testing.assert_allclose(distances.values[:, 0], [0.54, 0.27, 0.135])
    assert "untrained" not in sheet.note
    assert sheet.claim.startswith(
        "Adjustments of neighbours have a centred cosine of 0.54, those 4 "
    )


def with_others(table):
    """Add effects of the same layers on another site, and of another site on these."""
    others = table.assign(estimate=9.0)
    return pd.concat(
        [others.assign(source_site="mlp"), table, others.assign(target_site="mlp")],
        ignore_index=True,
    )


def effects(changed=lambda table: table, summed=lambda sums: sums):
    """Return effects on later layers, of derivatives and of two finite interventions in layer 0."""
    sites = {"source_site": "attention", "target_site": "attention"}
    derivative = grid(target_layer=(1, 3), source_layer=LAYERS, lag=(0, 1))
    derivative = derivative.query("source_layer <= target_layer").assign(
        intervention="derivative",
        estimate=lambda t: 0.01 * t["source_layer"] + t["lag"] / 100,
        predictive=lambda t: 0.1 * t["target_layer"],
        predictive_conf_low=0.2,
        predictive_conf_high=0.4,
    )
    finite = grid(target_layer=(1, 2, 3), intervention=("halve", "zero"), lag=(0, 1))
    made = finite.assign(source_layer=0, estimate=0.2)
    table = pd.concat([derivative, made]).assign(source_site="attention", documents=13)
    table = with_others(with_interval(table.assign(target_site="attention")))
    # As the tables of a run are read.
    names = [*sites, "intervention"]
    table = table.astype(dict.fromkeys(names, "category"))
    sums = pd.DataFrame({"target_layer": [1, 3], "lag": 1, "estimate": [0.03, -0.01]}).assign(
        **{**sites, "conf_low": 0.0, "conf_high": 0.1, "coefficient": 0.3, "predicted": 0.2},
        **{"coefficient_conf_low": 0.2, "coefficient_conf_high": 0.4},
        **{"predicted_conf_low": -0.1, "predicted_conf_high": 0.5},
    )
    return inputs_of(
        {"source": "attention", "target": "attention"},
        {"elasticities": {"alpha": 0.05}},
        elasticities=changed(table),
        total_effects=summed(with_others(sums)),
    )


def test_predictions_and_effects_are_lines_for_each_target_layer():
    sheet = elasticities_by_layer.figure(effects())
    first, last, caused_first, caused_last, sums = sheet.panels
    assert [panel.title for panel in sheet.panels[:-1]] == [
        "predicted in layer 1",
        "predicted in layer 3",
        "caused in layer 1",
        "caused in layer 3",
    ]
    # Panels end at the last layer before the target.
    assert [list(panel.x) for panel in (first, last, caused_first)] == [[0], [0, 1, 2], [0]]
    (predicted,), (caused,) = last.lines, caused_last.lines
    np.testing.assert_allclose(caused.y, [0.01, 0.02, 0.03])
    np.testing.assert_allclose(caused.high, [0.11, 0.12, 0.13])
    np.testing.assert_allclose(predicted.y, 0.3)
    np.testing.assert_allclose([predicted.low, predicted.high], [[0.2] * 3, [0.4] * 3])
    # Effects are not lost on the scale of predictions.
    assert first.share == last.share == "predicted"
    assert caused_first.share == caused_last.share == "caused"
    of_sums = ((0.3, 0.3), (0.2, 0.2), (0.03, -0.01))
    for line, values in zip(sums.lines, of_sums, strict=True):
        np.testing.assert_allclose(line.y, values)
        # Observed layers lie apart: no line suggests those between them.
        assert line.bars
    assert list(sums.x) == [1, 3]
    assert sheet.claim == (
        "Earlier layers predict the next token's adjustment (one by at least 0.20% per 1%) and "
        "change it (each by at most 0.13%)"
    )
    # A single source layer has marks, because no line is drawn of one value.
    inputs = effects(
        lambda table: table.query("source_layer == 0"), lambda sums: sums.assign(predicted=np.nan)
    )
    alone = elasticities_by_layer.figure(inputs)
    assert all(line.bars for panel in alone.panels for line in panel.lines)
    labels = [line.label for line in sums.lines]
    assert labels == ["lag 1 of the layer", "predicted", "caused"]
    assert [line.label for line in alone.panels[-1].lines] == ["lag 1 of the layer", "caused"]
    nothing = effects(lambda table: table.iloc[:0])
    assert not elasticities_by_layer.figure(nothing).panels


def comparison(**estimates):
    table = pd.Series(estimates, name="estimate").rename_axis("model").explode().reset_index()
    table["layer"] = table.groupby("model").cumcount()
    table["depth"] = table["layer"] / table.groupby("model")["layer"].transform("max").clip(1)
    kind = {"corpus": "x", "term": "lag_1", "p_adjusted": 0.01, "vcov_type": "cluster"}
    return with_interval(table.astype({"estimate": float}).assign(**kind))


def sizes(**models):
    """Return the claims about lag 1 in models: its median and extremes over the layers."""
    claims = {}
    for model, (median, low, high) in models.items():
        extremes = Row("lag_range", "lag_1", baseline_low=low, baseline_high=high)
        claims[model, "x"] = Claims((Row("lag", "lag_1", value=median), extremes))
    return claims


def test_models_are_lines_over_their_own_depths():
    inputs = compared(comparison(a=[0.1, 0.3], b=[0.4, 0.2, -0.1]))
    inputs.models["a"]["mixers"] = {"1": "Mamba"}
    sheet = coefficients_by_depth.figure(inputs)
    assert sheet.extent == "20 documents"
    (panel,) = sheet.panels
    labels = ["a (2 layers, ◇ no attention)", "b (3 layers)"]
    assert [line.label for line in panel.lines] == labels
    np.testing.assert_allclose(panel.lines[1].x, [0, 0.5, 1])
    np.testing.assert_allclose(panel.lines[1].y, [0.4, 0.2, -0.1])
    assert sheet.claim == (
        "Lag 1, median (range) over the layers: a 0.20 (0.10 to 0.30), b 0.20 (−0.10 to 0.40)"
    )
    many = sizes(a=(0.1, 0, 1), b=(-0.2, -1, 0), c=(0.3, 0, 1), d=(0.2, 0, 1))
    assert coefficients_by_depth.title_of(many, "lag_1") == (
        "Lag 1, median (range) over the layers: b −0.20 (−1.00 to 0.00; smallest), "
        "c 0.30 (0.00 to 1.00; largest)"
    )


def test_twenty_models_have_distinct_line_styles():
    table = comparison(**{f"model{n}": [0.1] for n in range(20)})
    kinds = coefficients_by_depth.line_styles(table, {model: {} for model in table["model"]})
    assert len({(kind["color"], str(kind["linestyle"])) for kind in kinds.values()}) == 20


def test_shares_are_lines_of_means_and_so_is_the_title(subtests):
    names = ["first", "self", "previous_2", "previous_3", "previous_4", "rest", "bias"]
    means = {"previous_1": [0.2, 0.5, 0.1]} | {name: [0.1, 0.05, 0.12] for name in names}
    table = pd.DataFrame(means).melt(var_name="source", value_name="mean", ignore_index=False)
    shares = with_interval(table.rename_axis("layer").reset_index(), "mean")
    shares = shares.assign(tokens=9, documents=3)

    def drawn(shares, lags):
        stages = {"traced_table": {"alpha": 0.05, "regression": "within"}}
        return sources_by_layer.figure(inputs_of(stages=stages, shares=shares, lags=lags))

    sheet = drawn(shares, pd.DataFrame())
    by_title = {panel.title: panel.lines[0] for panel in sheet.panels}
    before = by_title["written by the token before"]
    np.testing.assert_allclose(before.y, [20, 50, 10])
    np.testing.assert_allclose(before.high, [30, 60, 20])
    further = by_title["written by 2 to 4 tokens before"]
    np.testing.assert_allclose(further.y, [30, 15, 36])
    assert not further.has_interval
    # Each kind of token has a panel, on the same scale.
    assert {panel.share for panel in sheet.panels} == {"shares"}
    assert len(sheet.panels) == 5
    assert sheet.claim == (
        "The token before writes on average 20% of an adjustment in the median layer, at most 50% "
        "in layer 1"
    )
    # A mark is a test, of which a share has none.
    assert all(line.weak is None for line in by_title.values())
    # Only parts with a lag have a label in the last panel, which is left out if none has one.
    lags = grid(part=sources_by_layer.LAGS_OF_PARTS, layer=range(3)).assign(term="lag_1")
    for unknown, labels in (
        ([], ["by all tokens", "by the token itself", "by earlier tokens"]),
        (["from_itself"], ["by all tokens", "by earlier tokens"]),
    ):
        with subtests.test(labels=labels):
            missing = lags["part"].isin(unknown) | (lags["layer"] == 1)
            lags["estimate"] = np.where(missing, np.nan, 0.2)
            *_, last = drawn(shares, with_interval(lags)).panels
            assert ([line.label for line in last.lines], last.missing) == (labels, [1])
    unknown = with_interval(lags.assign(estimate=np.nan))
    alone = drawn(shares, unknown)
    assert (len(alone.panels), "Coefficients" in alone.note) == (5, False)
    # One document gives no intervals.
    for panel in drawn(shares.assign(conf_low=np.nan, conf_high=np.nan), unknown).panels:
        assert not any(line.has_interval for line in panel.lines)


def test_one_layer_far_below_the_others_does_not_set_the_scale_of_readout(looks_as_before):
    table = grid(target=("own", "next", "top1"), layer=LAYERS)
    table["difference"] = table["layer"] / 10
    table.loc[0, "difference"] = -1.4
    table = with_interval(
        table.assign(p_adjusted=0.01, site="attention", untrained=0.01), "difference"
    )

    def panel_of(readout):
        inputs = inputs_of(
            stages={"traced_table": {"alpha": 0.05, "adjust": "holm"}},
            readout=readout.assign(tokens=9, documents=3),
        )
        return readout_by_layer.figure(inputs).panels[0]

    panel = panel_of(table)
    assert panel.ylim == (-0.2, None)
    figure = Sheet("c", LAYERS, [panel], "").draw("T\ns", PAGE)
    looks_as_before("readout_by_layer_cut", figure)
    assert "layer 0 ↓ −1.40" in texts_of(figure)
    labels = [line.label for line in panel.lines if line.label]
    assert labels == ["the token itself", "the next token", "the model's first choice"]
    assert panel.direct
    assert panel_of(table.assign(conf_low=-0.3)).ylim == (None, None)
    # A point whose band alone is cut off is seen.
    panel = panel_of(table.assign(difference=table["difference"].clip(lower=-0.15)))
    assert (panel.ylim, panel.extra) == ((-0.2, None), None)
    # Beside the last layer, there is room on the left.
    panel = panel_of(table.assign(layer=3 - table["layer"]))
    figure = Sheet("c", LAYERS, [panel]).draw("", PAGE)
    figure.draw_without_rendering()
    (axes,) = figure.axes
    assert axes.get_window_extent().width > 0.6 * figure.bbox.width
    (name,) = (text for text in axes.texts if "↓" in text.get_text())
    assert name.get_window_extent().x1 < axes.get_window_extent().x1


def test_the_catalogue_of_figures_matches_the_modules():
    found = catalogue.figures()
    modules = catalogue.FOLDER.glob("*.py")
    drawing = {path.stem for path in modules if "\ndef figure(" in path.read_text()}
    assert {figure.name for figure in found} == drawing
    needs = {figure.needs for figure in found}
    # Any other need would never be met.
    assert needs <= {"", "groups", "tags", "regressions", "revisions", "sources", *OPTIONAL}


# Places of figures in Snakemake's report.
PLACES = {
    "coefficients": {
        "as_in_the_post": "as in the post",
        "coefficients_by_layer": "by layer",
        "coefficients_by_step": "by step of training",
        "groups_by_layer": "by group of documents",
        "sites_by_layer": "sites side by side",
        "slopes_by_class": "by class of tokens",
        "specifications_by_layer": "all regressions",
    },
    "norms": {
        "norms_by_layer": "by layer",
        "norms_by_part_of_speech": "by kind of token",
        "norms_by_position": "by position",
        "norms_by_surprisal": "by surprisal",
    },
    "directions": {
        "cosines_by_distance": "cosines",
        "heads_by_layer": "heads",
        "readout_by_layer": "readout",
        "sources_by_layer": "sources",
    },
    "comparison": {"coefficients_by_depth": "by relative depth"},
    "diagnostics": {"diagnostics": "residuals and influence"},
    "interventions": {"elasticities_by_layer": "elasticities"},
}


def test_each_figure_has_its_place_in_the_report():
    found = {}
    for figure in catalogue.figures():
        found.setdefault(figure.category, {})[figure.name] = figure.subcategory
    assert found == PLACES


def test_two_figures_are_drawn_on_request_alone():
    assert ON_REQUEST == ("as_in_the_post", "diagnostics")


def test_each_stage_that_draws_has_a_folder_of_figures_of_its_own():
    folders = TABLE["figures"].values()
    assert len(set(folders)) == len(folders)
    assert set(TABLE["figures"]) == {figure.drawn_by for figure in catalogue.figures()}


def test_the_subtitle_of_several_models_names_those_with_quantised_weights():
    assert weights_in_words([{"name": "a", "bits": 4}, {"name": "b"}]) == "a: 4-bit weights"
