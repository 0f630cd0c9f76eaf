"""Regressions, in every layer, of adjustments that were measured in a notebook."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from matplotlib.figure import Figure

from attnlag.adjustments import columns
from attnlag.adjustments.outcomes import OUTCOMES
from attnlag.config.problems import check
from attnlag.config.schema import Config
from attnlag.corpus.documents import Document, corpus_table
from attnlag.corpus.tokens import token_counts
from attnlag.errors import UserError, nearest
from attnlag.escaping import text_for
from attnlag.figures import coefficients_by_layer
from attnlag.pipeline import stages
from attnlag.regression import covariates, crossproducts, design, fitting
from attnlag.regression.labels import R_SQUARED
from attnlag.regression.terms import lags_among
from attnlag.report import summaries
from attnlag.storage import tables
from attnlag.study.measuring import Measurement


@dataclass
class Fit:
    """A regression, fitted in every layer.

    Attributes
    ----------
    name : str
        Names of the model, the site and the regression.
    fitted : attnlag.regression.fitting.FittedRegression
        All estimates.
    """

    name: str
    fitted: fitting.FittedRegression

    @property
    def coefficients(self) -> pd.DataFrame:
        """One row per layer and term: estimate, standard error, p-values, interval, finding."""
        return self.fitted.coefficients

    @property
    def fits(self) -> pd.DataFrame:
        """One row per layer: rows, documents, R² and diagnostics of the residuals."""
        return self.fitted.goodness

    def summary(self, layer: int) -> str:
        """Return the fit of one layer as a table of text.

        Raises
        ------
        UserError
            If there is no such layer.
        """
        if layer not in self.fitted.layers:
            raise UserError(
                f"layer: found {layer}, expected {self.fitted.layers[0]} to "
                f"{self.fitted.layers[-1]}"
            )
        texts = summaries.layer_summaries(self.fitted, self.name)
        return texts[columns.layer_name(layer)]

    def plot(self) -> Figure:
        """Draw the coefficients of the lags by layer, and R²."""
        settings = self.fitted.settings
        data = coefficients_by_layer.Data(
            self.coefficients,
            self.fits,
            alpha=settings.alpha,
            adjust=settings.adjust,
            within=settings.fixed_effects == "document",
            negligible=settings.negligible,
            r_squared_name=R_SQUARED[settings.fixed_effects],
            outcome=settings.outcome,
        )
        title = coefficients_by_layer.title_of(data)
        return coefficients_by_layer.draw(data, title=title)

    def __repr__(self) -> str:
        lines = summaries.sizes(self.fitted.medians, self.coefficients, self.fitted.settings)
        return "\n  ".join([self.name, *lines])

    def _repr_html_(self) -> str:
        terms = lags_among(list(self.coefficients["term"].unique()))
        lags = self.coefficients[self.coefficients["term"].isin(terms)]
        by_layer = lags.pivot(index="layer", columns="term", values=["estimate", "std_error"])
        table = by_layer.to_html(float_format="{:.3f}".format, max_rows=12)
        lines = "<br>".join(text_for("html", line) for line in repr(self).splitlines())
        return f"<p>{lines}</p>{table}"


def fit(
    measurement: Measurement,
    *,
    site: str | None = None,
    drop_first: int | None = None,
    inference: Mapping[str, Any] | None = None,
    **regression: Any,
) -> Fit:
    """Regress log norms on those of preceding tokens, in every layer.

    Lags never cross a document or a window. The defaults are those of the configuration.

    Parameters
    ----------
    measurement : Measurement
        From `measure`.
    site : str, optional
        The site; by default the first that was measured.
    drop_first : int, optional
        Number of tokens at the start of every sequence that are neither outcome nor predictor.
    inference : mapping, optional
        Keys of the configuration's section ``inference``: ``covariance``, ``alpha``, …
    **regression
        Keys of a regression in the configuration: ``lags``, ``leads``, ``fixed_effects``,
        ``bias_correction``, ``covariates``, ``outcome``, ``position_knots``.

    Returns
    -------
    fit : Fit

    Raises
    ------
    UserError
        If a setting is unknown or impossible, or if there are too few documents for it.

    Examples
    --------
    >>> fit = attnlag.fit(measured, lags=[1, 2], fixed_effects="document")
    >>> fit.coefficients.query("term == 'lag_1'")["layer"].tolist()
    [0, 1]
    """
    site = site or measurement.sites[0]
    if site not in measurement.sites:
        raise UserError(
            f"site: found '{site}', expected {' or '.join(measurement.sites)}, which were measured"
            f"{nearest(site, measurement.sites)}"
        )
    config = _config(regression, dict(inference or {}), drop_first)
    outcome = config.regressions["fit"].outcome
    if OUTCOMES[outcome].folder != "norms":
        raise UserError(
            f"outcome: found '{outcome}', expected 'norm' or 'relative' of what is in memory"
        )
    names = SimpleNamespace(model="model", corpus="texts", site=site, regression="fit")
    with TemporaryDirectory(prefix="attnlag-") as scratch:
        folder = Path(scratch)
        files = _write(measurement, site, folder)
        settings = stages.build_design(config, names)
        needed = covariates.files_needed(settings.covariates)
        design.write(
            files["norms"],
            files["stream"] if settings.outcome == "relative" else None,
            folder / "design.parquet",
            settings,
            covariates.read_facts(settings, {name: files[name] for name in needed}),
        )
        products = folder / "crossproducts.parquet"
        halves = stages.accumulate_crossproducts(config, names)
        crossproducts.of_design(folder / "design.parquet", products, halves)
        fitted = fitting.fit_regression(
            [products],
            [folder / "design.parquet"],
            measurement.groups,
            stages.fit_regression(config, names),
            threads=1,
        )
    name = f"{measurement.model}, {site}, {_in_words(regression)}"
    return Fit(name, fitted)


def _in_words(regression: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={value!r}" for key, value in regression.items())


def _config(
    regression: dict[str, Any], inference: dict[str, Any], drop_first: int | None
) -> Config:
    """Return a configuration of one regression, with the checks of a configuration file."""
    config, problems = check(
        {
            "models": {"model": {"source": "path", "path": "."}},
            "corpora": {"texts": {"files": ["texts"]}},
            "norms": {} if drop_first is None else {"drop_first": drop_first},
            "regressions": {"fit": regression},
            "controls": {"permutation": None, "random_weights": None},
            "inference": inference,
        }
    )
    # The configuration needs a model and a corpus, which are in memory here.
    told = [
        problem.removeprefix("configuration: ").removeprefix("regressions.fit.")
        for problem in problems
        if not problem.startswith(("configuration: models.", "configuration: corpora."))
    ]
    if config is None or told:
        raise UserError(told)
    return config


def _write(measurement: Measurement, site: str, folder: Path) -> dict[str, Path]:
    """Write norms and the inputs of covariates as the stages of a run do; return the files."""
    files = {
        name: folder / f"{name}.parquet" for name in ("norms", "stream", "corpus", "token_counts")
    }
    record = tables.provenance(
        {}, "tokens", {"shards": 1}, model={"name": measurement.model}, corpus={"name": "texts"}
    )
    schema = columns.schema(measurement.layers)
    keys = pa.Table.from_pandas(measurement.tokens[columns.KEYS], preserve_index=False)
    for name, values in (("norms", measurement.sizes[site]), ("stream", measurement.stream)):
        table = keys
        for layer, norms in enumerate(values):
            table = table.append_column(columns.layer_name(layer), pa.array(norms))
        tables.write_table(table.cast(schema), files[name], record)
    documents = [
        Document(document, measurement.groups[document], text)
        for document, text in measurement.texts.items()
    ]
    tables.write_table(corpus_table(documents), files["corpus"], record)
    ids = pa.array([measurement.tokens["token_id"].astype(np.int32)], pa.list_(pa.int32()))
    counts = token_counts([pa.record_batch({"input_ids": ids})])
    tables.write_table(counts, files["token_counts"], record)
    return files
