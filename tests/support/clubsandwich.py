"""What attnlag and R's clubSandwich give for the same norms, side by side."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from oracles import first_halves, lags_of
from projects import WORDS
from transformers import AutoModelForCausalLM

import attnlag
from attnlag.corpus.tokens import load_tokenizer
from attnlag.regression.estimation.wald import Wald, with_bounded_eta
from attnlag.study.measurement import Measurement

CLASSES = ("NOUN", "VERB", "DET")
COLUMNS = ["layer", "fit", "term", "estimate", "std_error", "df", "p_value", "f", "df_residual"]
TEST = ["f", "df", "df_residual", "p_value"]


def tagged(text: str) -> str:
    """Return the words of a text with a class for each, by its length, as in ``The/DET``."""
    return " ".join(f"{word}/{CLASSES[len(word) % len(CLASSES)]}" for word in text.split())


def simulated(model: Path) -> Measurement:
    """Return a measurement of short texts with the norms of a known autoregression."""
    texts = {
        f"d{i}": " ".join(WORDS[(3 * i + j * (i + 2)) % 30] for j in range(24 + i))
        for i in range(12)
    }
    measured = attnlag.measure(
        AutoModelForCausalLM.from_pretrained(model),
        load_tokenizer(model),
        texts,
        groups=[f"g{i % 7}" for i in range(12)],
        tagger=[tagged(text) for text in texts.values()],
        progress=False,
    )
    random, tokens = np.random.default_rng(0), measured.tokens
    logs = random.normal(size=len(tokens)) * (1 + tokens["position"].to_numpy() % 3) / 2
    for row in np.flatnonzero(tokens["position"] >= 2):
        logs[row] += 0.4 * logs[row - 1] - 0.2 * logs[row - 2]
    # As a run stores them.
    key, norms = ("norms", "attention"), pa.array(np.exp(logs).astype(np.float32))
    rows = measured.tables[key]
    for place in range(rows.num_columns - measured.layers, rows.num_columns):
        rows = rows.set_column(place, rows.field(place), norms)
    return dataclasses.replace(measured, tables=measured.tables | {key: rows})


def design_of(measured: Measurement, layers: list[int]) -> pd.DataFrame:
    """Return the rows of each layer by shifts of whole columns, without first tokens."""
    tokens = measured.tokens.assign(upos=measured.properties["upos"].to_pandas().astype(str))
    tokens["group"] = tokens["document"].astype(str).map(measured.groups)
    tables = []
    for layer in layers:
        norms = measured.sizes["attention"][layer].astype(float)
        y = pd.Series(np.log(norms)).where(tokens["position"] > 0)
        rows = lags_of(y, [tokens["document"], tokens["window"]], (1, 2)).assign(layer=layer)
        rows = rows.dropna().join(tokens[["document", "group", "upos"]])
        rows = rows.rename(columns={"upos": "class"})
        tables.append(rows.assign(half=2 - first_halves(rows["document"].astype(str))))
    return pd.concat(tables)


def fits_of(measured: Measurement, layers: list[int]) -> pd.DataFrame:
    """Return what attnlag gives, in the rows and columns of clubsandwich.R."""
    pooled = attnlag.fit(measured, lags=[1, 2], slopes_by={"upos": "outcome"}, min_rows_per_class=1)
    by_group = attnlag.fit(measured, lags=[1, 2], inference={"cluster": "group"})
    within = attnlag.fit(measured, lags=[1, 2], fixed_effects="document")
    halves = attnlag.fit(
        measured, lags=[1, 2], fixed_effects="document", bias_correction="half-panel"
    )
    tables = [
        fit.coefficients.query("term in ('lag_1', 'lag_2')").assign(fit=name)
        for name, fit in (("pooled", pooled), ("by group", by_group), ("within", within))
    ]
    equal_slopes = pooled.equal_slopes.rename(columns={"f_statistic": "f"})
    equal_halves = halves.fits.rename(columns=lambda name: name.removeprefix("halves_"))
    tables += [equal_slopes.assign(fit="equal slopes")]
    tables += [equal_halves.assign(fit="equal halves", term="lags")]
    table = pd.concat([each[each.columns.intersection(COLUMNS)] for each in tables])
    return table[table["layer"].isin(layers)].set_index(COLUMNS[:3]).sort_index()


def assert_equal(found: pd.DataFrame, printed: pd.DataFrame, rtol: float) -> None:
    """Compare what attnlag gives with what R printed.

    Tests of equal slopes get attnlag's degrees of freedom, which are at most R's.
    """
    expected = printed.set_index(COLUMNS[:3]).sort_index()
    for key in expected.index[expected.index.get_level_values("fit") == "equal slopes"]:
        own = found.loc[key]
        test = with_bounded_eta(Wald(*expected.loc[key, TEST]), own["df_residual"] + own["df"] - 1)
        expected.loc[key, TEST] = np.array(test)
    close = {"rtol": rtol, "atol": 1e-14, "check_dtype": False}
    pd.testing.assert_frame_equal(found[expected.columns], expected, **close)
