"""The files of a run: those that the catalogue of outputs describes, and by names of rules."""

import base64
import gzip
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from attnlag.claims import analyses
from attnlag.claims import results as results_module
from attnlag.claims.analyses import AnalysisClaims, claims_of_run
from attnlag.claims.results import RegressionResults
from attnlag.claims.run import RunClaims
from attnlag.pipeline.outputs import OUTPUTS, Output, pattern
from attnlag.regression.settings import RegressionSettings
from attnlag.storage.results import Results, declared_by


def describing(path: str) -> list[Output]:
    """Return what describes a file, or the figures that are in a folder.

    Tables in two formats are described once.
    """
    names = {path, re.sub(r"\.parquet$", ".csv", path)}
    return [
        output
        for output in OUTPUTS
        if any(map(pattern(output.path).fullmatch, names))
        or (output.figure and pattern(output.folder).fullmatch(path))
    ]


def columns_of(file: Path) -> list[str]:
    """Return the columns of a table or the keys of a JSON file; nothing for other files."""
    if file.suffix == ".parquet":
        return list(pq.read_schema(file).names)
    if file.suffix == ".csv":
        return list(pd.read_csv(file, nrows=0).columns)
    return list(json.loads(file.read_text(encoding="utf-8"))) if file.suffix == ".json" else []


def undescribed(project: Path) -> Iterator[str]:
    """Yield the files below ``results/``, and their columns, that have no description."""
    for file in sorted(path for path in (project / "results").rglob("*") if path.is_file()):
        path = str(file.relative_to(project))
        found = describing(path)
        if not found and not file.name.startswith("."):
            yield path
        for column in columns_of(file) if found else []:
            forms = map(pattern, found[0].column_names())
            if not any(form.fullmatch(column) for form in forms):
                yield f"{path}: {column}"


NAMED = {"heads": "head_norms", "readout": "readout_rows"}


def files_in(results: Path) -> dict[str, list[Path]]:
    """Return the files below a folder of results by the names that the rules give them."""
    files: dict[str, list[Path]] = {}
    for path in sorted(results.rglob("*")):
        name = path.stem
        if path.stem.isdigit():
            name = NAMED.get(path.parent.name, path.parent.name)
        elif path.parent.name == "corpora":
            name = "corpora"
        elif path.stem == "means":
            name = {"geometry": "directions"}.get(path.parent.name, path.parent.name)
        if path.suffix in (".parquet", ".json"):
            files.setdefault(name, []).append(path)
    return files


def claims_of(regressions: Sequence[RegressionResults]) -> list[AnalysisClaims]:
    """Return the claims of all that was declared with some regressions.

    Those of the regressions are of these very objects, which a test may have changed.
    """
    given = {}
    for regression in regressions:
        vars(regression).pop("claims", None)
        given[regression.study, regression.name] = regression
    found = []
    for each in claims_of_run(Results(Path(), regressions[0].declared)):
        names = each.study
        key = "/".join([names["model"], names["corpus"], names["site"]]), names["analysis"]
        found.append(analyses.fitted(given[key]) if key in given else each)
    return found


def in_memory(regressions: Sequence[RegressionResults]) -> RunClaims:
    """Return the claims of all that was declared with some regressions, as figures have them."""
    return analyses.in_memory(claims_of(regressions))


def index_of(page: Path) -> dict[str, Any]:
    """Return what the page of a run holds besides its texts: findings, answers, sheets, numbers."""
    text = page.read_text(encoding="utf-8")
    (block,) = re.findall(r'id="block-0">(.*?)</script>', text)
    found: dict[str, Any] = json.loads(gzip.decompress(base64.b64decode(block)))
    return found


def in_words(value: Any, place: str = "") -> Iterator[str]:
    """Yield a line for each text in nested dictionaries and lists; numbers are marks.

    A list of numbers is one line, whatever their number.
    """
    if isinstance(value, dict):
        for name, part in value.items():
            yield from in_words(part, f"{place}.{name}".removeprefix("."))
    elif isinstance(value, list) and any(isinstance(part, dict | list | str) for part in value):
        for part in value:
            yield from in_words(part, f"{place}.-")
    elif isinstance(value, str):
        yield f"{place}: {re.sub(NUMBER, '#', value)}"
    else:
        yield f"{place}: {type(value).__name__}"


# With a sign, and with digits in groups.
NUMBER = r"[-−+]?\b\d(?:[\d,]*\d)?(?:\.\d+)?(?:e-\d+)?"


def regressions_in(results: Path, *names: str) -> list[RegressionResults]:
    """Return the regressions of a folder of results, perhaps some by name and in this order."""
    files = files_in(results)
    found = {path.parent.name: path for path in files["coefficients"]}
    chosen = [found[name] for name in names or found]
    return results_module.regressions_in(declared_by(files | {"coefficients": chosen}))


# What a fit of a layer has beside the numbers that a test is about.
OF_FITS = {
    **{"status": "ok", "mixer": "attention", "n_obs": 300, "n_documents": 20, "n_dropped": 0},
    **{"largest_cluster": "a", "largest_cluster_rows": 10, "effective_documents": 20.0},
    **dict.fromkeys(("r_squared", "r_squared_others", "r_squared_lags"), 0.1),
    **dict.fromkeys(("cv_r_squared", "partial_r_squared", "halves_p_adjusted"), np.nan),
    **dict.fromkeys(("omitted_p_value", "omitted_sum", "curvature_p_value", "curvature"), np.nan),
    "kurtosis": 3.0,
    "level": 0.95,
}


def as_fits(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table of fits with all columns that claims are made from."""
    missing = {name: value for name, value in OF_FITS.items() if name not in table}
    return table.assign(**missing)


def settings_stated(**changes: Any) -> dict[str, Any]:
    """Return the settings of a regression as its provenance states them."""
    stated = {"fixed_effects": "document", "bias_correction": "none"} | changes
    return RegressionSettings(**stated).model_dump(mode="json")
