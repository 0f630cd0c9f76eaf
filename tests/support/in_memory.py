"""What the library gives for the model and the corpus of a finished project, beside its tables."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from projects import Project
from transformers import AutoModelForCausalLM

import attnlag
from attnlag.corpus.tokens import load_tokenizer
from attnlag.quantities.surprisal import PREDICTED
from attnlag.study.measuring import Measurement
from attnlag.study.regressing import Fit

BASE = "results/tiny/small"
NAMES = ["model", "corpus", "site", "regression"]


def whole(folder: Path) -> pd.DataFrame:
    return pd.concat(map(pd.read_parquet, sorted(folder.glob("0*.parquet"))), ignore_index=True)


def measured_again(project: Project, **arguments: Any) -> Measurement:
    """Measure a project's corpus, and return that with the bits of the project's own norms.

    Another number of threads changes the last bit of some norms.
    """
    folder = project.folder / "data/models/tiny"
    lines = (project.folder / "data/small.jsonl").read_text().splitlines()
    texts = pd.DataFrame(map(json.loads, lines)).set_index("id")
    measured = attnlag.measure(
        AutoModelForCausalLM.from_pretrained(folder),
        load_tokenizer(folder),
        texts["text"],
        groups=texts["genre"],
        progress=False,
        **arguments,
    )
    tables = dict(measured.tables)
    for key, name in ((("norms", "attention"), "attention/norms"), (("stream", ""), "stream")):
        for column, values in whole(project.folder / BASE / name).filter(like="layer_").items():
            table = tables[key]
            np.testing.assert_allclose(table[column], values, rtol=1e-5)
            place = table.schema.get_field_index(column)
            tables[key] = table.set_column(place, table.schema.field(place), [values.to_numpy()])
    tokens = measured.tokens
    if "surprisal" in arguments.get("quantities", ()):
        predictions = whole(project.folder / BASE / "surprisal")
        np.testing.assert_allclose(tokens["surprisal"], predictions["surprisal"], rtol=1e-4)
        tokens = tokens.assign(**{name: predictions[name] for name in PREDICTED})
    return dataclasses.replace(measured, tables=tables, tokens=tokens)


def assert_equal_tables(fit: Fit, project: Project, regression: str) -> None:
    """Compare a fit with the tables and findings of a regression of the project."""
    folder = project.folder / BASE / "attention" / regression
    by_class = ("classes", "equal_slopes", "nested_models")
    tables = {name: getattr(fit, name) for name in ("coefficients", "fits", "controls", *by_class)}
    tables |= {name: getattr(fit.fitted, name) for name in ("medians", "influence")}
    for name, found in (tables | {"groups": fit.groups}).items():
        path = folder / f"{name}.parquet"
        assert (found is not None) == path.exists()
        if found is not None:
            expected = pd.read_parquet(path).drop(columns=NAMES)
            # The norms of random weights are measured anew.
            loose = expected.columns.str.startswith("random_weights")
            for columns, rtol in ((~loose, 1e-10), (loose, 1e-4)):
                pd.testing.assert_frame_equal(
                    # What is empty is None before it is written, and NaN once it is read.
                    found.reset_index(drop=True)[expected.columns[columns]].fillna(np.nan),
                    expected.loc[:, columns],
                    check_dtype=False,
                    rtol=rtol,
                    atol=1e-10,
                )
    findings = (folder / "findings.txt").read_text().splitlines()
    assert fit.findings.splitlines()[1:] == findings[1:]
