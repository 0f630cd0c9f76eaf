"""The findings of a regression in words: sizes first, then the controls, then counts."""

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from attnlag.claims import subsets, training
from attnlag.claims.lags import autocorrelated, different_halves, halves, layers_beyond
from attnlag.claims.numbers import interval, number, span
from attnlag.errors import counted
from attnlag.escaping import text_for
from attnlag.regression.beyond.classes import ALL
from attnlag.regression.beyond.decomposition import EFFECTS, POOLED
from attnlag.regression.covariances import CATALOGUE, label_of
from attnlag.regression.design.properties import OTHER
from attnlag.regression.estimation.least_squares import NO_LAYER_BEFORE
from attnlag.regression.estimation.residuals import BREUSCH_GODFREY_LAGS
from attnlag.regression.inference.diagnostics import order_left
from attnlag.regression.inference.fitting import FittedRegression
from attnlag.regression.inference.groups import fitted_groups
from attnlag.regression.labels import R_SQUARED, UNITS, correction, others_in_words, spans
from attnlag.regression.limits import FEWEST_DOCUMENTS
from attnlag.regression.settings import RegressionSettings
from attnlag.regression.terms import distance, is_lead, lags_among, named, nearest_lag
from attnlag.report.summaries import SHARED_BINS
from attnlag.report.wording import over_layers, titled

# Effective number of documents from which nominal 95% intervals cover 93% or more in simulations,
# where documents differ in level and are pooled, or errors do not allow for few documents.
ENOUGH_DOCUMENTS = 50

# The same for intervals of medians over the layers, where documents of other levels are pooled.
ENOUGH_FOR_MEDIANS = 40

UNUSABLE = "zero or non-finite norms"

# Names of the units within which tokens are permuted.
PERMUTED_WITHIN = {
    "document": "their documents",
    "upos": "the parts of speech of their documents",
}


def of_regression(
    fitted: FittedRegression, name: str, by_class: Sequence[pd.DataFrame] = ()
) -> str:
    """Return the findings of a regression as text.

    ``by_class`` has the slopes by class of tokens, the tests of equal slopes and the nested models,
    if there are any.
    """
    settings, fits = fitted.settings, fitted.goodness
    usable = _usable(fits)
    outcome = f", {UNITS[settings.outcome].removeprefix('of ')}" * (settings.outcome != "norm")
    rows, documents = int(fits["n_obs"].max()), int(fits["n_documents"].max())
    title = (
        f"{name}: {_fitted_layers(fits)}, {counted(rows, 'row')} from "
        f"{counted(documents, 'document')}{outcome}"
    )
    lines = []
    others = fits[fits["mixer"] != "attention"]
    if len(others):
        mixers = dict(zip(others["layer"].astype(str), others["mixer"], strict=True))
        lines.append(f"in place of attention: {others_in_words(mixers)}")
    if len(usable):
        lines += few_documents(fitted)
        lines += sizes(fitted)
        lines += order_findings(fitted.controls, settings)
        lines += random_weights_findings(fitted.before_training)
        lines += counts(fitted)
        lines += halves_findings(fitted)
        if dropped := int(usable["n_dropped"].sum()):
            layers = counted(int((usable["n_dropped"] > 0).sum()), "layer")
            lines.append(f"{counted(dropped, 'row')} of {layers} dropped for {UNUSABLE}")
    unfitted = fits[fits["status"] != "ok"]
    lines += [f"layer {row.layer} was not fitted: {_reason(row)}" for row in unfitted.itertuples()]
    lines += [*residual_findings(fitted), *group_findings(fitted.groups)]
    if by_class:
        slopes, tests, steps = by_class
        lines += class_findings(slopes, tests, settings) + decomposition_findings(steps)
    lines += few_clusters(fitted)
    if fitted.bins is not None:
        lines.append(SHARED_BINS.format(fitted.bins))
    return titled(title, lines)


def fitted_layers(fits: pd.DataFrame) -> str:
    """Return the number of layers that were fitted, in words, with the name of the regression."""
    return f"{_study(fits)}: {_fitted_layers(fits)}"


def _fitted_layers(fits: pd.DataFrame) -> str:
    return f"{len(_usable(fits))} of {counted(len(fits), 'layer')} fitted"


def unfitted_layers(fits: pd.DataFrame) -> list[str]:
    """Return a line for each reason why layers were not fitted, except a missing layer before."""
    unfitted = fits[~fits["status"].isin(["ok", NO_LAYER_BEFORE])]
    unfitted = unfitted.assign(reason=[_reason(row) for row in unfitted.itertuples()])
    return [
        f"{_study(fits)}: {spans(layers.tolist(), 'layer')} {'were' if len(layers) > 1 else 'was'} "
        f"not fitted: {reason}"
        for reason, layers in unfitted.groupby("reason", sort=False)["layer"]
    ]


def _study(fits: pd.DataFrame) -> str:
    return ", ".join(fits.iloc[0][["model", "corpus", "site", "regression"]])


def _reason(row: Any) -> str:
    """Return why a layer was not fitted, and whether its norms are the cause."""
    dropped = int(row.n_dropped)
    return row.status + f" ({counted(dropped, 'row')} dropped for {UNUSABLE})" * bool(dropped)


def _usable(fits: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the layers that were fitted."""
    return fits[fits["status"] == "ok"]


def _tested(settings: RegressionSettings) -> str:
    return f"p < {settings.alpha:g}, {correction(settings.adjust)}"


def few_documents(fitted: FittedRegression) -> list[str]:
    """Return what too few documents change, if they are too few to cluster by."""
    documents = int(_usable(fitted.goodness)["n_documents"].max())
    if documents >= FEWEST_DOCUMENTS:
        return []
    reason = f"{documents} documents are too few to cluster by"
    if documents == 1:
        reason = "with one document there are no document effects and no clusters"
    errors = label_of(fitted.coefficients["vcov_type"].iloc[0])
    return [f"{reason}; errors are {errors}, and intervals say nothing about other texts"]


def sizes(fitted: FittedRegression) -> list[str]:
    """Return the size and the direction of each lag and lead."""
    settings, coefficients = fitted.settings, fitted.coefficients
    usable = _usable(fitted.goodness)
    documents = int(usable["n_documents"].max())
    pooled = settings.fixed_effects == "none"
    scope = "pooled over documents" if pooled else "within documents"
    if documents == 1:
        scope = "in one document"
    lines = []
    medians: dict[Any, Any] = fitted.medians.set_index("term").to_dict("index")
    for term in lags_among(coefficients["term"]):
        estimates = coefficients.loc[coefficients["term"] == term, "estimate"].dropna()
        row, name = medians[term], named(term)
        if len(estimates) == 1:
            lines.append(f"{name}, {scope}: {number(row['median'])} in the one layer")
            continue
        reach = "no interval: too few documents to draw from"
        if np.isfinite(row["conf_low"]):
            level = f"{100 * (1 - settings.alpha):g}%"
            reach = f"{level} interval {interval(row['conf_low'], row['conf_high'])}"
        lines += [
            f"{name}, {scope}: median {number(row['median'])} over the layers ({reach})",
            f"{name} is {interval(row['lowest'], row['highest'])}, positive in "
            f"{int((estimates > 0).sum())} of {len(estimates)} layers",
        ]
    drawn = fitted.medians["conf_low"].notna().any()
    if pooled and len(usable) > 1 and drawn and documents < ENOUGH_FOR_MEDIANS:
        lines.append(
            f"with {documents} documents pooled, intervals of medians cover less than they state "
            f"if documents differ in level: expected at least {ENOUGH_FOR_MEDIANS}"
        )
    return lines


def order_findings(controls: pd.DataFrame, settings: RegressionSettings) -> list[str]:
    """Return in how many layers the lags depend on order, and what they are in permuted order."""
    if "permuted_mean" not in controls:
        return ["the order of tokens was not permuted: no control for it"]
    by_layer = controls.drop_duplicates("layer").dropna(subset="order_p_adjusted")
    if by_layer.empty:
        return []
    rejected = (by_layer["order_p_adjusted"] <= settings.alpha * (1 + 1e-9)).sum()
    drawn = by_layer.iloc[0]
    holm = settings.adjust == "holm"
    over = "max over the layers" if holm else correction(settings.adjust)
    terms = lags_among(controls["term"])
    lags = spans([distance(term) for term in terms])
    if any(map(is_lead, terms)):
        lags = "lags and leads"
    permuted = controls.loc[controls["term"] == terms[0], "permuted_mean"]
    return [
        f"{lags} depend{'s' * (len(terms) == 1)} on the order of tokens in {rejected} of "
        f"{counted(len(by_layer), 'layer')} (tokens permuted within "
        f"{PERMUTED_WITHIN[drawn['permuted_within']]} {int(drawn['permutations']):,} times, one "
        f"joint test per layer, p ≤ {settings.alpha:g}, {over})",
        f"if order meant nothing, {named(terms[0])} would be {span(permuted)}",
    ]


def random_weights_findings(before: pd.DataFrame | None) -> list[str]:
    """Return the results of the same architecture before any training, beside the trained model."""
    if before is None:
        return ["the architecture was not run with random weights: no control for it"]
    terms = lags_among(before["quantity"])
    first, r_squared, summed = (
        training.range_of(before, quantity) for quantity in (terms[0], "r_squared", "lags_summed")
    )
    if first is None or r_squared is None:
        return [
            "random weights say nothing here: the norms of the untrained architecture are "
            "constant in every layer"
        ]
    lag = named(terms[0])
    documents = counted(int(before["documents"].max()), "document")
    by_scale = ", by the scale of the initial weights" * (first.scales > 1)
    lines = [
        f"before training, {lag} is {first.text()} and R² {r_squared.text()} in the median "
        f"layer{by_scale}; after it, {number(first.trained)} and {number(r_squared.trained)} (the "
        f"same {documents}, neither corrected for bias)"
    ]
    if summed:
        lags = spans([distance(term) for term in terms if not is_lead(term)])
        lines.append(
            f"before training, {lags} add up to {summed.text()}; after it, to "
            f"{number(summed.trained)}"
        )
    lines.append(f"scales of the initial weights: {training.scales_in_words(before)}")
    if first.direction == "unknown":
        tested = f"it is not tested whether {lag} is smaller or larger than before training"
        return [*lines, f"with {documents}, {tested}"]
    shown = {"more": "smaller than", "less": "larger than"}
    than = shown.get(first.direction, "neither shown to be smaller nor larger than")
    over = " (mean over the layers, jackknife over documents)" * bool(first.direction)
    return [*lines, f"{lag} is {than} before training at every scale drawn{over}"]


def counts(fitted: FittedRegression) -> list[str]:
    """Return the number of layers in which each lag and lead is present or absent, and R²."""
    settings, coefficients, fits = fitted.settings, fitted.coefficients, fitted.goodness
    terms, lines = lags_among(coefficients["term"]), []
    for term in terms:
        beyond = layers_beyond(coefficients, term, len(fits), settings.equivalence_bound)
        rows = coefficients[coefficients["term"] == term]
        undecided = int((rows["equivalence"] == "undecided").sum())
        beyond += f", undecided in {undecided}" * bool(undecided)
        lines.append(f"{named(term)} is {beyond} ({_tested(settings)})")
    usable, effects = _usable(fits), settings.fixed_effects
    r_squared, partial = usable["r_squared"], usable["partial_r_squared"]
    best = usable["layer"].iloc[r_squared.argmax()]
    highest = f" (highest in layer {best})" * (len(usable) > 1)
    lines.append(f"{R_SQUARED[effects]} is {span(r_squared)}{highest}")
    if len(validated := usable["cv_r_squared"].dropna()):
        unit = "groups" if settings.folds == "groups" else "documents"
        means = ", their means being given," * (effects == "document")
        lines.append(f"R² in unseen {unit}{means} is {span(validated)}")
    if set(coefficients["term"]) - {"intercept", *terms}:
        lines.append(f"R² of the lags, given the other terms, is {over_layers(partial)}")
    if len(worse := usable[r_squared < 0]):
        lines.append(
            f"in {counted(len(worse), 'layer')} ({', '.join(worse['layer'].astype(str))}) the "
            f"regression predicts worse than the mean does (R² down to {number(r_squared.min())})"
        )
    return lines


def halves_findings(fitted: FittedRegression) -> list[str]:
    """Return in which layers the correction of bias does not hold, and the lag without it."""
    settings, fits, coefficients = fitted.settings, fitted.goodness, fitted.coefficients
    claim = halves(fits, coefficients, settings.alpha)
    if settings.bias_correction == "none" or claim is None:
        return []
    layers = different_halves(fits, settings.alpha)
    where = f": {spans(layers, 'layer')}" * bool(layers)
    lines = [f"{claim.sentence}{where} (AHT test of equal lags, {_tested(settings)})"]
    if not layers:
        rows = coefficients[coefficients["term"] == (term := nearest_lag(coefficients["term"]))]
        corrected, without = (number(rows[name].median()) for name in ("estimate", "uncorrected"))
        effect = f"without this correction, {named(term)} is {without} instead of {corrected}"
        if corrected == without:
            effect = f"this correction leaves {named(term)} at {corrected}"
        lines.append(f"{effect} in the median layer")
    return lines


def residual_findings(fitted: FittedRegression) -> list[str]:
    """Return whether the residuals are autocorrelated, and how much order the lags leave.

    With thousands of tokens the test rejects even negligible order, so the size is stated too.
    """
    settings, fits = fitted.settings, fitted.goodness
    if fits["breusch_godfrey_p_value"].isna().all():
        return []
    claim = autocorrelated(fits, settings.alpha, settings.adjust)
    lines = [
        f"{claim.sentence} (autocorrelation of residuals: Breusch-Godfrey, lags 1 to "
        f"{BREUSCH_GODFREY_LAGS}, {_tested(settings)})"
    ]
    lags, remaining = order_left(fitted.residual_sums)
    if claim.value and remaining.notna().any():
        left = over_layers(remaining, about="sum of partial autocorrelations")
        lines.append(f"{spans(lags)}, which are not in the regression, still carry {left}")
    return lines


def group_findings(by_group: pd.DataFrame) -> list[str]:
    """Return the range of the nearest lag over groups, and the groups without coefficients.

    Counts of significant layers would reflect the number of documents of each group.
    """
    escaped = by_group["subset"].map(lambda group: text_for("line", group))
    by_group = by_group.assign(subset=escaped)
    fitted, reason_of = fitted_groups(by_group)
    if len(fitted) + len(reason_of) == 1:
        return ["all documents are in one group, so there are no groups to compare"]
    lines = []
    term = nearest_lag(by_group["term"])
    rows = by_group[by_group["term"] == term]
    if medians := subsets.intervals(rows):
        lines.append(f"{subsets.by_group(rows).clause}; {medians}")
    groups_of: dict[str, list[str]] = {}
    for group, reason in reason_of.items():
        groups_of.setdefault(reason, []).append(group)
    return lines + [
        f"no coefficients of {counted(len(groups), 'group')} "
        f"({textwrap.shorten(', '.join(groups), 120, placeholder=' …')}): {reason}"
        for reason, groups in groups_of.items()
    ]


def few_clusters(fitted: FittedRegression) -> list[str]:
    """Return a warning if clusters are too few, or too unequal, for the intervals.

    Within documents, CR2 holds for as few clusters as are fitted at all.
    """
    settings, usable = fitted.settings, _usable(fitted.goodness)
    covariance = CATALOGUE[settings.covariance]
    holds = covariance.satterthwaite and settings.fixed_effects == "document"
    if usable.empty or not covariance.clustered or holds:
        return []
    effective = float(usable["effective_documents"].min())
    if effective >= ENOUGH_DOCUMENTS:
        return []
    clusters = counted(int(usable["n_documents"].max()), "document")
    if settings.cluster == "group":
        clusters = counted(int(fitted.medians["clusters"].iloc[0]), "group")
    remedy = ", if documents differ in level; document effects mend it"
    if settings.covariance != "cluster":
        remedy = "; `cluster` allows for it"
    elif settings.cluster == "group":
        remedy = ""
    return [
        f"errors are clustered by {clusters}, which are as informative as {effective:.0f} of equal "
        f"size in the worst layer: with fewer than {ENOUGH_DOCUMENTS}, intervals may cover less "
        f"than they state{remedy}"
    ]


def class_findings(
    slopes: pd.DataFrame, tests: pd.DataFrame, settings: RegressionSettings
) -> list[str]:
    """Return the slopes of the nearest lag by class of tokens, and whether they differ.

    The tables are those of `classes.slopes_by_class`.
    """
    term = nearest_lag(tests["term"])
    slopes, tests = slopes[slopes["term"] == term], tests[tests["term"] == term]
    classes = slopes[slopes["subset"] != ALL].dropna(subset="estimate")
    if classes["subset"].nunique() < 2:
        return [
            "slopes by class of token: fewer than two classes have enough rows and documents, or "
            "no layer could be fitted"
        ]
    claim = subsets.by_class(slopes, tests, "class of token", settings.alpha)
    medians = subsets.intervals(classes[classes["subset"] != OTHER], subsets.class_name)
    merged = tests["merged"].iloc[0]
    few = textwrap.shorten(merged, 100, placeholder=" …")
    return [
        f"{claim.clause} (test of equal slopes, {_tested(settings)})"
        f"{f'; {medians}' * bool(medians)}{f'; too few for separate slopes: {few}' * bool(merged)}"
    ]


def decomposition_findings(steps: pd.DataFrame) -> list[str]:
    """Return the mean over layers of the nearest lag, pooled and with everything held fixed."""
    term = nearest_lag(steps["term"])
    rows = steps[steps["term"] == term]
    by_step = rows.pivot(index="layer", columns="step", values="estimate")
    by_step = by_step[[POOLED, EFFECTS[-1]]].dropna()
    if by_step.empty:
        return []
    pooled, within = map(number, by_step.mean())
    change = f"moves {named(term)} from {pooled} to {within}"
    if pooled == within:
        change = f"leaves {named(term)} at {within}"
    documents = "a sample of " * bool(rows["sampled"].any())
    documents += counted(int(rows["n_documents"].max()), "document")
    # Where no token has a part of speech, these add no effects.
    effects = rows.groupby("step")["effects"].max()
    tagged = effects["upos"] > effects["document"]
    held = "documents, parts of speech and tokens" if tagged else "documents and tokens"
    with_tags = " with parts of speech" * bool(tagged)
    return [f"holding {held} fixed {change} (mean over the layers; {documents}{with_tags})"]
