"""What the explorer shows beside coefficients: slopes by class, heads and causes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from attnlag.claims import causes as claims_on_causes
from attnlag.claims import heads as claims_on_heads
from attnlag.claims import sources as claims
from attnlag.claims import wording
from attnlag.quantities.head_shares import ABOVE, WHOLE
from attnlag.quantities.traced_tables import LISTS, STRONGEST
from attnlag.regression.beyond.classes import ALL
from attnlag.regression.design.properties import OTHER, SLOPES
from attnlag.regression.labels import UPOS
from attnlag.regression.terms import named, nearest_lag
from attnlag.report.regression_tables import RegressionTables
from attnlag.storage import tables

# Significant digits of numbers, of which the page shows three.
STORED_DIGITS = 5

INTERVAL = ("estimate", "conf_low", "conf_high")


def path_in_results(path: Path) -> str:
    """Return the path of a table relative to the folder of the page."""
    place = max((at for at, name in enumerate(path.parts) if name == "results"), default=-1)
    return "/".join(path.parts[place + 1 :])


def tables_of(regression: RegressionTables, folder: Path, *names: str) -> list[str]:
    """Return the paths of declared tables below a folder, in CSV."""
    found = (regression.files.one_of(name, folder) for name in names)
    return [path_in_results(path.with_suffix(".csv")) for path in found if path]


def folder_of(regression: RegressionTables, name: str, folder: Path) -> list[str]:
    """Return the folder of a table with a file for each shard; [] without it."""
    paths = regression.files.all_of(name, folder)[:1]
    return [f"{path_in_results(path.parent)}/" for path in paths]


def columns_of(frame: pd.DataFrame, *names: str) -> dict[str, list[Any]]:
    """Return columns as lists for JSON, with rounded numbers; an absent one is empty."""
    frame = frame.reindex(columns=list(names))
    numbers = frame.select_dtypes("float")
    frame = frame.assign(**numbers.map(lambda value: float(f"{value:.{STORED_DIGITS}g}")))
    return {name: frame[name].tolist() for name in names}


def slopes(regression: RegressionTables) -> dict[str, Any] | None:
    """Return the slopes of the nearest lag by class of token."""
    files, folder = regression.files, regression.folder
    table = files.table("classes", folder)
    if table.empty:
        return None
    name = files.record("classes", folder).settings("classes")["property"]
    term = nearest_lag(table["term"])
    rows = table[(table["term"] == term) & (table["subset"] != OTHER)]
    fitted = rows[rows["subset"] != ALL].dropna(subset="estimate")
    if fitted["subset"].nunique() < 2:
        return None
    rows = rows.assign(subset=rows["subset"].map(lambda subset: UPOS.get(subset, subset)))
    return {
        "tables": tables_of(regression, folder, "classes"),
        "term": [term, named(term)],
        "property": name,
        "by": SLOPES[name].label,
        **columns_of(rows, "subset", "layer", *INTERVAL),
    }


def heads(regression: RegressionTables) -> dict[str, Any] | None:
    """Return single heads of a site with their nearest lag and its controls."""
    site = regression.of_site
    parts = regression.files.table("heads", site)
    # All heads together have all of their squares, even of no tokens.
    parts = parts if parts.empty else parts[parts["part"] != WHOLE]
    if parts.empty or parts["share"].isna().all():
        return None
    coefficients = regression.files.table("head_coefficients", site)
    lags = coefficients[coefficients["term"] == nearest_lag(coefficients["term"])]
    lags = lags[~lags["part"].isin([WHOLE, ABOVE])]
    names = ["layer", "part", *INTERVAL, "random_weights", "trained"]
    rows = parts.merge(lags[names], on=["layer", "part"], how="left").astype({"part": int})
    made = {"share": claims_on_heads.share(parts), "sink": claims_on_heads.sink(parts)}
    sentences = {name: claim.sentence for name, claim in made.items() if claim}
    of_lag = "No lag of single heads was fitted after training"
    if lag := claims_on_heads.lag(coefficients):
        of_lag = "; ".join(filter(None, [lag.sentence, claims_on_heads.of_controls(lag)]))
    sentences |= {"estimate": of_lag, "random_weights": of_lag}
    return {
        "tables": tables_of(regression, site, "heads", "head_coefficients"),
        "term": "" if lags.empty else named(lags["term"].iloc[0]),
        "regression": "" if lags.empty else lags["regression"].iloc[0],
        "claims": sentences,
        **columns_of(rows, *names, "share", "sink"),
    }


def traced_documents(regressions: Sequence[RegressionTables]) -> list[str]:
    """Return the documents whose tokens are traced to their sources."""
    names: dict[str, None] = {}
    for regression in regressions:
        for path in regression.files.all_of("sources", regression.of_site):
            documents = pq.read_table(path, columns=["document"])["document"]
            names |= dict.fromkeys(documents.unique().to_pylist())
    return list(names)


def traced(regression: RegressionTables) -> dict[str, Any] | None:
    """Return who writes adjustments and what they say, by layer, of a site; either may be unknown.

    Only of attention is it known who writes, and a model may have no readout, or that alone.
    """
    files, site = regression.files, regression.of_site
    of_sources, logits = (files.table(name, site) for name in ("shares", "readout"))
    entry: dict[str, Any] = {"tables": [], "claims": []}
    if len(of_sources):
        entry["tables"] += tables_of(regression, site, "shares")
        entry["claims"].append(claims.previous_token(of_sources).sentence)
        entry["shares"] = [
            {"name": label, **columns_of(rows.reset_index(), "layer", "mean", *INTERVAL[1:])}
            for label, rows in claims.shares(of_sources).items()
        ]
    if len(logits) and logits["difference"].notna().any():
        names = ("layer", "difference", *INTERVAL[1:], "random_weights")
        entry["tables"] += tables_of(regression, site, "readout")
        alpha = files.record("readout", site).settings("traced_table")["alpha"]
        entry["claims"].append(wording.next_token(claims.next_token(logits, alpha)))
        entry["readout"] = [
            {"name": label, **columns_of(logits[logits["target"] == target], *names)}
            for target, label in claims.TARGETS.items()
        ]
    if not entry["claims"]:
        return None
    known = of_sources if len(of_sources) else logits
    return entry | {name: int(known[name].max()) for name in ("tokens", "documents")}


def sources(
    regression: RegressionTables, documents: Sequence[str]
) -> tuple[dict[str, Any], np.ndarray] | None:
    """Return the tokens that wrote those at the beginnings of documents, at one site.

    The codes, (layers, tokens, sources, 2), say how many tokens back each source lies, and 128 plus
    its share in percent; 255 for none.
    """
    paths = regression.files.all_of("sources", regression.of_site)
    if not paths:
        return None
    names = ["document", "window", "position", "layer", *LISTS]
    rows = tables.rows_of_documents(paths, documents, names)
    rows = rows[rows["window"] == 0]
    if rows.empty:
        return None
    layers = sorted(map(int, rows["layer"].unique()))
    lengths = rows["strongest"].str.len().to_numpy()
    row = np.repeat(np.arange(len(rows)), lengths)
    place = np.arange(len(row)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    writers, shares = (np.concatenate(rows[name].to_list()) for name in LISTS)
    back = rows["position"].to_numpy()[row] - writers
    percent = np.clip(np.rint(100 * shares), -127, 126)
    stored = (back < 255) & (percent != 0)
    codes = np.full((len(rows), STRONGEST, 2), 255, np.uint8)
    codes[row[stored], place[stored]] = np.stack([back, percent + 128], axis=1)[stored]
    by_token = codes.reshape(-1, len(layers), STRONGEST, 2).swapaxes(0, 1)
    counts = rows.groupby("document", sort=False).size() // len(layers)
    entry = {"layers": layers, "documents": list(counts.index), "counts": counts.tolist()}
    return entry, by_token


def causes(regression: RegressionTables) -> dict[str, Any] | None:
    """Return effects on later tokens beside their predictions."""
    files, study = regression.files, regression.of_corpus
    total, single = (files.table(name, study) for name in ("total_effects", "elasticities"))
    if total.empty:
        return None
    single = single[(single["intervention"] == "derivative") & (single["lag"] > 0)]
    single = single[single["source_layer"] < single["target_layer"]]
    names = ("source_site", "target_site", "target_layer", "lag", *INTERVAL)
    alone, coefficient, together = (
        [f"{name}{end}" for end in ("", "_conf_low", "_conf_high")]
        for name in ("predictive", "coefficient", "predicted")
    )
    said = {}
    for (source, target, lag), rows in total.groupby([*names[:2], "lag"], sort=False):
        claim = claims_on_causes.on_a_later_token(rows)
        beside = map(" ".join, claim.baseline.items())
        said[f"{source} → {target}, {lag}"] = "; ".join([claim.answer, *beside])
    return {
        "tables": tables_of(regression, study, "total_effects", "elasticities"),
        "documents": int(total["documents"].max()),
        "regression": str(next(iter(total["regression"].dropna()), "")),
        "claims": said,
        "all": columns_of(total, *names, *coefficient, *together),
        "single": columns_of(single, *names, "source_layer", *alone),
    }
