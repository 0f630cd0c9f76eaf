"""The answers of a run in a dozen lines: what it says last, and the head of the explorer."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from attnlag.errors import counted
from attnlag.regression.limits import FEWEST_DOCUMENTS
from attnlag.regression.terms import distance, is_lead, named
from attnlag.report import training
from attnlag.report.causal import extremes
from attnlag.report.findings import different_halves, too_few_lags
from attnlag.report.regression_tables import RegressionTables
from attnlag.storage import tables

# Target layers of interventions that are named one by one.
MOST_LAYERS_NAMED = 4

# An effect of all earlier layers that is shown to be below this share of the layer's lag on itself
# hardly causes it.
HARDLY = 0.25

TOKENS_AWAY = {1: "one token", 2: "two tokens", 3: "three tokens"}


class Answer(NamedTuple):
    """A question or a part of one, with its answer."""

    label: str
    text: str
    is_part: bool = True


class SiteAnswers(NamedTuple):
    """The answers for one site."""

    title: str
    lines: list[Answer]
    main: str  # the regression that answers


def of_site(fitted: Sequence[RegressionTables]) -> SiteAnswers:
    """Return the answers for one site from its regressions.

    The first regression of norms with effects of documents answers, in the order of the
    configuration, or else the first of norms. The first without effects stands beside it.
    """
    of_norms = [regression for regression in fitted if regression.is_of_norms and regression.terms]
    within = [regression for regression in of_norms if regression.has_effects]
    pooled = [regression for regression in of_norms if not regression.has_effects]
    main = (within or of_norms or fitted)[0]
    model, corpus = main.record["model"], main.record["corpus"]
    weights = f" ({model['bits']}-bit)" if "bits" in model else ""
    tokens = tables.row_count(main.files.all_of("norms", main.of_site))
    title = (
        f"{model['name']}{weights} · {corpus['name']}: "
        f"{counted(corpus['documents'], 'document')}, {counted(tokens, 'token')} · "
        f"{main.site}, {counted(main.coefficients['layer'].nunique(), 'layer')}"
    )
    lines = []
    if of_norms:
        lines += [*_lags(main), *_controls(main)]
        if within and pooled and len(main.fitted):
            median = pooled[0].of_term(main.terms[0])["estimate"].median()
            if np.isfinite(median):
                lines.append(Answer("ignoring differences between documents", number(median)))
    lines += _causes(main.files.table("total_effects", main.of_corpus), main.site)
    if of_norms:
        lines += _checks(main)
    return SiteAnswers(title, lines, main.name)


def _lags(main: RegressionTables) -> list[Answer]:
    """Return whether large adjustments follow large ones, and how much the lags explain."""
    if main.fitted.empty:
        return [Answer("Does a large adjustment follow a large one?", "no layer was fitted", False)]
    bound = main.settings["negligible"]
    medians = main.medians.set_index("term").to_dict("index")
    lines = []
    for term in main.terms[:3]:
        rows = main.of_term(term)
        estimates = rows.loc[rows["finding"] == "present", "estimate"]
        above, below = int((estimates > 0).sum()), int((estimates < 0).sum())
        counts = f"above {bound:g} in {above} of {counted(len(main.fitted), 'layer')}"
        counts += f", below −{bound:g} in {below}" * bool(below)
        size, low, high = (medians[term][name] for name in ("median", "conf_low", "conf_high"))
        if term != main.terms[0]:
            away = distance(term)
            label = f"{TOKENS_AWAY.get(away, f'{away} tokens')} {'on' if is_lead(term) else 'back'}"
            absent = int((rows["finding"] == "absent").sum())
            counts += f", shown to be smaller in size in {absent}" * bool(absent)
            lines.append(Answer(label, f"{number(size)} ({counts})"))
            continue
        interval = ""
        if np.isnan(low):
            low = high = size
        else:
            level = f"{100 * (1 - main.settings['alpha']):g}%"
            interval = f", {level} interval {number(low)} to {number(high)}"
        verdict = "Hardly"
        if low > bound:
            verdict = "Yes"
        elif high < -bound:
            verdict = "No, a small one"
        elif -bound < low and high < bound:
            verdict = "No"
        if (texts := int(main.fitted["n_documents"].max())) < FEWEST_DOCUMENTS:
            # Too few to draw from: it is said of these texts alone.
            verdict += " in this text" if texts == 1 else f" in these {texts} texts"
        change = 100 * (1.1**size - 1)
        lag = f"{named(term)}, " * (term != "lag_1")
        lines.append(
            Answer(
                f"Does a large adjustment {'precede' if is_lead(term) else 'follow'} a large one?",
                f"{verdict}: 10% longer → {abs(change):.1f}% "
                f"{'longer' if change >= 0 else 'shorter'} "
                f"({lag}median layer {number(size)}{interval}; {counts})",
                False,
            )
        )
    return [*lines, Answer("variance explained", _explained(main))]


def _explained(main: RegressionTables) -> str:
    """Return R² and what is lost without the lags, or without the other terms (median layer)."""
    fits = main.fitted
    whole = f"{fits['r_squared'].median():.0%}"
    covariates = main.record.settings("design")["covariates"]
    if not covariates:
        return f"{whole} (median layer)"
    names = "position" if covariates == ["position"] else "the other terms"
    lags, others = (
        f"{(fits['r_squared'] - fits[f'r_squared_{without}']).median():.0%}".removesuffix("%")
        for without in ("others", "lags")
    )
    return f"{whole} with {names}; only the lags {lags}, only {names} {others} (median layer)"


def _controls(main: RegressionTables) -> list[Answer]:
    """Return the nearest lag in random order and before training."""
    rows = main.controls[main.controls["term"] == main.terms[0]]
    lines = []
    if "permuted_mean" in rows and rows["permuted_mean"].notna().any():
        lines.append(Answer("tokens in random order", number(rows["permuted_mean"].median())))
    table = main.before_training
    if table is not None and (before := training.range_of(table, main.terms[0])):
        by_scale = ", by the scale of the initial weights" * (before.scales > 1)
        text = f"{before.text()}{by_scale}; trained {number(before.trained)} (same texts)"
        if assumed := training.assumed_scale(table):
            text += f"; {assumed}"
        lines.append(Answer("before training", text))
    return lines


def _causes(table: pd.DataFrame, site: str) -> list[Answer]:
    """Return the effects on the next token by layer, beside the lags of these layers."""
    if table.empty:
        return []
    table = table.query("source_site == target_site == @site and lag == 1")
    if table.empty:
        return []
    documents = int(table["documents"].max())
    layers = counted(len(table), "layer")
    verdict = "" if documents >= FEWEST_DOCUMENTS else "Too few documents to tell: "
    known = table.dropna(subset=["share_low", "share_high"])
    if not verdict and len(known):
        verdict = f"{_verdict(known)}: "
    named_layers = extremes(table, MOST_LAYERS_NAMED)
    effects = ", ".join(
        f"{number(row.estimate)}% ({number(row.conf_low)} to {number(row.conf_high)}) in layer "
        f"{row.target_layer}"
        for row in named_layers.itertuples()
    )
    text = f"{verdict}1% longer in all earlier layers changes the next by {effects}"
    lags = table["coefficient"].dropna()
    if len(lags):
        ends = " to ".join(dict.fromkeys((number(lags.min()), number(lags.max()))))
        text += f", where a layer's lag on itself is {ends}"
    text += f"; {layers}, {counted(documents, 'document')}"
    return [Answer("Does one cause the next?", text, False)]


def _verdict(shares: pd.DataFrame) -> str:
    """Return whether effects are a small part of the lags, by the intervals of their ratio."""
    low, high = shares["share_low"], shares["share_high"]
    small = int(((low > -HARDLY) & (high < HARDLY)).sum())
    large = int(((low > HARDLY) | (high < -HARDLY)).sum())
    if small == len(shares):
        return "Hardly"
    if large == len(shares):
        return "In part"
    counts = {"hardly": small, "in part": large, "undecided": len(shares) - small - large}
    texts = [f"{word} in {count}" for word, count in counts.items() if count]
    return f"{', '.join(texts)} of {counted(len(shares), 'layer')}".capitalize()


def _checks(main: RegressionTables) -> list[Answer]:
    """Return what speaks against the regression."""
    fits, alpha = main.fitted, main.settings["alpha"]
    if fits.empty:
        return []
    text = "no layer is shown to need more lags"
    if layers := too_few_lags(fits, alpha, main.settings["adjust"]):
        text = f"the lags are too few in {layers} of {counted(len(fits), 'layer')}"
    if fits["halves_p_adjusted"].notna().any():
        differing = len(different_halves(fits, alpha))
        text += f"; first and second halves of texts differ in {differing} of "
        text += counted(len(fits), "layer") + "; the correction is doubtful there" * bool(differing)
    return [Answer("Check", text, False)]


def number(value: float) -> str:
    """Return a number with two decimals and a minus sign; zero has none."""
    return f"{round(value, 2) + 0.0:.2f}".replace("-", "−")


def text_of(answers: SiteAnswers) -> str:
    """Return the answers for a site as text, a line each."""
    labels = ["  " * line.is_part + line.label for line in answers.lines]
    width = max(map(len, labels), default=0)
    rows = [
        f"{label:<{width}}  {line.text}" for label, line in zip(labels, answers.lines, strict=True)
    ]
    return "\n".join([answers.title, *rows]) + "\n"


def of_sites(regressions: Sequence[RegressionTables]) -> dict[tuple[str, ...], SiteAnswers]:
    """Return the answers by model, corpus and site."""
    by_site: dict[tuple[str, ...], list[RegressionTables]] = {}
    for regression in regressions:
        by_site.setdefault(regression.of_site.parts[-3:], []).append(regression)
    return {site: of_site(fitted) for site, fitted in by_site.items()}


def of_run(regressions: Sequence[RegressionTables]) -> str:
    """Return the answers of a run as text, site by site."""
    return "\n".join(map(text_of, of_sites(regressions).values()))
