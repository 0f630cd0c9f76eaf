"""Published findings about attention, from the files of the default run.

``python benchmarks/validation.py`` after ``make`` prints one line for each; docs/related.md and
docs/post.md compare them with the published numbers.
"""

import argparse
import functools
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import statsmodels.api as sm
from scipy import stats

# A head whose mean weight on the first token exceeds this has a sink (Gu et al. 2024).
SINK = 0.3
# Share of the variance that the principal directions hold (Wang et al. 2025).
VARIANCE = 0.99


def layers_in(file: pq.ParquetFile) -> list[str]:
    return [name for name in file.schema_arrow.names if name.startswith("layer_")]


def share_of_sinks(folder: Path) -> tuple[float, int]:
    """Return the share of heads with a sink, and the number of heads."""
    heads = pd.read_parquet(folder / "attention" / "heads" / "heads.parquet")
    scores = heads[heads["part"].astype(str).str.isdigit()]["sink"].dropna()
    return float((scores > SINK).mean()), len(scores)


@functools.cache
def directions(folder: Path) -> pd.Series:
    """Return the share of directions that hold 99% of the variance of adjustments, by layer.

    The first tokens of sequences, which are outliers, are left out.
    """
    file = pq.ParquetFile(folder / "attention" / "activations" / "0000.parquet")
    later = file.read(["position"])["position"].to_numpy() > 0
    found = {}
    for layer in layers_in(file):
        column = file.read([layer])[layer].combine_chunks()
        vectors = column.flatten().to_numpy().reshape(len(column), -1)[later]
        vectors -= vectors.mean(axis=0)
        # Products in float64 would take twice as long and change no share.
        values = np.linalg.eigvalsh((vectors.T @ vectors).astype(np.float64))[::-1]
        needed = np.searchsorted(np.cumsum(values), VARIANCE * values.sum()) + 1
        found[layer] = needed / len(values)
    return pd.Series(found)


def growth(folder: Path) -> pd.Series:
    """Return the factor by which the stream's norm grows from each layer to the next, in the mean.

    The first tokens of sequences are left out, as in the regressions.
    """
    stream = pd.read_parquet(folder / "stream" / "0000.parquet")
    logs = np.log(stream[stream["position"] > 0].filter(like="layer_"))
    return np.exp(logs.mean().diff().dropna())


def first_token(folder: Path) -> pd.DataFrame:
    """Return the mean ``attention`` to the first token and its mean share, ``mean``, by layer."""
    shares = pd.read_parquet(folder / "attention" / "sources" / "shares.parquet")
    return shares[shares["source"] == "first"].set_index("layer")


def sizes(folder: Path) -> pd.DataFrame:
    """Return what Cohen (2025) shows of norms, for all texts: a row for each layer.

    Columns are the median norm, that relative to the stream, the skewness of log norms, the p-value
    of their normality (Jarque-Bera), and a coefficient of bimodality. First tokens are left out.
    """
    norms = pd.read_parquet(folder / "attention" / "norms" / "0000.parquet")
    stream = pd.read_parquet(folder / "stream" / "0000.parquet")
    names = [name for name in map(str, norms) if name.startswith("layer_")]
    later = norms["position"] > 0
    logs = np.log(norms.loc[later, names].to_numpy(float))
    skew, kurtosis = stats.skew(logs), stats.kurtosis(logs, fisher=False)
    return pd.DataFrame(
        {
            "norm": norms.loc[later, names].median().to_numpy(),
            "relative": (norms.loc[later, names] / stream.loc[later, names]).median().to_numpy(),
            "skewness": skew,
            "normal_p": [stats.jarque_bera(column).pvalue for column in logs.T],
            "bimodality": (skew**2 + 1) / kurtosis,
        }
    )


@functools.cache
def one_text_at_a_time(folder: Path) -> pd.DataFrame:
    """Return for each text the number of layers where each lag is significant in it alone.

    Regressions are loops over stored norms. Project 36 of Cohen (2026) pools lags 1 and 2 over
    texts, without first tokens: that must equal the regression ``notebook``.
    """
    norms = pd.read_parquet(folder / "attention" / "norms" / "0000.parquet")
    names = [name for name in map(str, norms) if name.startswith("layer_")]
    documents = norms["document"].astype(str).to_numpy()
    table = pd.read_parquet(folder / "attention" / "notebook" / "coefficients.parquet")
    found = []
    for layer, name in enumerate(names):
        y, rows = [], []
        for document in pd.unique(documents):
            text = np.log(norms[name].to_numpy(float)[documents == document])[1:]
            lags = sm.add_constant(np.column_stack([text[1:-1], text[:-2]]))
            y.append(text[2:])
            rows.append(lags)
            alone = sm.OLS(text[2:], lags).fit(cov_type="HAC", cov_kwds={"maxlags": 4}, use_t=True)
            found.append((document, *(alone.pvalues[1:] < 0.05)))
        pooled, *_ = np.linalg.lstsq(np.concatenate(rows), np.concatenate(y), rcond=None)
        expected = table[table["layer"] == layer].set_index("term")["estimate"]
        apart = np.abs(pooled - expected[["intercept", "lag_1", "lag_2"]]).max()
        assert apart < 1e-10, (layer, apart)
    return pd.DataFrame(found, columns=["document", "lag 1", "lag 2"]).groupby("document").sum()


def print_findings(folder: Path) -> None:
    """Print a line for each finding, and a table of sizes, from the results of a study."""
    share, heads = share_of_sinks(folder)
    print(f"heads whose mean weight on the first token exceeds {SINK}: {share:.0%} of {heads}")
    found = directions(folder)
    print(
        f"directions that hold {VARIANCE:.0%} of the variance: {found.median():.0%} of the width "
        f"in the median layer, {found.min():.0%} to {found.max():.0%}"
    )
    grown = growth(folder)
    total = float(np.prod(grown))
    print(
        f"growth of the stream's norm: {grown.median():.3f} times in the median layer, "
        f"{grown.min():.2f} to {grown.max():.2f}, {total:.0f} times from first to last"
    )
    received = first_token(folder)
    gap = received["attention"] - received["mean"]
    most = received[gap == gap.max()].iloc[0]
    attention, share = most[["attention", "mean"]]
    print(
        f"the first token has more attention than share of the adjustment in {(gap > 0).sum()} of "
        f"{len(gap)} layers; in layer {gap.idxmax()}, {attention:.0%} and {share:.0%}"
    )
    print(sizes(folder).round(3).to_string())
    for lag, layers in one_text_at_a_time(folder).items():
        print(f"one text: {lag} in {layers.median():.0f} layers, {layers.min()} to {layers.max()}")
    print("pooled coefficients equal those of notebook within 1e-10")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default="results/smollm2-135m-instruct/prompts")
    print_findings(parser.parse_args().results)


if __name__ == "__main__":
    main()
