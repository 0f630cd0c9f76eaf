"""Shares, sinks, lags and the floor of attention heads, against pandas and statsmodels."""

import json
from functools import partial

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from designs import HEADS, one_alive
from fits import lags_of_norms
from numpy.testing import assert_allclose
from scipy import stats

from attnlag import wording
from attnlag.claims.heads import claims_of_heads
from attnlag.corpus.catalogue import FILES
from attnlag.quantities import columns, formats, head_shares
from attnlag.quantities.head_shares import ABOVE, WHOLE
from attnlag.regression.design import samples
from attnlag.regression.design.design import Formula
from attnlag.regression.slopes import lags_of_parts
from attnlag.storage import tables
from attnlag.storage.sequences import TokenSequence

LENGTHS = (30, 24, 41, 19, 33, 27, 38, 22, 29)
THREE = ["0", "1", "2"]
PARTS = [*THREE, WHOLE, ABOVE]
SINKS = ["sink0", "sink1", "sink2"]
CONTROLS = ["untrained", "trained"]

HEADS_TABLE = {"regression": "within", "equivalence_bound": 0.05}


def drawn(random, lengths):
    """Return norms of three heads, (2 layers, tokens, 3), and of their sum.

    A third of the tokens of layer 1 lie at the floor, the norms of their first token.
    """
    tokens = sum(lengths)
    of_heads = random.lognormal(size=(2, tokens, 3))
    # What each takes over from the one before.
    of_heads[:, 1:] *= of_heads[:, :-1] ** 0.4
    first = np.repeat(np.cumsum(lengths) - lengths, lengths)
    low = random.random(tokens) < 1 / 3
    near = of_heads[1][first] * random.uniform(0.97, 1.03, (tokens, 3))
    of_heads[1] = np.where(low[:, None], near, of_heads[1])
    whole = np.sqrt((of_heads**2).sum(axis=-1)) * random.uniform(0.5, 1.2, (2, tokens))
    return of_heads.astype(np.float32), whole.astype(np.float32)


def layer_of(keys, of_heads, whole):
    """Return the norms of a layer by part, and which tokens are at the floor."""
    frame = keys.assign(**dict(zip(THREE, of_heads.T, strict=True)), **{WHOLE: whole})
    first = frame.groupby("document")[THREE].transform("first")
    apart = ((frame[THREE] - first) ** 2).sum(axis=1) / (first**2).sum(axis=1)
    frame["floor"] = (apart < 0.01) & (frame["position"] > 0)
    return frame.assign(**{ABOVE: frame[WHOLE].where(~frame["floor"])})


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Return files of two shards and of random weights, and the rows of each layer of both."""
    folder = tmp_path_factory.mktemp("heads")
    random = np.random.default_rng(0)
    paths, frames = {"heads": [], "norms": [], "sinks": []}, []

    def store(kind, values, sequences):
        """Store numbers of tokens as an extraction does."""
        run = [TokenSequence(name, 0, np.arange(n, dtype=np.int32)) for name, n in sequences]
        schema = columns.schema(2, 3 if values.ndim == 3 else None)
        paths[kind].append(folder / f"{kind}{len(paths[kind])}.parquet")
        table = formats.table(run, list(values), schema, "float32")
        record = {"stages": {"extraction": {"used": {"dtype": "float32"}}}}
        table = table.replace_schema_metadata({tables.METADATA_KEY: json.dumps(record)})
        pq.write_table(table, paths[kind][-1], row_group_size=50)

    for chosen in (range(5), range(5, 9), range(1, 9)):
        sequences = [(f"d{i}", LENGTHS[i]) for i in chosen]
        rows = [(name, place) for name, n in sequences for place in range(n)]
        keys = pd.DataFrame(rows, columns=["document", "position"])
        of_heads, whole = drawn(random, [n for _, n in sequences])
        layers = [layer_of(keys, *own) for own in zip(of_heads, whole, strict=True)]
        # Scores are known for the first eight tokens of every second document.
        some = [(name, 8) for name, _ in sequences[::2]]
        sinks = random.uniform(0.2, 0.6, (2, 8 * len(some), 3)).astype(np.float32)
        at = keys["document"].isin(dict(some)) & (keys["position"] < 8)
        layers[1].loc[at, SINKS] = sinks[1]
        frames.append(layers)
        store("heads", of_heads, sequences)
        store("norms", whole, sequences)
        store("sinks", sinks, some)
    layers = [pd.concat(parts, ignore_index=True) for parts in zip(*frames[:2], strict=True)]
    return paths, layers, frames[2]


def sources(paths, shards=(0, 1)):
    formula = Formula(HEADS.design, {})
    return [lags_of_parts.HeadNorms(paths["heads"][i], paths["norms"][i], formula) for i in shards]


def like_layers(layers, settings=HEADS):
    """Return the coefficients of parts as if each were a layer: all are one family of tests."""
    norms = np.concatenate([layer[PARTS].to_numpy().T for layer in layers])
    return lags_of_norms(layers[0]["document"], norms, settings).drop(columns="layer")


def test_heads_are_regressed_like_layers(files):
    """Both shards are used together, with random weights as a control."""
    paths, layers, random = files
    (untrained,) = sources(paths, [2])
    table = lags_of_parts.fit_heads(sources(paths), HEADS, random=untrained)
    assert table["part"].tolist() == list(np.repeat(PARTS, 2)) * 2
    expected = like_layers(layers)
    pd.testing.assert_frame_equal(table[expected.columns], expected, rtol=1e-6)
    # The control lacks a document, and has no part above the floor.
    same = [layer[layer["document"] != "d0"] for layer in layers]
    numbers = (like_layers(own)["estimate"] for own in (random, same))
    controls = pd.DataFrame(dict(zip(CONTROLS, numbers, strict=True))).where(table["part"] != ABOVE)
    pd.testing.assert_frame_equal(table[CONTROLS], controls, rtol=1e-6)
    # The correction of bias is not that of the control.
    halves = HEADS.changed(halves=True)
    corrected = lags_of_parts.fit_heads(sources(paths), halves, random=untrained)
    assert_allclose(corrected[CONTROLS], table[CONTROLS])
    assert not np.isclose(corrected["estimate"], table["estimate"], atol=1e-4).any()


def test_heads_use_clustered_errors_and_no_controls_if_none_are_set(files):
    """The settings have errors from residuals."""
    paths, _, _ = files
    settings = HEADS.changed(covariance="hac", halves=True)
    table = lags_of_parts.fit_heads(sources(paths), settings)
    assert table[CONTROLS].isna().all(axis=None)
    assert set(table["vcov_type"]) == {"cluster"}
    assert table["p_adjusted"].notna().all()


def test_shares_floors_and_sinks_equal_those_of_pandas(files, subtests):
    paths, layers, _ = files
    given = [paths[kind][:2] for kind in ("heads", "norms", "sinks")]
    table = head_shares.table(*given, given[0], drop_first=1)
    assert table["part"].tolist() == PARTS[:-1] * 2
    found = table.set_index(["layer", "part"])
    for layer, rows in enumerate(layers):
        kept = rows[rows["position"] >= 1]
        squares, row = kept[THREE].astype(float) ** 2, found.loc[(layer, WHOLE)]
        assert row["at_floor"] == pytest.approx(kept["floor"].mean())
        coherence = (kept[WHOLE].astype(float) ** 2).sum() / squares.sum().sum()
        assert row["coherence"] == pytest.approx(coherence, rel=1e-6)
        shares = (squares.sum() / squares.sum().sum()).tolist()
        assert found.loc[layer]["share"][:3].tolist() == pytest.approx(shares)
    sampled = kept.dropna(subset=SINKS)
    assert found.loc[1]["sink"][:3].tolist() == pytest.approx(sampled[SINKS].mean().tolist())
    for column, tokens in (("sink_at_floor", sampled["floor"]), ("sink_above", ~sampled["floor"])):
        with subtests.test(column=column):
            assert row[column] == pytest.approx(
                sampled.loc[tokens, SINKS].mean(axis=None), rel=1e-6
            )
    assert row["sink_uniform"] == pytest.approx((1 / (sampled["position"] + 1)).mean())
    assert row["sink_tokens"] == len(sampled) == 35
    lags = lags_of_parts.fit_heads(sources(paths), HEADS)
    text = "; ".join(wording.texts([*claims_of_heads(table, lags, HEADS_TABLE)], "finding"))
    share = row["at_floor"]
    assert 0.3 < share < 0.45
    assert f"; {share:.0%} in layer 1; " in text
    assert f"give {row['sink_at_floor']:.0%} of their attention to the first token" in text
    # They are fewer than half of the layer's tokens, and are not called most.
    assert "where most" not in text


def test_a_sample_of_documents_stands_for_a_large_corpus(files, tmp_path):
    """One of the shards has none of them. Attention to first tokens is that of all shards."""
    paths, layers, _ = files
    given = {kind: paths[kind][:2] for kind in ("heads", "norms", "sinks")}
    others = {name: [] for name in (*FILES, "untrained")}
    # They are too few for clustered errors.
    settings = HEADS.changed(covariance="nonrobust")
    documents = ["d0", "d1", "d3", "d4"]
    of_heads = samples.copied(given["heads"], documents, tmp_path / "heads")
    norms = samples.copied(given["norms"], documents, tmp_path / "norms")
    in_sinks = [f"d{number}" for number in (0, 2, 4, 5, 7)]
    sequences = samples.copied(given["heads"], in_sinks, tmp_path / "sequences")
    found = head_shares.table(of_heads, norms, given["sinks"], sequences, drop_first=1)
    every = head_shares.table(*given.values(), given["heads"], drop_first=1)
    sinks = [name for name in head_shares.SHARE_COLUMNS if name.startswith("sink")]
    pd.testing.assert_frame_equal(found[sinks], every[sinks])
    some = layers[1][layers[1]["document"].isin(documents)].reset_index(drop=True)
    squares = some.loc[some["position"] >= 1, THREE].astype(float) ** 2
    shares = found.set_index(["layer", "part"]).loc[1, "share"][:3]
    assert_allclose(shares, squares.sum() / squares.sum().sum())
    sample = lags_of_parts.SampledFiles(of_heads, norms, sequences, documents)
    table = lags_of_parts.fit_head_files(sample, given | others, settings)
    numbers, expected = ["rows", "estimate", "std_error"], like_layers([some], settings)
    assert_allclose(table.loc[table["layer"] == 1, numbers], expected[numbers], rtol=1e-6)


def test_a_large_corpus_has_files_of_some_documents(files, monkeypatch):
    """Those of the sinks are in a file of their own, in the sample or not."""
    paths, _, _ = files
    given = [paths[kind][:2] for kind in ("heads", "norms", "sinks")]
    monkeypatch.setattr(samples, "MIN_SAMPLED", 2)
    monkeypatch.setattr(samples, "Sample", partial(samples.Sample, most=20))
    expected = samples.Sample(given[0])
    with lags_of_parts.sample_if_large(*given) as sample:
        assert (sample.documents, sample.end) == (expected.documents, expected.end)
        for shards in (sample.heads, sample.norms):
            found = set().union(*map(tables.document_names, shards))
            assert found == set(expected.documents)
        beside_sinks = set().union(*map(tables.document_names, sample.heads_of_sinks))
        assert beside_sinks == set().union(*map(tables.document_names, given[2]))
    every = set().union(*map(tables.document_names, given[0]))
    assert 0 < len(expected.documents) < len(every)
    assert not sample.heads[0].exists()


@pytest.mark.parametrize("design", [HEADS.design, None])
def test_without_a_design_heads_have_shares_alone(files, design):
    paths, layers, _ = files
    given = [paths[kind][:2] for kind in ("heads", "norms", "sinks")]
    others = {name: [] for name in (*FILES, "untrained")}
    settings = HEADS.changed(design=design)
    with lags_of_parts.sample_if_large(*given) as sample:
        shares = head_shares.table(sample.heads, sample.norms, given[2], given[0], drop_first=1)
        lags = lags_of_parts.fit_head_files(sample, others, settings)
    assert (sample.heads, sample.documents, sample.end) == (given[0], None, "")
    assert shares["part"].tolist() == PARTS[:-1] * 2
    if design is None:
        assert lags.empty
        assert {"layer", "part", "term", "estimate"} <= set(lags.columns)
    else:
        expected = like_layers(layers)
        pd.testing.assert_frame_equal(lags[expected.columns], expected, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_heads_that_vary_little_are_regressed_in_float32_alone(files, tmp_path, dtype):
    """Log norms have a standard deviation of 0.0026: less than the rounding of bfloat16."""
    given = {name: [] for name in (*FILES, "untrained")}
    record = {"stages": {"extraction": {"used": {"dtype": dtype}}}}
    for kind in ("heads", "norms"):
        table = pq.read_table(files[0][kind][0])
        for name in ("layer_00", "layer_01"):
            values = table[name].combine_chunks()
            flat = values if kind == "norms" else values.flatten()
            near = np.exp(0.0026 * stats.zscore(np.log(flat.to_numpy()))).astype(np.float32)
            own = pa.array(near)
            if kind == "heads":
                own = pa.FixedSizeListArray.from_arrays(own, 3)
            table = table.set_column(table.schema.get_field_index(name), name, own)
        given[kind] = [tmp_path / f"{kind}.parquet"]
        record_of_file = {tables.METADATA_KEY: json.dumps(record)}
        pq.write_table(table.replace_schema_metadata(record_of_file), given[kind][0])
    settings = HEADS.changed(covariance="nonrobust")
    every = lags_of_parts.SampledFiles(given["heads"], given["norms"], given["heads"])
    lags = lags_of_parts.fit_head_files(every, given, settings)
    whole = lags[(lags["part"] == WHOLE) & lags["term"].str.startswith("lag_")]
    assert whole["estimate"].notna().all() == (dtype == "float32")
    assert whole["estimate"].notna().any() == (dtype == "float32")


def test_a_model_without_heads_has_an_empty_table(tmp_path):
    paths = [tmp_path / "heads.parquet"]
    pq.write_table(columns.schema(0).empty_table(), paths[0])
    table = head_shares.table(paths, paths, paths, paths, drop_first=1)
    lags = lags_of_parts.fit_heads(sources({"heads": paths, "norms": paths}, [0]), HEADS)
    assert table.empty
    assert lags.empty
    assert [*claims_of_heads(table, lags, HEADS_TABLE)] == []


def test_the_rows_of_one_shard_are_in_memory_at_a_time(files, monkeypatch):
    paths, _, _ = files
    alive = one_alive(monkeypatch, lags_of_parts, "norms_of_parts")
    lags_of_parts.fit_heads(sources(paths) * 2, HEADS)
    assert len(alive) == 2 * 4
