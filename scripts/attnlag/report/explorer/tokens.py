"""What the explorer shows of each token: norms, residuals, properties and who wrote to it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from attnlag.claims.results import RegressionResults
from attnlag.corpus.catalogue import CATALOGUE, FILES
from attnlag.quantities import columns
from attnlag.quantities.outcomes import log_norms
from attnlag.quantities.traced_tables import LISTS
from attnlag.regression.design.design import columns_of
from attnlag.regression.units import Unit
from attnlag.report.explorer.documents import LONGEST
from attnlag.report.explorer.paths import folder_of
from attnlag.storage import tables

TOKEN_KEYS = ["document", "window", "position"]

MAX_CATEGORIES = 40

# Columns of further tables of tokens that shade the text, with their labels.
SHADES = {name: entry.shade for name, entry in CATALOGUE.items() if entry.shade}

# Significant digits of numbers of tokens.
STORED_DIGITS = 4


@dataclass(frozen=True)
class ShownTokens:
    """The tokens of a model that the page shows."""

    documents: Sequence[str]
    keys: pd.MultiIndex  # `TOKEN_KEYS` of each token, in the order of the corpus

    def values(self, paths: Sequence[Path], names: Sequence[str]) -> pd.DataFrame:
        """Return columns of a table of tokens; NaN if the table lacks a token."""
        frame = tables.rows_of_documents(paths, self.documents, [*TOKEN_KEYS, *names])
        return frame.set_index(TOKEN_KEYS).reindex(self.keys)

    def log_norms(self, paths: Sequence[Path]) -> np.ndarray:
        """Return the log norms of a table, (layers, tokens)."""
        layers = columns.layers_in(pq.read_schema(paths[0]))
        frame = self.values(paths, layers)
        return np.stack([log_norms(frame[layer].to_numpy()) for layer in layers])


def first_tokens(paths: Sequence[Path], documents: Sequence[str]) -> ShownTokens:
    """Return the tokens of documents, at most `LONGEST` of each."""
    frame = tables.rows_of_documents(paths, documents, TOKEN_KEYS)
    shown = frame[frame.groupby("document").cumcount() < LONGEST]
    return ShownTokens(documents, pd.MultiIndex.from_frame(shown))


def shades(regression: RegressionResults, tokens: ShownTokens) -> list[dict[str, Any]]:
    """Return the properties of tokens that may shade the text, a number or a category for each.

    A category is the place of its name in ``categories``.
    """
    described = []
    # What the model predicts comes first.
    for table in reversed(FILES):
        paths = regression.paths(table, regression.study_folder)
        names = pq.read_schema(paths[0]).names if paths else []
        for name in names:
            if name not in SHADES:
                continue
            shade = {
                "name": name,
                "label": SHADES[name],
                "tables": folder_of(regression, table, regression.study_folder),
                **values_of_shade(tokens.values(paths, [name])[name]),
            }
            if len(shade.get("categories", ())) <= MAX_CATEGORIES:
                described.append(shade)
    return described


def values_of_shade(values: pd.Series) -> dict[str, Any]:
    """Return the values of a column, as numbers or as places in its categories; None if unknown."""
    if pd.api.types.is_bool_dtype(values.dropna().infer_objects()):
        values = values.map({True: "yes", False: "no"})
    if pd.api.types.is_numeric_dtype(values):
        numbers = values.to_numpy(float, na_value=np.nan)
        return {"values": [float(f"{number:.{STORED_DIGITS}g}") for number in numbers]}
    categories = pd.Categorical(values.astype(object))
    places: list[int | None] = []
    for code in categories.codes:
        places.append(int(code) if code >= 0 else None)
    return {"values": places, "categories": list(map(str, categories.categories))}


def writers(regression: RegressionResults, documents: Sequence[str]) -> dict[str, Any] | None:
    """Return the tokens that wrote those at the beginnings of documents, at one site.

    ``writers`` has for each layer and token a list of numbers in pairs: how many tokens back a
    source lies, and its share in percent. Shares below half a percent are left out.
    """
    paths = regression.paths("sources", regression.site_folder)
    if not paths:
        return None
    names = ["document", "window", "position", "layer", *LISTS]
    rows = tables.rows_of_documents(paths, documents, names)
    rows = rows[rows["window"] == 0]
    if rows.empty:
        return None
    layers = sorted(map(int, rows["layer"].unique()))
    counts = rows.groupby("document", sort=False).size() // len(layers)
    by_layer = []
    for layer in layers:
        layer_rows = rows.loc[rows["layer"] == layer, ["position", *LISTS]]
        by_layer.append([_pairs(*token) for token in layer_rows.itertuples(index=False)])
    return {
        "layers": layers,
        "documents": list(counts.index),
        "counts": counts.tolist(),
        "writers": by_layer,
    }


def _pairs(position: int, sources: np.ndarray, shares: np.ndarray) -> list[int]:
    """Return how far back each source lies and its share in percent, one after the other."""
    percents = np.rint(100 * np.asarray(shares)).astype(int)
    back = position - np.asarray(sources).astype(int)
    kept = percents != 0
    return np.stack([back[kept], percents[kept]], axis=1).ravel().tolist()


def residuals(
    regression: RegressionResults, layers: Sequence[int], tokens: ShownTokens
) -> np.ndarray:
    """Return the residuals of a fit as (layers, tokens) floats; NaN if a token gives no row.

    They are the outcome minus its prediction in the design and, with document effects, minus the
    mean over the rows of each document.
    """
    paths = regression.paths("design", regression.folder)
    design_columns = pq.read_schema(paths[0]).names
    by_layer = []
    names: set[str] = set()
    for layer in layers:
        constant, factors = _factors(regression, layer, design_columns)
        by_layer.append((constant, factors))
        names |= set(factors)
    # Read once, because the rows of the documents are looked for each time.
    frame = tokens.values(paths, sorted(names))
    document = tokens.keys.get_level_values("document")
    made = np.full((len(layers), len(frame)), np.nan)
    for place, (constant, factors) in enumerate(by_layer):
        if not factors:
            continue
        residual = constant + frame[list(factors)] @ np.array(list(factors.values()))
        if regression.has_fixed_effects:
            residual -= residual.groupby(document).transform("mean")
        made[place] = residual
    return made


def _factors(
    regression: RegressionResults, layer: int, design_columns: Sequence[str]
) -> tuple[float, dict[str, float]]:
    """Return the constant and the factor of each column of the design in a layer's residuals."""
    merged = regression.record["merged"]
    rows = regression.coefficients.query("layer == @layer").dropna(subset="estimate")
    factors_of_terms = dict(zip(rows["term"], -rows["estimate"], strict=True))
    if not factors_of_terms:
        return 0.0, {}
    constant = factors_of_terms.pop("intercept", 0.0)
    factors_of_terms["y"] = 1.0
    factors = {}
    for term, factor in factors_of_terms.items():
        for column in columns_of(design_columns, Unit(layer), merged.get(term, [term])):
            factors[column] = factor
    return constant, factors
