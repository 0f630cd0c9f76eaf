"""Inputs of figures from tables that lie in no file."""

from pathlib import Path
from typing import Any

import pandas as pd
from described import as_fits, settings_stated

from attnlag.figures.inputs import Inputs
from attnlag.storage.results import Declared
from attnlag.storage.tables import Record

FOLDER = Path("results/m/c/attention/w")
CORPUS = {"name": "c", "documents": 20, "texts": 20}


def inputs_of(
    settings: dict[str, Any] | None = None,
    stages: dict[str, Any] | None = None,
    model: dict[str, Any] | None = None,
    folder: Path = FOLDER,
    **frames: pd.DataFrame,
) -> Inputs:
    """Return the inputs of a figure with some tables, whose provenance states some stages."""
    record = Record(model=model or {"name": "m"}, corpus=CORPUS, stages=stages or {})
    files = {name: folder / f"{name}.parquet" for name in frames}
    declared = Declared(files)
    for name, frame in frames.items():
        declared.tables[files[name]] = frame
        declared.records[files[name]] = record
    return Inputs(Path(), declared, settings)


def fitted_tables(coefficients: pd.DataFrame, **frames: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the tables of a fit with all columns that claims are made from."""
    if "equivalence" not in coefficients:
        coefficients = coefficients.assign(equivalence="undecided")
    lags = coefficients[coefficients["term"] != "intercept"]
    medians = lags.groupby("term")["estimate"].median().rename("median").reset_index()
    medians = medians.assign(conf_low=medians["median"] - 0.1, conf_high=medians["median"] + 0.1)
    medians = pd.concat([medians, frames.get("medians", pd.DataFrame())], ignore_index=True)
    fits = frames.get("fits", pd.DataFrame({"layer": coefficients["layer"].unique()}))
    if "r_squared" not in fits:
        fits = fits.assign(r_squared=0.1)
    fits = as_fits(fits)
    fits.loc[fits["r_squared"].isna(), "status"] = "too few rows"
    controls = frames.get("controls", lags[["layer", "term"]])
    return {
        **frames,
        "coefficients": coefficients.assign(subset="all"),
        "medians": medians.assign(level=0.95),
        "fits": fits,
        "controls": controls.assign(permuted_mean=0.0, order_p_adjusted=float("nan")),
    }


def of_regression(
    coefficients: pd.DataFrame, *, stated: dict[str, Any] | None = None, **frames: pd.DataFrame
) -> Inputs:
    """Return the inputs of a figure of one regression, with settings other than the default."""
    stages = {"regression": settings_stated(**(stated or {})), "design": {"drop_first": 1}}
    return inputs_of({"layers": None}, stages, **fitted_tables(coefficients, **frames))


def of_regressions(*studies: dict[str, Any], settings: dict[str, Any] | None = None) -> Inputs:
    """Return the inputs of a figure of several regressions.

    A study is the keywords of `of_regression`, with the ``folder`` of its tables.
    """
    files: dict[str, list[Path]] = {}
    parts = []
    for study in studies:
        folder = study["folder"]
        others = {name: value for name, value in study.items() if name != "folder"}
        inputs = of_regression(**others)
        for name, path in {path.stem: path for path in inputs.declared.tables}.items():
            files.setdefault(name, []).append(folder / path.name)
        parts.append((folder, inputs.declared))
    declared = Declared(files)
    for folder, part in parts:
        for path, frame in part.tables.items():
            declared.tables[folder / path.name] = frame
            record = Record(part.records[path])
            record["model"] = {"name": folder.parts[-4]}
            declared.records[folder / path.name] = record
    return Inputs(Path(), declared, settings)


def compared(table):
    """Return the inputs of a comparison of the models in a table."""
    studies = []
    for model, rows in table.groupby("model", sort=False):
        folder = Path(f"results/{model}/x/attention/w")
        studies.append({"folder": folder, "coefficients": rows})
    inputs = of_regressions(*studies)
    path = Path("results/comparison/coefficients.parquet")
    inputs.declared.below["compared", Path()] = [path]
    inputs.declared.tables[path] = table.assign(regression="w", site="attention")
    return inputs
