"""The findings of a regression in words: sizes, controls, counts."""

import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from attnlag import wording
from attnlag.claims import checkpoints, subsets, training
from attnlag.claims.lags import (
    as_more_is_held_fixed,
    curvature,
    different_halves,
    halves,
    layers_shown,
    omitted_lags,
)
from attnlag.claims.lags import size as lag_size
from attnlag.claims.numbers import number, percent, span
from attnlag.errors import counted
from attnlag.escaping import text_for
from attnlag.regression.covariances import CATALOGUE, label_of
from attnlag.regression.design.properties import OTHER
from attnlag.regression.inference.fitting import FittedRegression
from attnlag.regression.inference.groups import fitted_groups
from attnlag.regression.labels import R_SQUARED, UNITS, correction, others_in_words, spans
from attnlag.regression.limits import MIN_DOCUMENTS
from attnlag.regression.settings import RegressionSettings
from attnlag.regression.slopes.classes import ALL
from attnlag.regression.terms import distance, is_lead, lags_among, named, nearest_lag
from attnlag.report.wording import over_layers, titled

# Effective number of documents from which nominal 95% intervals cover 93% or more in simulations,
# where documents differ in level and are pooled, or errors do not allow for few documents.
ENOUGH_DOCUMENTS = 50

# The same for intervals of medians over the layers, where documents of other levels are pooled:
# with documents of the default run redrawn, 95% intervals cover 82 to 88% with 13 and 91 to 94%
# with 40.
ENOUGH_FOR_MEDIANS = 100

# Share of the rows from which a single document is named.
DOMINATING_SHARE = 0.25

UNUSABLE = "zero or non-finite norms"

# Names of the units within which tokens are permuted.
PERMUTED_WITHIN = {
    "document": "their documents",
    "upos": "the parts of speech of their documents",
}


def of_regression(
    fitted: FittedRegression,
    name: str,
    by_class: Sequence[pd.DataFrame] = (),
    of_training: pd.DataFrame | None = None,
) -> str:
    """Return the findings of a regression as text.

    ``by_class`` has slopes by class of tokens, tests of equal slopes and nested models, if any, and
    ``of_training`` the medians at earlier checkpoints.
    """
    fits, outcome = fitted.goodness, fitted.settings.outcome
    rows, documents = int(fits["n_obs"].max()), int(fits["n_documents"].max())
    of_outcome = f", {UNITS[outcome].removeprefix('of ')}" * (outcome != "norm")
    title = f"{name}: {fitted_layers(fits)}, {counted(rows, 'row')} from "
    title += f"{counted(documents, 'document')}{of_outcome}"
    return titled(title, _findings(fitted, by_class, of_training))


def _findings(
    fitted: FittedRegression,
    by_class: Sequence[pd.DataFrame],
    of_training: pd.DataFrame | None,
) -> Iterator[str]:
    fits = fitted.goodness
    others = fits[fits["mixer"] != "attention"]
    if len(others):
        mixers = dict(zip(others["layer"].astype(str), others["mixer"], strict=True))
        yield f"in place of attention: {others_in_words(mixers)}"
    usable = _usable(fits)
    if len(usable):
        yield from few_documents(fitted)
        yield from dominating_document(usable)
        yield from sizes(fitted)
        yield from order_findings(fitted)
        bound = fitted.settings.equivalence_bound
        yield from random_weights_findings(fitted.before_training, bound)
        if of_training is not None:
            yield from training_findings(of_training, fitted)
        yield from counts(fitted)
        yield from halves_findings(fitted)
        if dropped := int(usable["n_dropped"].sum()):
            layers = counted(int((usable["n_dropped"] > 0).sum()), "layer")
            yield f"{counted(dropped, 'row')} of {layers} dropped for {UNUSABLE}"
    yield from unfitted_layers(fits)
    yield from residual_findings(fitted)
    yield from group_findings(fitted.groups)
    if by_class:
        slopes, tests, steps = by_class
        yield from class_findings(slopes, tests, fitted.settings)
        yield from decomposition_findings(steps)
    yield from few_clusters(fitted)


def _usable(fits: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the layers that were fitted."""
    return fits[fits["status"] == "ok"]


def fitted_layers(fits: pd.DataFrame) -> str:
    """Return the number of layers that were fitted, in words."""
    return f"{len(_usable(fits))} of {counted(len(fits), 'layer')} fitted"


def unfitted_layers(fits: pd.DataFrame) -> Iterator[str]:
    """Yield the layers that were not fitted, by reason, with rows dropped for their norms."""
    unfitted = fits[fits["status"] != "ok"]
    for _, rows in unfitted.groupby(["status", "n_dropped"], sort=False):
        layers, reason = rows["layer"].tolist(), rows["status"].iloc[0]
        if dropped := int(rows["n_dropped"].iloc[0]):
            each = " of each" * (len(layers) > 1)
            reason += f" ({counted(dropped, 'row')}{each} dropped for {UNUSABLE})"
        were = "was" if len(layers) == 1 else "were"
        yield f"{spans(layers, 'layer')} {were} not fitted: {reason}"


def _tested(settings: RegressionSettings) -> str:
    return f"p < {settings.alpha:g}, {correction(settings.adjust)}"


def few_documents(fitted: FittedRegression) -> Iterator[str]:
    """Yield what too few documents change, if they are too few to cluster by."""
    documents = int(_usable(fitted.goodness)["n_documents"].max())
    if documents < MIN_DOCUMENTS:
        reason = f"{documents} documents are too few to cluster by"
        if documents == 1:
            reason = "with one document there are no document effects and no clusters"
        errors = label_of(fitted.coefficients["vcov_type"].iloc[0])
        yield (
            f"{reason}; errors are {errors}, lags are not corrected for bias, and intervals say "
            "nothing about other texts"
        )


def dominating_document(usable: pd.DataFrame) -> Iterator[str]:
    """Yield the document or group that has so many rows that the estimates are mostly its own."""
    shares = usable["largest_cluster_rows"] / usable["n_obs"]
    most = usable.assign(share=shares).sort_values("share").iloc[-1]
    share = float(most["share"])
    if most["n_documents"] < MIN_DOCUMENTS or not share >= DOMINATING_SHARE:
        return
    name = text_for("line", most["largest_cluster"])
    effective = float(most["effective_documents"])
    yield (
        f"{name} has {percent(share)} of the rows: where slopes differ between texts, estimates "
        f"are mostly its own, and documents are as informative as {effective:.0f} "
        "of equal size"
    )


def sizes(fitted: FittedRegression) -> Iterator[str]:
    """Yield the size and the direction of each lag and lead."""
    settings, coefficients = fitted.settings, fitted.coefficients
    usable = _usable(fitted.goodness)
    documents = int(usable["n_documents"].max())
    pooled = settings.fixed_effects == "none"
    scope = "pooled over documents" if pooled else "within documents"
    if documents == 1:
        scope = "in one document"
    medians: dict[Any, Any] = fitted.medians.set_index("term").to_dict("index")
    for term in lags_among(coefficients["term"]):
        estimates = coefficients.loc[coefficients["term"] == term, "estimate"].dropna()
        size = lag_size(
            coefficients,
            term,
            medians[term],
            equivalence_bound=settings.equivalence_bound,
            alpha=settings.alpha,
            texts=documents,
        )
        yield wording.size_finding(size, scope, estimates)
    drawn = fitted.medians["conf_low"].notna().any()
    if pooled and len(usable) > 1 and drawn and documents < ENOUGH_FOR_MEDIANS:
        yield (
            f"with {documents} documents pooled, intervals of medians cover less than they state "
            "if documents differ in level (nominal 95% ones 82 to 88% with 13 documents, 91 to 94% "
            f"with 40): expected at least {ENOUGH_FOR_MEDIANS}"
        )


def order_findings(fitted: FittedRegression) -> Iterator[str]:
    """Yield in how many layers lags depend on order, and what they are without it."""
    controls, settings = fitted.controls, fitted.settings
    if "permuted_mean" not in controls:
        yield "the order of tokens was not permuted: no control for it"
        return
    by_layer = controls.drop_duplicates("layer").dropna(subset="order_p_adjusted")
    if by_layer.empty:
        return
    rejected = (by_layer["order_p_adjusted"] <= settings.alpha * (1 + 1e-9)).sum()
    drawn = by_layer.iloc[0]
    over = "max over the layers" if settings.adjust == "holm" else correction(settings.adjust)
    terms = lags_among(controls["term"])
    with_leads = any(map(is_lead, terms))
    lags = "lags and leads" if with_leads else spans([distance(term) for term in terms])
    yield (
        f"{lags} depend{'s' * (len(terms) == 1)} on the order of tokens in {rejected} of "
        f"{counted(len(by_layer), 'layer')} (tokens permuted within "
        f"{PERMUTED_WITHIN[drawn['permuted_within']]} {int(drawn['permutations']):,} times, one "
        f"joint test per layer, p ≤ {settings.alpha:g}, {over})"
    )
    permuted = controls.loc[controls["term"] == terms[0], "permuted_mean"]
    yield f"if order meant nothing, {named(terms[0])} would be {span(permuted)}"


def random_weights_findings(before: pd.DataFrame | None, bound: float) -> Iterator[str]:
    """Yield the results of the architecture before any training, and after it.

    ``bound`` is the size up to which a coefficient is negligible.
    """
    if before is None:
        yield "the architecture was not run with random weights: no control for it"
        return
    terms = lags_among(before["quantity"])
    first = training.before_training(before, terms[0], bound)
    r_squared = training.before_training(before, "r_squared", bound)
    summed = training.before_training(before, "lags_summed", bound)
    if first is None or r_squared is None:
        yield (
            "random weights say nothing here: the norms of the untrained architecture are "
            "constant in every layer"
        )
        return
    lag = named(terms[0])
    documents = counted(int(before["documents"].max()), "document")
    why = training.averaging(r_squared)
    yield (
        f"before training, {lag} is {first.text(why)}; after it, {number(first.trained)} (median "
        f"layer of the same {documents}, neither corrected for bias)"
    )
    if summed:
        lags = spans([distance(term) for term in terms if not is_lead(term)])
        after = number(summed.trained)
        yield f"before training, {lags} add up to {summed.text()}; after it, to {after}"
    yield f"before training, R² is {r_squared.text()}; after it, {number(r_squared.trained)}"
    yield f"scales of the initial weights: {training.scales_in_words(before)}"
    yield first.verdict(lag, documents)


def training_findings(table: pd.DataFrame, fitted: FittedRegression) -> Iterator[str]:
    """Yield how the nearest lag goes along the training of the model."""
    settings = fitted.settings
    term = nearest_lag(fitted.coefficients["term"])
    course = checkpoints.course(table, term, bound=settings.equivalence_bound, alpha=settings.alpha)
    if course is not None:
        yield from wording.course_findings(course)


def counts(fitted: FittedRegression) -> Iterator[str]:
    """Yield in how many layers each lag and lead is present or absent, and R²."""
    settings, coefficients, fits = fitted.settings, fitted.coefficients, fitted.goodness
    terms = lags_among(coefficients["term"])
    for term in terms:
        layers = layers_shown(coefficients, term, settings.equivalence_bound)
        yield f"{wording.filled(wording.LAG_FINDING, layers)} ({_tested(settings)})"
    usable, effects = _usable(fits), settings.fixed_effects
    r_squared = usable["r_squared"]
    best = usable["layer"].iloc[r_squared.argmax()]
    highest = f" (highest in layer {best})" * (len(usable) > 1)
    yield f"{R_SQUARED[effects]} is {span(r_squared)}{highest}"
    if len(validated := usable["cv_r_squared"].dropna()):
        unit = "groups" if settings.folds == "groups" else "documents"
        means = ", their means being given," * (effects == "document")
        yield f"R² in unseen {unit}{means} is {span(validated)}"
    if set(coefficients["term"]) - {"intercept", *terms}:
        partial = over_layers(usable["partial_r_squared"])
        yield f"R² of the lags, given the other terms, is {partial}"
    if len(worse := usable[r_squared < 0]):
        yield (
            f"in {counted(len(worse), 'layer')} ({', '.join(worse['layer'].astype(str))}) the "
            f"regression predicts worse than the mean does (R² down to {number(r_squared.min())})"
        )


def halves_findings(fitted: FittedRegression) -> Iterator[str]:
    """Yield where the correction of bias does not hold, and what it changes."""
    settings, coefficients = fitted.settings, fitted.coefficients
    claim = halves(fitted.goodness, coefficients, settings.alpha)
    if settings.bias_correction == "none" or claim is None:
        return
    yield f"{wording.halves(claim)} (AHT test of equal lags, {_tested(settings)})"
    if layers := different_halves(fitted.goodness, settings.alpha):
        yield f"halves of texts differ in {spans(layers, 'layer')}"


def residual_findings(fitted: FittedRegression) -> Iterator[str]:
    """Yield whether the lags are too few or not linear, and how much that would carry.

    With thousands of tokens the test rejects even negligible order, so the size is stated too.
    """
    settings, fits = fitted.settings, fitted.goodness
    terms = fitted.coefficients["term"].unique().tolist()
    omitted = omitted_lags(fits, terms, settings.alpha)
    if omitted.subject:
        further = wording.further_lags(omitted)
        yield f"{further} (score test clustered by document, {_tested(settings)})"
    rows = curvature(fits, terms, settings.alpha)
    if rows:
        yield f"{wording.curvature(*rows)} (the same test)"


def group_findings(by_group: pd.DataFrame) -> Iterator[str]:
    """Yield the range of the nearest lag over groups, and the groups without coefficients.

    Counts of significant layers would reflect the number of documents of each group.
    """
    escaped = by_group["subset"].map(lambda group: text_for("line", group))
    by_group = by_group.assign(subset=escaped)
    fitted, reason_of = fitted_groups(by_group)
    if len(fitted) + len(reason_of) == 1:
        yield "all documents are in one group, so there are no groups to compare"
        return
    term = nearest_lag(by_group["term"])
    rows = subsets.by_subset(by_group[by_group["term"] == term])
    if any(np.isfinite(row.low) for row in rows):
        counts = wording.clause(wording.groups(rows, term))
        yield f"{counts} (medians over the layers); {wording.extremes(rows)}"
    for reason in dict.fromkeys(reason_of.values()):
        groups = [group for group, of_group in reason_of.items() if of_group == reason]
        names = textwrap.shorten(", ".join(groups), 120, placeholder=" …")
        yield f"no coefficients of {counted(len(groups), 'group')} ({names}): {reason}"


def few_clusters(fitted: FittedRegression) -> Iterator[str]:
    """Yield a warning if clusters are too few, or too unequal, for the intervals.

    Within documents, CR2 holds for as few clusters as are fitted at all.
    """
    settings, usable = fitted.settings, _usable(fitted.goodness)
    covariance = CATALOGUE[settings.covariance]
    holds = covariance.needs == "cr2" and settings.fixed_effects == "document"
    effective = float(usable["effective_documents"].min())
    if not covariance.clustered or holds or not effective < ENOUGH_DOCUMENTS:
        return
    clusters = counted(int(usable["n_documents"].max()), "document")
    if settings.cluster == "group":
        clusters = counted(int(fitted.medians["clusters"].iloc[0]), "group")
    remedy = ", if documents differ in level; document effects mend it"
    if settings.covariance != "cluster":
        remedy = "; `cluster` allows for it"
    elif settings.cluster == "group":
        remedy = ""
    yield (
        f"errors are clustered by {clusters}, which are as informative as {effective:.0f} of equal "
        f"size in the worst layer: with fewer than {ENOUGH_DOCUMENTS}, intervals may cover less "
        f"than they state{remedy}"
    )


def class_findings(
    slopes: pd.DataFrame, tests: pd.DataFrame, settings: RegressionSettings
) -> Iterator[str]:
    """Yield whether slopes of the nearest lag differ by class of tokens."""
    term = nearest_lag(tests["term"])
    slopes, tests = slopes[slopes["term"] == term], tests[tests["term"] == term]
    classes = slopes[slopes["subset"] != ALL].dropna(subset="estimate")
    if classes["subset"].nunique() < 2:
        yield (
            "slopes by class of token: fewer than two classes have enough rows and documents, or "
            "no layer could be fitted"
        )
        return
    medians = subsets.by_subset(classes[classes["subset"] != OTHER])
    test = subsets.by_class(tests, settings.alpha)
    differ = wording.clause(wording.class_slopes(test, [], "class of token"))
    parts = [f"{differ} (test of equal slopes, {_tested(settings)})"]
    if any(np.isfinite(row.low) for row in medians):
        parts.append(f"medians over the layers: {wording.extremes(medians, subsets.class_name)}")
    if merged := tests["merged"].iloc[0]:
        few = textwrap.shorten(merged, 100, placeholder=" …")
        parts.append(f"too few for separate slopes: {few}")
    yield "; ".join(parts)


def decomposition_findings(steps: pd.DataFrame) -> Iterator[str]:
    """Yield the nearest lag as one thing more is held fixed, a line for each."""
    term = named(nearest_lag(steps["term"]))
    for row in as_more_is_held_fixed(steps):
        yield wording.STEP_FINDING.format(
            term=term,
            step=wording.STEPS[row.subject],
            value=number(row.value),
            layers=row.layers,
            texts=row.texts,
        )
