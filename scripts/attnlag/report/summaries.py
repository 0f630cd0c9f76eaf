"""Findings of a regression in words, and summary tables of its fits."""

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from statsmodels.iolib.table import SimpleTable
from statsmodels.iolib.tableformatting import fmt_params

from attnlag.adjustments.columns import layer_name
from attnlag.errors import counted
from attnlag.escaping import text_for
from attnlag.regression.beyond import groups
from attnlag.regression.estimation.least_squares import NO_LAYER_BEFORE
from attnlag.regression.estimation.regress import LayerFit
from attnlag.regression.estimation.residuals import BREUSCH_GODFREY_LAGS, ResidualSums
from attnlag.regression.inference import results
from attnlag.regression.inference.diagnostics import order_left
from attnlag.regression.inference.fitting import FittedRegression
from attnlag.regression.labels import (
    COVARIANCE,
    OUTCOMES,
    R_SQUARED,
    UNITS,
    correction,
    others_in_words,
    spans,
    with_minus_signs,
)
from attnlag.regression.limits import CLUSTERED, FEWEST_DOCUMENTS
from attnlag.regression.settings import RegressionSettings
from attnlag.regression.terms import distance, is_lead, lags_among, named
from attnlag.report.classes import class_findings, decomposition_findings, medians_in_words

PREDICTIVE = (
    "Coefficients of lags within one layer are predictive associations: all tokens of a layer\n"
    "are computed in parallel from the layer before, so none of them is caused by another."
)

SHARED_BINS = (
    "documents share {:,} bins in the jackknife, the folds and the bootstrap, to stay within the "
    "memory budget; standard errors are by document"
)

UNUSABLE = "zero or non-finite norms"

# Effective number of documents from which nominal 95% intervals cover 93% or more in simulations,
# where documents differ in level and are pooled, or errors do not allow for few documents.
ENOUGH = 50


def layer_summaries(fitted: FittedRegression, name: str) -> dict[str, str]:
    """Return the fit of each layer as a text table, by the name of the layer."""
    settings = fitted.settings
    notes = []
    if settings.fixed_effects == "document":
        notes.append("Means of documents are removed, and every R-squared is within documents.")
    if fitted.bins is not None:
        notes.append(SHARED_BINS.format(fitted.bins))
    by_layer = fitted.coefficients.groupby("layer")
    rows = fitted.goodness.itertuples()
    return {
        layer_name(layer): layer_summary(
            fit,
            by_layer.get_group(layer),
            row,
            title=f"{name}: layer {layer}"
            + (f" ({row.mixer})" if row.mixer != "attention" else ""),
            alpha=settings.alpha,
            adjust=settings.adjust,
            outcome=settings.outcome,
            within=settings.fixed_effects == "document",
            notes=[*notes, *_corrected(settings.bias_correction)],
        )
        for layer, fit, row in zip(fitted.layers, fitted.fits, rows, strict=True)
    }


def _corrected(bias_correction: str) -> list[str]:
    """Return a line on the coefficients that the half-panel jackknife corrects, or none."""
    if bias_correction == "none":
        return []
    which = "Lags and leads are corrected by the half-panel jackknife, and the other terms solved"
    return textwrap.wrap(f"{which} anew given these.", 90)


def _degrees(fit: LayerFit) -> str:
    """Return the degrees of freedom of the test of all slopes."""
    return f"{fit.wald.df:,} and {fit.wald.df_residual:,.1f}"


def layer_summary(
    fit: LayerFit,
    coefficients: pd.DataFrame,
    row: Any,
    *,
    title: str,
    alpha: float,
    adjust: str,
    outcome: str = "norm",
    within: bool = False,
    notes: Sequence[str] = (),
) -> str:
    """Return one layer's fit as a text table, with a line for each note.

    ``coefficients`` are the layer's rows of the tidy table, in the order of the terms; ``row`` is
    that of the table of fits; ``within`` says that R² refers to the variance within documents.
    """
    if fit.status != "ok":
        return f"{title}\n\nNot fitted: {fit.status} ({fit.n_obs:,} rows).\n"
    likelihood = criteria = ("", "")
    if np.isfinite(fit.log_likelihood):
        aic = -2 * fit.log_likelihood + 2 * fit.parameters
        bic = -2 * fit.log_likelihood + np.log(fit.n_obs) * fit.parameters
        likelihood = "Log-likelihood:", f"{fit.log_likelihood:.6g}"
        criteria = "AIC / BIC:", f"{aic:.6g} / {bic:.6g}"
    covariance = COVARIANCE[coefficients["vcov_type"].iloc[0]]
    folds, documents = (
        f"{value:.4f}" if np.isfinite(value) else "none"
        for value in (fit.cv_r_squared, fit.loo_r_squared)
    )
    independent = f"{fit.effective_documents:,.1f}"
    explained = "R-squared within docs:" if within else "R-squared:"
    top = _two_columns(
        [
            ("Dep. variable:", OUTCOMES[outcome], explained, f"{fit.r_squared:.4f}"),
            ("Method:", "least squares", "Adj. R-squared:", f"{fit.adj_r_squared:.4f}"),
            ("No. observations:", f"{fit.n_obs:,}", "R-squared, by folds:", folds),
            ("No. documents:", f"{fit.n_documents:,}", "R-squared, by document:", documents),
            ("Effective documents:", independent, "F-statistic (Wald):", f"{fit.f_statistic:.5g}"),
            ("Df of F:", _degrees(fit), "Prob (F-statistic):", f"{fit.f_p_value:.3g}"),
            ("Condition no.:", f"{fit.condition_number:.4g}", *likelihood),
            ("Residual std. dev.:", f"{fit.sigma:.5g}", *criteria),
        ],
        title,
    )
    shown = {
        "estimate": ("coef", ".5f"),
        "std_error": ("std err", ".5f"),
        "statistic": ("t", ".3f"),
        "df": ("df", ".1f"),
        "p_value": ("P>|t|", ".3g"),
        "p_adjusted": ("adj. P", ".3g"),
        "p_wild": ("wild P", ".3g"),
        "conf_low": (f"[{alpha / 2:g}", ".5f"),
        "conf_high": (f"{1 - alpha / 2:g}]", ".5f"),
    }
    cells = {
        header: [format(value, digits) for value in coefficients[column]]
        for column, (header, digits) in shown.items()
        if column in coefficients
    }
    body = SimpleTable(
        list(zip(*cells.values(), strict=True)),
        headers=list(cells),
        stubs=[text_for("line", term) for term in coefficients["term"]],
        txt_fmt=fmt_params,
    )

    def tested(name: str) -> str:
        return f"{getattr(row, name):.4g} (p {getattr(row, name + '_p_value'):.3g})"

    durbin_watson = f"{row.durbin_watson:.4f}"
    below = _two_columns(
        [
            ("Jarque-Bera:", tested("jarque_bera"), "Breusch-Pagan:", tested("breusch_pagan")),
            ("Skewness:", f"{row.skewness:.4f}", "Breusch-Godfrey:", tested("breusch_godfrey")),
            ("Kurtosis:", f"{row.kurtosis:.4f}", "Durbin-Watson (biased):", durbin_watson),
        ]
    )
    p_values = f"Adj. P: {correction(adjust)}, per term."
    if "p_wild" in coefficients:
        p_values += " Wild P: wild cluster bootstrap, not adjusted."
    lines = [
        f"Standard errors: {covariance}. {p_values}",
        "Residuals: tests within sequences; Durbin-Watson is biased towards 2 by a lagged outcome.",
        *notes,
        PREDICTIVE,
    ]
    return "\n".join([top.as_text(), body.as_text(), below.as_text(), *lines, ""])


def _two_columns(rows: Sequence[tuple[str, str, str, str]], title: str = "") -> SimpleTable:
    """Return names with their values, two per row."""
    return SimpleTable(
        [row[1:] for row in rows],
        title=title,
        stubs=[row[0] for row in rows],
        txt_fmt={**fmt_params, "data_fmts": ["%s"], "data_aligns": "rlr", "colsep": "   "},
    )


def _study(fits: pd.DataFrame) -> str:
    return ", ".join(fits.iloc[0][["model", "corpus", "site", "regression"]])


def _sample(fits: pd.DataFrame) -> str:
    rows, documents = int(fits["n_obs"].max()), int(fits["n_documents"].max())
    return f"{counted(rows, 'row')} from {counted(documents, 'document')}"


def _reason(row: Any) -> str:
    """Return why a layer was not fitted, and whether its norms are the cause."""
    dropped = int(row.n_dropped)
    of_these = f" ({counted(dropped, 'row')} dropped for {UNUSABLE})" if dropped else ""
    return f"{row.status}{of_these}"


def _not_fitted(fits: pd.DataFrame) -> list[str]:
    rows = fits[fits["status"] != "ok"].itertuples()
    return [f"  layer {row.layer} was not fitted: {_reason(row)}" for row in rows]


def _range(values: pd.Series) -> str:
    return f"{values.min():.3f} to {values.max():.3f}"


def fitted_layers(fits: pd.DataFrame) -> str:
    """Return a line with the number of layers that were fitted."""
    return f"{_study(fits)}: {int((fits['status'] == 'ok').sum())} of {len(fits)} layers fitted"


def unfitted_layers(fits: pd.DataFrame) -> list[str]:
    """Return a line for each reason why layers were not fitted, except a missing layer before."""
    layers_of: dict[str, list[str]] = {}
    for row in fits[~fits["status"].isin(["ok", NO_LAYER_BEFORE])].itertuples():
        layers_of.setdefault(_reason(row), []).append(str(row.layer))
    return [
        f"{_study(fits)}: {'layers' if len(layers) > 1 else 'layer'} {', '.join(layers)} "
        f"{'were' if len(layers) > 1 else 'was'} not fitted: {reason}"
        for reason, layers in layers_of.items()
    ]


# Names of the units within which tokens are permuted.
PERMUTED_WITHIN = {
    "document": "their documents",
    "upos": "the parts of speech of their documents",
}


def findings(
    fitted: FittedRegression,
    controls: pd.DataFrame,
    by_group: pd.DataFrame,
    name: str,
    by_class: tuple[pd.DataFrame, pd.DataFrame] | None = None,
    steps: pd.DataFrame | None = None,
) -> str:
    """Return the findings of a regression: sizes first, then the controls, then counts.

    ``by_class`` are slopes by class of tokens and the tests of equal slopes; ``steps`` are
    coefficients as covariates enter.
    """
    settings = fitted.settings
    alpha, adjust = settings.alpha, settings.adjust
    fits = fitted.goodness
    known = fits[fits["status"] == "ok"]
    of_what = f", {UNITS[settings.outcome].removeprefix('of ')}" * (settings.outcome != "norm")
    lines = [f"{name}: {len(known)} of {len(fits)} layers fitted, {_sample(fits)}{of_what}"]
    others = fits[fits["mixer"] != "attention"]
    if len(others):
        mixers = dict(zip(others["layer"].astype(str), others["mixer"], strict=True))
        lines.append(f"in place of attention: {others_in_words(mixers)}")
    documents = int(known["n_documents"].max()) if len(known) else 0
    one_document = documents == 1
    if 0 < documents < FEWEST_DOCUMENTS:
        errors = COVARIANCE[fitted.coefficients["vcov_type"].iloc[0]]
        why = "with one document there are no document effects and no clusters"
        if not one_document:
            why = f"{documents} documents are too few to cluster by"
        lines.append(f"{why}; errors are {errors}, and intervals say nothing about other texts")
    if len(known):
        lines += sizes(fitted.medians, fitted.coefficients, settings, one_document=one_document)
        lines += order_finding(controls, alpha=alpha, adjust=adjust)
        lines += random_weights_finding(controls)
        lines += counts(fitted.coefficients, fits, settings)
        if settings.bias_correction == "half-panel":
            lines += halves_findings(fitted.coefficients, fits, alpha=alpha, adjust=adjust)
    if dropped := int(known["n_dropped"].sum()):
        layers = counted(int((known["n_dropped"] > 0).sum()), "layer")
        lines.append(f"{counted(dropped, 'row')} of {layers} dropped for {UNUSABLE}")
    text = "\n  ".join(lines) + "\n"
    text += "".join(f"{line}\n" for line in _not_fitted(fits))
    text += residual_findings(fits, fitted.residual_sums, alpha=alpha, adjust=adjust)
    text += group_findings(by_group)
    if by_class is not None:
        kind = "holm" if adjust == "max-t" else adjust
        text += class_findings(*by_class, alpha=alpha, by=correction(kind))
    if steps is not None:
        text += decomposition_findings(steps)
    text += advice(
        fits,
        settings,
        groups=fitted.joint["documents"] if settings.cluster == "group" else None,
    )
    if fitted.bins is not None:
        text += f"  {SHARED_BINS.format(fitted.bins)}\n"
    return with_minus_signs(text)


def sizes(
    medians: pd.DataFrame,
    coefficients: pd.DataFrame,
    settings: RegressionSettings,
    *,
    one_document: bool = False,
) -> list[str]:
    """Return a sentence on the size and the direction of each lag and lead."""
    scope = "within documents" if settings.fixed_effects == "document" else "pooled over documents"
    scope = "in one document" if one_document else scope
    lines = []
    for term in lags_among(list(coefficients["term"])):
        estimates = coefficients.loc[coefficients["term"] == term, "estimate"].dropna()
        row = medians.loc[term]
        positive = int((estimates > 0).sum())
        if len(estimates) == 1:
            lines.append(f"{named(term)}, {scope}: {row['median']:.3f} in the one layer")
            continue
        interval = (
            f"{100 * (1 - settings.alpha):g}% interval {row.conf_low:.3f} to {row.conf_high:.3f}"
            if np.isfinite(row.conf_low)
            else "no interval: too few documents to draw from"
        )
        lines.append(
            f"{named(term)}, {scope}: median {row['median']:.3f} over the layers ({interval})"
        )
        lines.append(
            f"{named(term)} is {row.lowest:.3f} to {row.highest:.3f}, positive in {positive} of "
            f"{len(estimates)} layers"
        )
    return lines


def order_finding(controls: pd.DataFrame, *, alpha: float, adjust: str) -> list[str]:
    """Return in how many layers the lags depend on order, and what they are in permuted order."""
    if "permuted_mean" not in controls:
        return ["the order of tokens was not permuted: no control for it"]
    by_layer = controls.drop_duplicates("layer").dropna(subset="order_p_adjusted")
    if not len(by_layer):
        return []
    rejected = int((by_layer["order_p_adjusted"] < alpha).sum())
    over = "max over the layers" if adjust in ("holm", "max-t") else correction(adjust)
    terms = lags_among(list(controls["term"]))
    nearest = controls.loc[controls["term"] == terms[0], "permuted_mean"]
    which = "lags and leads"
    if not any(map(is_lead, terms)):
        which = spans([distance(term) for term in terms])
    return [
        f"{which} depend{'s' * (len(terms) == 1)} on the order of tokens in {rejected} of "
        f"{counted(len(by_layer), 'layer')} (tokens permuted "
        f"within {PERMUTED_WITHIN[by_layer['permuted_within'].iloc[0]]} "
        f"{int(by_layer['permutations'].iloc[0]):,} times, one joint test per layer, "
        f"p < {alpha:g}, {over})",
        f"if order meant nothing, {named(terms[0])} would be {_range(nearest)}",
    ]


def random_weights_finding(controls: pd.DataFrame) -> list[str]:
    """Return the results of the same architecture before any training, beside the trained model."""
    if "random_weights" not in controls:
        return ["the architecture was not run with random weights: no control for it"]
    known = controls.dropna(subset="random_weights")
    if not len(known):
        return [
            "random weights say nothing here: the norms of the untrained architecture are "
            "constant in every layer"
        ]
    terms = lags_among(list(known["term"]))
    rows = known[known["term"] == terms[0]]
    median = rows.median(numeric_only=True)
    documents = counted(int(rows["random_weights_documents"].max()), "document")
    lines = [
        f"before training, {named(terms[0])} is {median['random_weights']:.2f} and R² "
        f"{median['random_weights_r_squared']:.2f} in the median layer; after it, "
        f"{median['trained']:.2f} and {median['trained_r_squared']:.2f} (the same {documents}, "
        "neither corrected for bias)"
    ]
    if sum(not is_lead(term) for term in terms) > 1:
        lines.append(
            f"before training, {spans([distance(t) for t in terms if not is_lead(t)])} add up to "
            f"{median['random_weights_sum']:.2f}; after it, to {median['trained_sum']:.2f}"
        )
    if np.isfinite(median["random_weights_sd"]):
        shared = counted(int(rows["random_weights_draws_documents"].max()), "document")
        lines.append(
            f"before training, {named(terms[0])} of a layer varies by "
            f"{median['random_weights_sd']:.2f} between draws of the weights (standard deviation "
            f"of {int(rows['random_weights_draws'].max())} draws over {shared})"
        )
    return lines


def counts(
    coefficients: pd.DataFrame, fits: pd.DataFrame, settings: RegressionSettings
) -> list[str]:
    """Return the number of layers in which each lag and lead is present or absent, and R²."""
    bound, lines = settings.negligible, []
    for term in lags_among(list(coefficients["term"])):
        rows = coefficients[coefficients["term"] == term]
        verdicts = rows["finding"].value_counts()
        others = "".join(
            f", {word} in {verdicts[verdict]}"
            for verdict, word in (("absent", "smaller"), ("undecided", "undecided"))
            if verdict in verdicts
        )
        lines.append(
            f"{named(term)} is larger than {bound:g} in size in {verdicts.get('present', 0)} of "
            f"{counted(len(fits), 'layer')}{others} (p < {settings.alpha:g}, "
            f"{correction(settings.adjust)})"
        )
    fitted = fits[fits["status"] == "ok"]
    best = fitted["layer"].iloc[fitted["r_squared"].argmax()]
    validated = fitted["cv_r_squared"].dropna()
    unit = "groups" if settings.folds == "groups" else "documents"
    means = ", their means being given," * (settings.fixed_effects == "document")
    name, partial = R_SQUARED[settings.fixed_effects], fitted["partial_r_squared"]
    lines.append(f"{name} is {_range(fitted['r_squared'])} (highest in layer {best})")
    if len(validated):
        lines.append(f"R² in unseen {unit}{means} is {_range(validated)}")
    if set(coefficients["term"]) - {"intercept", *lags_among(list(coefficients["term"]))}:
        lines.append(
            f"R² of the lags, given the other terms, is {partial.median():.3f} in the median layer "
            f"({_range(partial)})"
        )
    worse = fitted[fitted["r_squared"] < 0]
    if len(worse):
        which = ", ".join(worse["layer"].astype(str))
        lines.append(
            f"in {counted(len(worse), 'layer')} ({which}) the regression predicts worse than the "
            f"mean does (R² down to {worse['r_squared'].min():.3f})"
        )
    return lines


def halves_findings(
    coefficients: pd.DataFrame, fits: pd.DataFrame, *, alpha: float, adjust: str
) -> list[str]:
    """Return in which layers the correction of bias does not hold, and the lag without it."""
    tested = fits.dropna(subset="halves_p_adjusted")
    if tested.empty:
        return []
    differ = tested.loc[tested["halves_p_adjusted"] < alpha, "layer"].tolist()
    kind = correction("holm" if adjust == "max-t" else adjust)
    where = f"in {spans(differ, 'layer')}" if differ else "in no layer"
    term = lags_among(list(coefficients["term"]))[0]
    rows = coefficients[coefficients["term"] == term]
    own = rows[rows["layer"].isin(differ)] if differ else rows
    median = own[["estimate", "uncorrected"]].median()
    of_these = "the median of these layers" if differ else "the median layer"
    return [
        f"the halves of documents differ in their lags {where} (AHT test, p < {alpha:g}, {kind}); "
        "the correction of bias presumes that they do not",
        f"without this correction, {named(term)} is {median['uncorrected']:.3f} instead of "
        f"{median['estimate']:.3f} in {of_these}",
    ]


def residual_findings(fits: pd.DataFrame, sums: ResidualSums, *, alpha: float, adjust: str) -> str:
    """Return whether the residuals are autocorrelated, and how much order the lags leave.

    With thousands of tokens the test rejects even negligible order, so the size is stated too.
    """
    fitted = fits[fits["status"] == "ok"]
    tested = fitted["breusch_godfrey_p_value"].dropna()
    if tested.empty:
        return ""
    kind = "holm" if adjust == "max-t" else adjust
    rejected = int((results.adjusted(tested, kind) < alpha).sum())
    line = (
        f"  the lags are too few in {rejected} of {counted(len(fits), 'layer')}: residuals are "
        f"autocorrelated (Breusch-Godfrey, lags 1 to {BREUSCH_GODFREY_LAGS}, p < {alpha:g}, "
        f"{correction(kind)})"
    )
    lags, left = order_left(sums)
    if left.notna().any():
        line += (
            f"\n  {spans(lags)}, which are not in the regression, still carry {left.median():.3f} "
            f"in the median layer (sum of partial autocorrelations, {_range(left)})"
        )
    return line + "\n"


def group_findings(by_group: pd.DataFrame) -> str:
    """Return the range of the nearest lag over groups, and the groups without coefficients.

    Counts of significant layers would reflect the number of documents of each group.
    """
    named_safely = by_group["subset"].map(lambda group: text_for("line", group))
    by_group = by_group.assign(subset=named_safely)
    fitted, without = groups.fitted_groups(by_group)
    if len(fitted) + len(without) == 1:
        return "  all documents are in one group, so there are no groups to compare\n"
    lines = []
    if len(fitted) > 1:
        term = lags_among(list(by_group["term"]))[0]
        medians = medians_in_words(by_group[by_group["term"] == term])
        if medians:
            lines.append(f"  {named(term)} by group of documents, {medians}")
    if without:
        groups_of: dict[str, list[str]] = {}
        for group, status in without.items():
            groups_of.setdefault(status, []).append(group)
        lines += [
            f"  no coefficients of {counted(len(names), 'group')} "
            f"({textwrap.shorten(', '.join(names), 120, placeholder=' …')}): {status}"
            for status, names in groups_of.items()
        ]
    return "".join(f"{line}\n" for line in lines)


def advice(fits: pd.DataFrame, settings: RegressionSettings, *, groups: int | None = None) -> str:
    """Return a warning if clusters are too few or unequal for intervals, otherwise an empty string.

    Within documents, CR2 holds for as few clusters as are fitted at all. ``groups`` is their number
    if errors are clustered by group of documents.
    """
    fitted = fits[fits["status"] == "ok"]
    holds = settings.covariance == "cluster" and settings.fixed_effects == "document"
    if not len(fitted) or settings.covariance not in CLUSTERED or holds:
        return ""
    effective = float(fitted["effective_documents"].min())
    if effective >= ENOUGH:
        return ""
    unit = "document" if groups is None else "group"
    clusters = groups or int(fitted["n_documents"].max())
    remedy = "cover less than they state"
    if settings.covariance != "cluster":
        remedy += "; `cluster` allows for it"
    elif settings.cluster == "document":
        remedy += ", if documents differ in level; document effects mend it"
    return (
        f"  errors are clustered by {counted(clusters, unit)}, which are as informative as "
        f"{effective:.0f} of equal size in the worst layer: with fewer than {ENOUGH}, intervals "
        f"may {remedy}\n"
    )
