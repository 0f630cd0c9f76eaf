"""Regressions, in every layer, of adjustments that were measured in a notebook."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from attnlag.claims.fits import FitTables
from attnlag.claims.regression import Further, claims_of_regression
from attnlag.claims.row import frame
from attnlag.claims.run import Claims
from attnlag.config.schema import Config
from attnlag.corpus.documents import Document, corpus_table, first_of_groups
from attnlag.errors import UserError, numbers_in_words
from attnlag.escaping import text_for
from attnlag.figures import as_in_the_post, coefficients_by_layer
from attnlag.figures.sizes import PAGE
from attnlag.pipeline import stages
from attnlag.quantities import centred, traced_tables
from attnlag.quantities.catalogue import OPTIONAL, OUTCOMES, QUANTITIES, Outcome
from attnlag.regression import covariates, properties
from attnlag.regression.design.design import Formula
from attnlag.regression.inference import controls, fitting, permutation, training
from attnlag.regression.moments.moments import Moments, Stored, write_design
from attnlag.regression.settings import TrainingSettings
from attnlag.regression.slopes import classes, decomposition
from attnlag.regression.terms import lags_among
from attnlag.report.findings import findings_of_regression
from attnlag.report.lines import Line
from attnlag.report.summaries import layer_summary
from attnlag.storage import tables
from attnlag.study.checking import IN_MEMORY, checked, keys_of_section, one_name
from attnlag.study.measurement import Measurement, occurrences


@dataclass
class Fit:
    """A regression, fitted in every layer."""

    name: str  # of the model, the site and the regression
    fitted: fitting.FittedRegression
    # Coefficients of a separate regression for each group of documents.
    groups: pd.DataFrame
    # One row per layer, lag and lead: the coefficient beside those of the controls.
    controls: pd.DataFrame
    # With ``untrained``: a row per scale of the weights and quantity.
    untrained_scales: pd.DataFrame | None
    # (layers, tokens) float32: L2 norms, without tokens left out at the start of sequences.
    norms: np.ndarray
    # With ``slopes_by``: slopes by class of token, and the tests that they are equal.
    classes: pd.DataFrame | None = None
    equal_slopes: pd.DataFrame | None = None
    # With ``slopes_by``: lags as documents, parts of speech and tokens are held fixed.
    nested_models: pd.DataFrame | None = None
    # With ``before``: a row per checkpoint and quantity, and a row per checkpoint, layer and
    # quantity; see `attnlag.regression.inference.training.TrainingTables`.
    training: pd.DataFrame | None = None
    training_layers: pd.DataFrame | None = None
    # With ``slopes_by``: the property by which tokens are classified.
    trait: str = ""

    @property
    def coefficients(self) -> pd.DataFrame:
        """One row per layer and term: estimate, standard error, p-values, interval, equivalence."""
        return self.fitted.coefficients

    @property
    def fits(self) -> pd.DataFrame:
        """One row per layer: rows, documents, R² and diagnostics of the residuals."""
        return self.fitted.goodness

    @property
    def medians(self) -> pd.DataFrame:
        """One row per term: its coefficient in the median layer, with an interval.

        ``median`` is over the layers that are fitted, ``conf_low`` and ``conf_high`` come from
        ``draws`` draws of documents, and ``lowest`` and ``highest`` are the extremes of the layers.
        """
        return self.fitted.medians

    @property
    def findings(self) -> str:
        """The findings of the regression and its controls, in words."""
        outcome = self.fitted.settings.outcome
        return findings_of_regression(self._claims, self.name, outcome)

    @property
    def claims(self) -> pd.DataFrame:
        """What the tables show, a row a claim; `docs/outputs.md` has the columns."""
        return frame(self._claims.rows)

    @property
    def _tables(self) -> FitTables:
        """The tables of the fit."""
        fitted = self.fitted
        return FitTables(
            settings=fitted.settings,
            coefficients=fitted.coefficients,
            goodness=fitted.goodness,
            medians=fitted.medians,
            controls=fitted.controls,
            influence=fitted.influence,
            groups=fitted.groups,
            untrained_scales=fitted.untrained_scales,
        )

    @cached_property
    def _claims(self) -> Claims:
        """The claims of the regression."""
        further = Further(by_step=self.training)
        slopes = self.classes
        tests = self.equal_slopes
        steps = self.nested_models
        if slopes is not None and tests is not None and steps is not None:
            further = Further(slopes, tests, self.trait, steps, self.training)
        documents = int(self.fits["n_documents"].max())
        return Claims(tuple(claims_of_regression(self._tables, documents, further)))

    def summary(self, layer: int) -> str:
        """Return the fit of one layer as a table of text.

        Raise UserError if there is no such layer.
        """
        if layer not in self.fitted.layers:
            layers = numbers_in_words(self.fitted.layers)
            raise UserError(f"layer: found {layer}, expected {layers}")
        return layer_summary(self._tables, layer, self.name)

    def plot(self) -> Figure:
        """Draw the coefficients of the lags by layer, beside their controls, and R²."""
        sheet = coefficients_by_layer.coefficients(self._tables, self._claims)
        return sheet.draw(sheet.claim, PAGE)

    def plot_as_in_the_post(self) -> Figure:
        """Draw the pictures of the post that this project grew from (Cohen, 2025).

        They are the log norms of all tokens by layer, histograms of a few layers, and the
        coefficients with a cross where their p-value, not corrected over the layers, is at least
        ``alpha``.
        """
        alpha = self.fitted.settings.alpha
        logs = pd.DataFrame(np.log(self.norms).T)
        figure = as_in_the_post.pictures(logs, self.coefficients, alpha, "norm", len(logs))
        return figure.draw(figure.claim, PAGE)

    def __repr__(self) -> str:
        return "\n  ".join([self.name, *Line(("lag",), each="subject").texts(self._claims)])

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
    controls: Mapping[str, Any] | None = None,
    before: Mapping[int, Measurement] | None = None,
    **regression: Any,
) -> Fit:
    """Regress log norms, or another outcome, on those of preceding tokens, in every layer.

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
    controls : mapping, optional
        Keys of the section ``controls``, as in ``{"permutation": {"draws": 200},
        "random_weights": {"documents": 32}}``; none by default, because they take time.
    before : mapping of int to Measurement, optional
        Earlier checkpoints of the same model by their step of training, measured on the same texts
        or on some of them. They give ``Fit.training``; they are never corrected for bias.
    **regression
        Keys of a regression in the configuration: ``lags``, ``leads``, ``fixed_effects``,
        ``bias_correction``, ``covariates``, ``slopes_by``, ``min_rows_per_class``, ``outcome``,
        ``position_knots``.

    Raises
    ------
    UserError
        If a setting is unknown or impossible, if there are too few documents for it, if the
        measurement lacks the tagger or the surprisal that a covariate needs, or if a checkpoint was
        not measured on the same tokens or has other layers.

    Examples
    --------
    >>> fit = attnlag.fit(measured, lags=[1, 2], fixed_effects="document")
    >>> fit.coefficients.query("term == 'lag_1'")["layer"].tolist()
    [0, 1]
    """
    if not isinstance(measurement, Measurement):
        found = type(measurement).__name__
        raise UserError(f"measurement: found {found}, expected what attnlag.measure returns")
    if site is None:
        site = measurement.sites[0]
    site = one_name("site", site, measurement.sites, "which were measured")
    asked_controls: dict[str, Any] = {"permutation": None, "random_weights": None}
    asked_controls |= keys_of_section("controls", controls)
    if "revisions" in asked_controls:
        raise UserError(
            "controls.revisions: found in a notebook, expected before={step: measurement, …}"
        )
    config = checked(
        {
            "norms": {} if drop_first is None else {"drop_first": drop_first},
            # What was not measured is named below.
            "extraction": {"quantities": list(OPTIONAL)},
            "inference": keys_of_section("inference", inference),
            "controls": asked_controls,
        },
        regression=regression,
        tagger=measurement.tagger.keys,
    )
    outcome = OUTCOMES[config.regressions["fit"].outcome]
    needed = _measured_for(outcome)
    if needed not in measurement.quantities or site not in QUANTITIES[needed].sites([site]):
        raise UserError(
            f"outcome: found '{outcome.name}' of a measurement without '{needed}' of {site}, "
            f"expected measure(…, quantities=['{needed}'])"
        )
    covariates_used = config.regressions["fit"].covariates
    if covariates.needs_layers_between(covariates_used, measurement.layer_numbers):
        raise UserError(
            "covariates: found previous_layer of a measurement of the layers "
            f"{numbers_in_words(measurement.layer_numbers)}, expected layers without a gap"
        )
    for step, checkpoint in (before or {}).items():
        _check_checkpoint(step, checkpoint, measurement, needed, site)
    arguments = (f"{key}={value!r}" for key, value in regression.items())
    name = f"{measurement.model}, {site}, {', '.join(arguments)}"
    with TemporaryDirectory(prefix="attnlag-") as scratch:
        return _fitted(measurement, site, config, name, Path(scratch), before or {})


def _measured_for(outcome: Outcome) -> str:
    """Return the quantity to measure for an outcome: its own, or the one that gives it."""
    name = outcome.quantity
    source = QUANTITIES[name].measured_in
    return source if source in QUANTITIES else name


def _check_checkpoint(
    step: int, checkpoint: Measurement, final: Measurement, quantity: str, site: str
) -> None:
    """Raise UserError if a checkpoint cannot stand beside the final weights."""
    key = f"before[{step!r}]"
    if type(step) is not int or step < 0:
        raise UserError(f"{key}: found {step!r}, expected the number of a step of training")
    if not isinstance(checkpoint, Measurement):
        raise UserError(f"{key}: found {type(checkpoint).__name__}, expected what measure returns")
    if (quantity, site) not in checkpoint.tables:
        raise UserError(f"{key}: found no '{quantity}' of {site}, expected it to be measured")
    if checkpoint.layer_numbers != final.layer_numbers:
        raise UserError(
            f"{key}: found the layers {numbers_in_words(checkpoint.layer_numbers)}, expected "
            f"{numbers_in_words(final.layer_numbers)}, as in the final weights"
        )
    keys = ["document", "window", "position", "token_id"]
    own = final.tokens[final.tokens["document"].isin(checkpoint.texts)]
    same = np.array_equal(own[keys].to_numpy(), checkpoint.tokens[keys].to_numpy())
    if not same:
        raise UserError(
            f"{key}: found other texts or tokens than those of the final weights, expected the "
            "same ones, or some of the documents"
        )


def _fitted(
    measurement: Measurement,
    site: str,
    config: Config,
    name: str,
    folder: Path,
    before: Mapping[int, Measurement],
) -> Fit:
    """Run the stages of a regression as a run does, with their files in a folder."""
    regression = config.regressions["fit"]
    build = stages.build_design_settings(config, IN_MEMORY)
    outcome = OUTCOMES[regression.outcome]
    files = _write_inputs(measurement, config, folder)
    norms, stream = _write_outcome(measurement, site, outcome, folder)
    relative = stream if regression.outcome == "relative" else None
    formula = Formula.read(build.design, files)
    design = folder / "design.parquet"
    made = folder / "crossproducts.parquet"
    write_design(norms, relative, design, made, formula, halves=build.halves)
    permutations: list[permutation.PermutedMoments] = []
    untrained: list[controls.UntrainedMoments] = []
    if config.controls.permutation:
        exchange = stages.permutations_settings(config, IN_MEMORY)
        tags = files.get("token_properties")
        permutations = [permutation.permute_outcomes(norms, relative, tags, exchange, formula)]
    control = config.controls.random_weights
    if control:
        documents = first_of_groups(files["corpus"], control.documents)
        # As in a run, outcomes other than norms have the first scale alone.
        scales = control.scales if outcome.quantity == "norms" else control.scales[:1]
        paths: list[Path] = []
        streams: list[Path] = []
        draws = measurement.draws(documents, scales, control.seed, [_measured_for(outcome)])
        for draw, drawn in draws:
            path, stream = _write_outcome(drawn, site, outcome, folder / draw["scale"], draw=draw)
            paths.append(path)
            streams.append(stream)
        untrained = controls.untrained_moments(
            build.design, files, paths, streams if relative else []
        )
    inference = stages.regression_settings(config, IN_MEMORY)
    fitted = fitting.fit_regression(
        [made],
        [design],
        measurement.groups,
        inference,
        permutations=permutations,
        untrained=untrained,
    )
    path_of_training: training.TrainingTables | None = None
    if before:
        whole = Stored([made])
        settings = stages.training_settings(config, IN_MEMORY)
        path_of_training = _trained(before, measurement, site, formula, whole, settings, folder)
    used = measurement.tokens["position"].to_numpy() >= config.norms.drop_first
    sizes = measurement.sizes[site][:, used]
    fit = Fit(name, fitted, fitted.groups, fitted.controls, fitted.untrained_scales, sizes)
    if regression.by_file:
        tokens = files[regression.by_file]
        tags = files["token_properties"]
        slopes, tests, steps = _by_class(config, design, tokens, tags)
        fit.classes = slopes
        fit.equal_slopes = tests
        fit.nested_models = steps
        fit.trait = stages.classes_settings(config, IN_MEMORY).property
    if path_of_training:
        fit.training = path_of_training.medians
        fit.training_layers = path_of_training.layers
    return fit


def _trained(
    before: Mapping[int, Measurement],
    final: Measurement,
    site: str,
    formula: Formula,
    layers: Sequence[Moments],
    settings: TrainingSettings,
    folder: Path,
) -> training.TrainingTables:
    """Return the tables of a regression at earlier checkpoints and with the final weights.

    ``layers`` are the moments of the final weights.
    """
    checkpoints = []
    for step, checkpoint in before.items():
        norms, own_stream = _write_outcome(
            checkpoint, site, formula.outcome, folder / f"step {step}"
        )
        stream = own_stream if formula.settings.outcome == "relative" else None
        moments = training.moments_of(formula, norms, stream)
        loss = training.loss_of(checkpoint.tokens, checkpoint.texts)
        checkpoints.append(training.Checkpoint(step, checkpoint.model, moments, loss))
    texts = next(iter(before.values())).texts
    loss = training.loss_of(final.tokens, texts)
    last = training.Checkpoint(None, training.FINAL, layers, loss)
    return training.fit(checkpoints, last, settings)


def _by_class(config: Config, design: Path, tokens: Path, tags: Path) -> tuple[pd.DataFrame, ...]:
    """Return slopes by class, the tests that they are equal, and the steps."""
    settings = stages.class_products_settings(config, IN_MEMORY)
    cuts = None
    if config.regressions["fit"].by_number:
        cuts = properties.read_property(settings.property, [tokens]).cuts()
    products = design.with_name("class_crossproducts.parquet")
    classes.sum_design(design, tokens, cuts, products, settings)
    fit = stages.classes_settings(config, IN_MEMORY)
    layers = Stored([products], keep=True)
    slopes, tests = classes.slopes_by_class(layers, fit)
    steps, _ = decomposition.decomposed([design], [tags], config.inference.alpha)
    return slopes, tests, steps


def _write_inputs(measurement: Measurement, config: Config, folder: Path) -> dict[str, Path]:
    """Write what a regression needs beside its outcome, as a run does; return the files by name."""
    regression = config.regressions["fit"]
    exchange = config.controls.permutation
    needed = covariates.files_needed(regression.covariates)
    if regression.by_file:
        # The steps of the decomposition hold parts of speech fixed.
        needed |= {regression.by_file, "token_properties"}
    if exchange and exchange.within != "document":
        needed.add("token_properties")
    quantities = [name for name in QUANTITIES if name in needed]
    for name in quantities:
        if name not in measurement.quantities:
            raise UserError(
                f"{name}: found a measurement without it, expected "
                f"measure(…, quantities=['{name}'])"
            )
    groups = measurement.groups
    documents = [Document(name, groups[name], text) for name, text in measurement.texts.items()]
    made: dict[str, Callable[[], Any]] = {
        "corpus": lambda: corpus_table(documents),
        "token_counts": lambda: occurrences(measurement.tokens),
        "token_properties": lambda: measurement.properties,
    }
    for name in quantities:
        made[name] = partial(measurement.tables.get, (name, ""))
    files = {name: folder / f"{name}.parquet" for name in ("corpus", *needed)}
    for name, path in files.items():
        tables.write_table(made[name](), path, _record(measurement))
    return files


def _write_outcome(
    measurement: Measurement, site: str, outcome: Outcome, folder: Path, **facts: Any
) -> tuple[Path, Path]:
    """Write what is regressed of a site as a run does, and the norms of the stream.

    Facts are added to their records.
    """
    record = _record(measurement) | facts
    measured = measurement.tables
    norms = folder / "norms.parquet"
    stream = folder / "stream.parquet"
    tables.write_table(measured["stream", ""], stream, record)
    if outcome.quantity == "source_parts":
        rows = traced_tables.source_parts(measured["sources", "attention"])
    elif outcome.quantity == "centred_cosines":
        vectors = folder / "vectors.parquet"
        tables.write_table(measured["vectors", site], vectors, record)
        rows, _ = centred.cosines_of(vectors)
    else:
        rows = measured[outcome.quantity, site]
    tables.write_table(rows, norms, record)
    return norms, stream


def _record(measurement: Measurement) -> tables.Record:
    """Return the provenance of the files of a measurement."""
    measured = tables.provenance({}, "activations", dict(measurement.passes))
    names = {"model": {"name": measurement.model}, "corpus": {"name": "texts"}}
    return tables.provenance(measured, "tokens", {}, **names)
