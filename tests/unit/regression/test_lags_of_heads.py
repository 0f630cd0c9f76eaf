"""Shares, lags and the floor of attention heads, against pandas and statsmodels."""

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import statsmodels.api as sm

from attnlag.adjustments import batches, columns, layout
from attnlag.regression import heads
from attnlag.report.heads import heads_findings

LENGTHS = (30, 24, 41, 19, 33, 27, 38)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Return the norms of three heads and of their sum in two shards, and all rows as a frame.

    A third of the tokens of layer 1 lie at the floor, the norms of their first token.
    """
    folder = tmp_path_factory.mktemp("heads")
    random = np.random.default_rng(0)
    paths, frames = {"heads": [], "norms": []}, []
    for shard, chosen in enumerate((range(4), range(4, 7))):
        lengths = [LENGTHS[i] for i in chosen]
        tokens = sum(lengths)
        of_heads = random.lognormal(size=(2, tokens, 3)).astype(np.float32)
        # What each takes over from the one before.
        of_heads[:, 1:] *= of_heads[:, :-1] ** 0.4
        position = np.concatenate([np.arange(n) for n in lengths])
        first = np.arange(tokens) - position
        low = random.random(tokens) < 1 / 3
        near = of_heads[1][first] * random.uniform(0.97, 1.03, (tokens, 3))
        of_heads[1] = np.where(low[:, None], near, of_heads[1])
        whole = np.sqrt((of_heads**2).sum(axis=-1)) * random.uniform(0.5, 1.2, (2, tokens))
        names = [f"d{i}" for i in chosen]
        run = batches.Run(names, [0] * len(names), [np.arange(n, dtype=np.int32) for n in lengths])
        for kind, values, width in (("heads", of_heads, 3), ("norms", whole, None)):
            schema = columns.schema(2, width)
            table = layout.table(run, list(values.astype(np.float32)), schema, "float32")
            paths[kind].append(folder / f"{kind}{shard}.parquet")
            pq.write_table(table, paths[kind][-1], row_group_size=50)
        frame = pd.DataFrame({"document": np.repeat(names, lengths), "position": position})
        for layer in range(2):
            frame[f"whole{layer}"] = whole[layer].astype(np.float32)
            for head in range(3):
                frame[f"head{layer}{head}"] = of_heads[layer, :, head]
        frames.append(frame)
    return paths, pd.concat(frames, ignore_index=True)


def within(frame, values):
    """Return lag 1 within documents and its error, by dummies of documents."""
    y = np.log(values.where(frame["position"] >= 1))
    by_document = y.groupby(frame["document"])
    rows = pd.DataFrame({"y": y, "lag_1": by_document.shift(1), "lag_2": by_document.shift(2)})
    rows = rows.assign(document=frame["document"]).dropna()
    dummies = pd.get_dummies(rows["document"], dtype=float)
    groups = {"groups": pd.factorize(rows["document"])[0]}
    fit = sm.OLS(rows["y"], rows[["lag_1", "lag_2"]].join(dummies)).fit(
        cov_type="cluster", cov_kwds=groups
    )
    # statsmodels counts the effects of documents among the terms of its factor; they are nested.
    n, k, effects = len(rows), 2, dummies.shape[1]
    factor = np.sqrt((n - k - effects) / (n - k))
    return fit.params["lag_1"], fit.bse["lag_1"] * factor, len(rows)


def test_heads_are_regressed_like_layers(files):
    paths, frame = files
    table = heads.table(paths["heads"], paths["norms"], drop_first=1, alpha=0.05)
    assert table["part"].tolist() == ["0", "1", "2", "all", "above floor"] * 2
    found = table.set_index(["layer", "part"])
    kept = frame[frame["position"] >= 1]
    for layer in range(2):
        squares = kept[[f"head{layer}{head}" for head in range(3)]].astype(float) ** 2
        shares = squares.sum() / squares.sum().sum()
        whole = frame[f"whole{layer}"]
        names = [f"head{layer}{head}" for head in range(3)]
        first = frame.groupby("document")[names].transform("first")
        apart = ((frame[names] - first) ** 2).sum(axis=1) / (first**2).sum(axis=1)
        floor = (apart < 0.01) & (frame["position"] > 0)
        row = found.loc[(layer, heads.WHOLE)]
        assert row["at_floor"] == pytest.approx(floor[kept.index].mean())
        coherence = kept[f"whole{layer}"].astype(float) ** 2 / squares.sum(axis=1)
        assert row["coherence"] == pytest.approx(coherence.mean(), rel=1e-6)
        of_part = {str(head): frame[f"head{layer}{head}"] for head in range(3)}
        of_part |= {heads.WHOLE: whole, heads.ABOVE: whole.where(~floor)}
        for part, values in of_part.items():
            row = found.loc[(layer, part)]
            lag, error, rows = within(frame, values)
            assert row["rows"] == rows
            np.testing.assert_allclose(row["lag_1"], lag, rtol=1e-7)
            np.testing.assert_allclose(row["std_error"], error, rtol=0.02)
            assert row["conf_low"] < row["lag_1"] < row["conf_high"]
            if part.isdigit():
                assert row["share"] == pytest.approx(shares.iloc[int(part)], rel=1e-6)
    text = heads_findings(table, "m, c, attention")
    share = found.loc[(1, heads.WHOLE), "at_floor"]
    assert 0.3 < share < 0.45
    assert f"are {share:.0%} in layer 1" in text


def test_without_heads_there_is_an_empty_table(tmp_path):
    paths = [tmp_path / "heads.parquet"]
    pq.write_table(columns.schema(0).empty_table(), paths[0])
    table = heads.table(paths, paths, drop_first=1, alpha=0.05)
    assert table.empty
    assert "none were found" in heads_findings(table, "m, c, attention")
