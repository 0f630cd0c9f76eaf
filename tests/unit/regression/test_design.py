"""Designs against their literal definition, and their moments over shards and halves."""

import re
import tempfile
from itertools import chain
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from designs import (
    TERMS,
    batches_of,
    changed,
    design_settings,
    design_table,
    norms_table,
    one_alive,
    pieces_of,
    sequences_of,
)
from fits import assert_alike, fit_settings, joined_of, layers_of, moments_of, regressed, stored_of
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from oracles import first_halves, lags_of, spline

from attnlag.corpus.catalogue import FILES, TAGS
from attnlag.errors import UserError
from attnlag.quantities import columns
from attnlag.regression import covariates
from attnlag.regression.covariates import CATALOGUE
from attnlag.regression.design import design
from attnlag.regression.design.counts import Counts
from attnlag.regression.design.design import Formula
from attnlag.regression.inference import fitting
from attnlag.regression.moments import packed_files
from attnlag.regression.moments.moments import Stored, write_design
from attnlag.regression.settings import DesignSettings
from attnlag.storage import tables

GROUPS = ["prose", "code", "letters"]
COVARIATES = ("position", "log_frequency", "group", "upos", "upos_previous", "word_initial")
COVARIATES += ("surprisal", "previous_layer")
KNOTS = (1, 3, 5, 9)
RECORD = {"model": {"name": "m"}, "corpus": {"name": "c"}, "stages": {}}


def norms_of_windows(documents, values):
    """Return norms, (tokens, layers), of documents, given the lengths of the windows of each."""
    token_ids = np.random.default_rng(0).integers(0, 7, len(values))
    return norms_table(sequences_of(documents), values.T.astype(np.float32), token_ids)


def facts_of(folder, table, names=COVARIATES):
    """Return facts of a corpus that holds the table, some documents in each group."""
    ids, numbers = np.unique(table["token_id"].to_numpy(), return_counts=True)
    # The corpus may be larger than the shard, in another order than its groups.
    documents = [*dict.fromkeys(table["document"].to_pylist()), "elsewhere"]
    groups = [GROUPS[place % 3] for place in range(len(documents))]
    tables = {
        "token_counts": pa.table({"token_id": ids, "count": numbers}),
        "corpus": pa.table({"document": documents, "group": groups}),
        **dict.fromkeys(FILES, changed(table, properties_of(table["token_id"].to_numpy()))),
    }
    files = {name: folder / f"{name}.parquet" for name in tables}
    for name, path in files.items():
        pq.write_table(tables[name], path)
    return Formula.read(design_settings(covariates=names), files).lookups


def properties_of(token_ids):
    """Return properties of tokens, of which some have no surprisal, or no part of speech."""
    upos = np.where(token_ids == 5, None, np.array(TAGS)[token_ids])
    surprisal = np.where(token_ids == 3, np.nan, token_ids / 4)
    return {"upos": upos, "word_initial": token_ids % 2 == 0, "surprisal": surprisal}


def build(table, settings, rows=1000, facts=()):
    counts, formula = Counts(), Formula(settings, dict(facts))
    parts = list(design.designs(batches_of(table, rows), formula, counts))
    schema = formula.schema(columns.layers_in(table.schema))
    assert all(part.schema == schema for part in parts)
    return pa.Table.from_batches(parts, schema), counts


def by_definition(table, spec, facts):
    """Return the design by shifts of whole columns, NaN where a layer drops the row."""
    frame = table.to_pandas()
    document, position = frame["document"].astype(str), frame["position"]
    sequence = frame.groupby(["document", "window"], observed=True).ngroup()
    known = position.where(position >= spec.drop_first)
    of_layer_before = "previous_layer" in spec.covariates
    around = lags_of(known, sequence, {*spec.lags, *[1] * of_layer_before}, spec.leads)
    found, before = frame[columns.KEYS], known * np.nan
    for name in columns.layers_in(table.schema):
        norms = frame[name].astype(float)
        logs = np.log(norms.where((norms > 0) & np.isfinite(norms)))
        terms = lags_of(logs, sequence, spec.lags, spec.leads)
        if of_layer_before:
            terms[["previous_layer", "previous_layer_lag_1"]] = lags_of(before, sequence, (1,))
        terms[terms.isna().any(axis=1)] = np.nan
        found, before = found.join(terms.add_prefix(f"{name}.")), logs
    if "position" in spec.covariates:
        found = found.assign(**spline(position, spec.position_knots))
    token, own = frame["token_id"], properties_of(frame["token_id"].to_numpy())
    if "log_frequency" in spec.covariates:
        found["log_frequency"] = np.log(token.map(token.value_counts(normalize=True)))
    if "group" in spec.covariates:
        group = np.array(GROUPS)[document.str[1:].astype(int) % 3]
        for other in sorted(set(facts["group"].values()))[1:]:
            found[f"group_{other}"] = (group == other).astype(float)
    before = lags_of(token, sequence, (1,))["lag_1"]
    for name, of_token in (("upos", token), ("upos_previous", before)):
        if name in spec.covariates:
            dummies = {f"{name}_{tag}": of_token == number for number, tag in enumerate(TAGS)}
            found = found.assign(**dummies).astype(dict.fromkeys(dummies, float))
            found.loc[of_token.isna() | (of_token == 5), [*dummies]] = np.nan
    for name in ("word_initial", "surprisal"):
        if name in spec.covariates:
            found[name] = own[name].astype(float)
    return found[around.notna().all(axis=1)].reset_index(drop=True)


DISTANCES = st.lists(st.integers(1, 4), max_size=3, unique=True).map(sorted)


@given(
    documents=st.lists(st.lists(st.integers(1, 12), min_size=1, max_size=3), max_size=6),
    lags=DISTANCES,
    leads=DISTANCES,
    covariates=st.sets(st.sampled_from(COVARIATES)),
    drop_first=st.integers(0, 2),
    rows=st.integers(1, 40),
    spoiled=st.lists(
        st.tuples(st.integers(0, 10**6), st.sampled_from([0, np.inf, np.nan])), max_size=6
    ),
)
@example([[9, 4], [5]], [], [1], {"upos_previous", "surprisal"}, 0, 5, [])
def test_the_design_equals_its_literal_definition(
    documents, lags, leads, covariates, drop_first, rows, spoiled
):
    """Lags and leads never cross the bounds of a window."""
    lengths = list(chain(*documents))
    values = np.random.default_rng(len(lengths)).lognormal(size=(sum(lengths), 3))
    for place, value in spoiled if lengths else []:
        values.flat[place % values.size] = value
    table = norms_of_windows(documents, values)
    spec = design_settings(lags, leads, covariates, position_knots=KNOTS, drop_first=drop_first)
    with tempfile.TemporaryDirectory() as folder:
        facts = facts_of(Path(folder), table, covariates)
    found, counts = build(table, spec, rows, facts)
    whole = by_definition(table, spec, facts)
    # Rows that lack a covariate are left out.
    shared = [name for name in whole if not name.startswith("layer_")]
    expected = whole.dropna(subset=shared).reset_index(drop=True)
    close = {"rtol": 1e-13, "atol": 1e-14, "check_dtype": False, "check_categorical": False}
    pd.testing.assert_frame_equal(found.to_pandas(), expected, **close)
    assert [column.null_count for column in found.columns] == expected.isna().sum().tolist()
    assert counts.incomplete_rows == len(whole) - len(expected)
    with_rows = len(whole[["document", "window"]].drop_duplicates())
    first = 1 if "previous_layer" in covariates else 0
    fewest = 1 + drop_first + max([*lags, first]) + max([*leads, 0])
    found = counts.sequences, counts.short_sequences, counts.longest_sequence, counts.fewest_tokens
    longest = max(lengths, default=0)
    assert found == (len(lengths), len(lengths) - with_rows, longest, fewest if lengths else 0)
    assert counts.dropped_rows == {
        name: number
        for name in columns.layers_in(table.schema)[first:]
        if (number := expected[f"{name}.y"].isna().sum())
    }
    assert sum(counts.zero_norms.values()) == (values == 0).sum()
    assert sum(counts.nonfinite_norms.values()) == (~np.isfinite(values)).sum()


@pytest.mark.parametrize(
    ("covariate", "problem"),
    [
        ("log_frequency", "which the token counts lack"),
        ("group", "found the document 'd1', which the corpus lacks"),
        ("upos", "found no upos of the document 'd0', window 0, position 3"),
    ],
)
def test_a_token_or_document_that_a_file_lacks_is_refused(covariate, problem, tmp_path):
    table = norms_of_windows([[8], [8]], np.ones((16, 2)))
    spec = design_settings((1,), covariates=(covariate,))
    build(table, spec, facts=facts_of(tmp_path, table))
    with pytest.raises(UserError, match=problem):
        build(table, spec, facts=facts_of(tmp_path, table.slice(0, 3)))


@pytest.fixture(params=[(a, b) for a in ("norm", "relative") for b in (False, True)], ids=str)
def written(request, tmp_path, monkeypatch):
    """Return what one pass over norms writes, and what it should: a relative design is of ratios.

    Batches end within documents, which may have windows, no rows, or tokens without surprisal. One
    batch of rows is in memory at a time. Both files of norms hold numbers that have no logarithm,
    and are cut at other rows.
    """
    outcome, halves = request.param
    documents, random = [[9, 20], [2], [31], [3], [5, 1, 6], [1]], np.random.default_rng(1)
    norms, stream = random.lognormal(size=(2, 78, 2)).astype(np.float32)
    norms[12, 0], norms[41, 1] = 0, np.inf
    stream[20, 0], stream[21, 1], stream[52, 1] = 0, np.inf, np.nan
    for name, values, rows in (("norms", norms, 78), ("stream", stream, 11)):
        table = norms_of_windows(documents, values)
        table = table.replace_schema_metadata(tables.metadata(RECORD))
        pq.write_table(table, tmp_path / name, row_group_size=rows)
    terms = DesignSettings(lags=[1, 2], outcome=outcome, covariates=["surprisal"])
    facts = facts_of(tmp_path, table)
    files = [tmp_path / name for name in ("norms", "stream", "design", "crossproducts")]
    if outcome == "relative":
        norms = np.where(np.isfinite(stream) & (stream > 0), norms / np.where(stream, stream, 1), 0)
    else:
        files[1] = None
    plain = design_settings((1, 2), covariates=["surprisal"])
    expected, expected_counts = build(norms_of_windows(documents, norms), plain, facts=facts)
    monkeypatch.setattr(tables, "ROWS_AT_ONCE", 7)
    batches = one_alive(monkeypatch, design, "_design_of")
    counts = write_design(*files, Formula(terms, facts), halves=halves)
    return SimpleNamespace(
        outcome=outcome,
        halves=halves,
        design=files[2],
        crossproducts=files[3],
        frame=pq.read_table(files[2]).to_pandas(),
        counts=counts,
        batches=batches,
        expected=expected.to_pandas(),
        expected_counts=expected_counts,
    )


def test_one_pass_over_norms_gives_a_design_a_batch_at_a_time(written):
    assert len(written.batches) == 4
    pd.testing.assert_frame_equal(written.frame, written.expected, rtol=1e-6, atol=1e-6)


def test_rows_that_a_pass_drops_are_counted_by_reason(written):
    assert written.counts.incomplete_rows == written.expected_counts.incomplete_rows > 3
    assert written.counts.dropped_rows == written.expected_counts.dropped_rows
    assert written.counts.zero_norms == {"layer_00": 1}
    without = {"layer_01": 1} if written.outcome == "norm" else {"layer_00": 1, "layer_01": 3}
    assert written.counts.nonfinite_norms == without


def test_a_fit_counts_the_rows_and_the_dropped_rows_of_all_shards(written):
    """As if there were two shards of these rows."""
    shards = [written.crossproducts] * 2, [written.design] * 2
    group_of = dict.fromkeys(["d0", "d2", "d4"], "one")
    goodness = fitting.fit_regression(*shards, group_of, fit_settings()).goodness
    dropped = written.frame[["layer_00.y", "layer_01.y"]].isna().sum()
    assert goodness["n_dropped"].tolist() == (2 * dropped).tolist()
    assert goodness["n_obs"].tolist() == (2 * (len(written.frame) - dropped)).tolist()


def test_a_pass_writes_the_cross_products_of_each_document_or_its_halves(written):
    frame, stored = written.frame, Stored([written.crossproducts])
    assert stored[0].clusters == list(frame["document"].unique()) == ["d0", "d2", "d4"]
    first = first_halves(frame["document"].astype(str))
    for layer, own in enumerate(stored):
        names = [f"layer_0{layer}.{term}" for term in TERMS] + ["surprisal"]
        for cell, half in enumerate([first, ~first] if written.halves else [first | True]):
            for name, s in zip(own.clusters, own.products[cell], strict=True):
                values = frame.loc[half & (frame["document"] == name), names].dropna().to_numpy()
                w = np.column_stack([np.ones(len(values)), values - own.centre[1:]])
                assert_allclose(s, w.T @ w, atol=1e-12)


def test_logarithms_are_stored_as_they_are_and_what_repeats_in_a_packed_form(written):
    group = pq.read_metadata(written.design).row_group(0)
    for column in map(group.column, range(group.num_columns)):
        is_term = column.path_in_schema.startswith("layer_")
        assert column.compression == ("UNCOMPRESSED" if is_term else "ZSTD")
        assert ("RLE_DICTIONARY" in column.encodings) == (not is_term)
        assert not column.is_stats_set


OWNERS = {
    "position_12": "position",
    "log_frequency": "log_frequency",
    "group_a b": "group",
    "previous_layer_lag_1": "previous_layer",
    **dict.fromkeys(["y", "lag_1", "position_", "position_x"]),
    **dict.fromkeys(["group_", "log_frequencyx"]),
}


@pytest.mark.parametrize(("term", "owner"), OWNERS.items())
def test_a_term_belongs_to_one_covariate_by_its_name_or_to_none(term, owner):
    assert bool(re.fullmatch(covariates.term_pattern(), term)) == bool(owner)
    matching = [name for name in CATALOGUE if re.fullmatch(covariates.term_pattern([name]), term)]
    assert matching == [owner] * bool(owner)


@given(
    lengths=st.lists(st.integers(1, 20), min_size=1, max_size=12),
    rows=st.integers(1, 60),
    cuts=st.lists(st.integers(0, 12), max_size=3),
    halves=st.booleans(),
    effects=st.booleans(),
    mean=st.sampled_from([100.0, 1e6]),
)
@example([9, 4, 6, 3], 60, [0], False, False, 1e6)
def test_shards_and_batches_change_nothing(lengths, rows, cuts, halves, effects, mean):
    """A shard may have no rows and no means. Moments about zero would lose most of their digits."""
    table = design_table(lengths, 2, mean=mean, missing=0.1 if mean == 100 else 0)
    whole = layers_of(table, halves=halves, effects=effects)
    joined = joined_of(moments_of(part, rows, halves) for part in pieces_of(table, *cuts))
    joined = regressed(joined, effects)
    assert joined[0].clusters == [f"d{i}" for i in range(len(lengths))]
    assert_alike(joined, whole, "clusters", "documents", "centre", rtol=1e-13, atol=1e-13)
    assert_alike(joined, whole, "products", "total", rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("effects", [False, True])
def test_each_document_of_two_shards_is_a_cluster(monkeypatch, tmp_path, effects, subtests):
    """Some of the documents are left out, and groups of them added up.

    The shard before these has no rows, so no means: moments about zero would lose digits.
    """
    monkeypatch.setattr(packed_files, "BLOCK_BYTES", 2000)
    table = design_table(np.random.default_rng(1).integers(1, 9, 60).tolist(), 2, mean=1e6)
    stored = stored_of(pieces_of(table, 0, 25), tmp_path / "shards", halves=True)
    thirds = {f"d{i}": f"third {i % 3}" for i in range(60)}
    chosen = {"every": list(thirds), "some": [f"d{i}" for i in range(60) if i % 5]}
    for name, documents in chosen.items():
        with subtests.test(documents=name):
            read, in_memory = (
                regressed([layer.only(documents) for layer in layers], effects)
                for layers in (stored, moments_of(table, halves=True))
            )
            assert_alike(read, in_memory, "clusters", "documents", "products", "total", atol=1e-10)
            for one, other in zip(read, in_memory, strict=True):
                assert (one.clusters, one.documents) == (documents, len(documents))
                grouped, expected = one.by_group(thirds), other.by_group(thirds)
                assert grouped.clusters == ["third 0", "third 1", "third 2"]
                assert_allclose(grouped.products, expected.products, atol=1e-10)
                for place in range(3):
                    members = [n for n, name in enumerate(documents) if int(name[1:]) % 3 == place]
                    assert_allclose(
                        grouped.products[:, place], one.products[:, members].sum(axis=1), atol=1e-10
                    )


@pytest.mark.parametrize("halves", [False, True])
def test_moments_are_read_back_as_they_were_written(tmp_path, halves):
    table = design_table([9, 4, 6, 3], 3, missing=0.2)
    expected = moments_of(table, rows=7, halves=halves)
    options = {"outcome": "parallel", "rows": 7, "halves": halves}
    again = stored_of([table], tmp_path / "shards", **options)
    path = tmp_path / "shards/0000.parquet"
    frame = pq.read_table(path).to_pandas()
    assert frame["document"].tolist() == list(np.repeat([f"d{i}" for i in range(4)], 1 + halves))
    rows = np.max([layer.products[..., 0, 0].T for layer in expected], axis=0)
    assert frame["n"].tolist() == rows.reshape(-1).tolist()
    assert (again.layers, again.terms) == ([0, 1, 2], TERMS)
    # The shards of a large corpus do not stay in memory one by one.
    assert again[0] is not again[0]
    kept = Stored([path], keep=True)
    assert kept[0] is kept[0]
    assert_alike(
        again, expected, "layer", "terms", "clusters", "documents", "above", "centre", "products"
    )
    assert {(layer.outcome_is_logarithm, len(layer.products)) for layer in again} == {
        (False, 1 + halves)
    }
    plain = moments_of(table, rows=7)
    assert_alike([layer.whole_documents() for layer in again], plain, "products", atol=1e-12)
