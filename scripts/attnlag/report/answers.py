"""The answers of a run in a dozen lines: what it says last, and the head of the explorer."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from attnlag.claims import causes, lags, training
from attnlag.claims.numbers import number
from attnlag.errors import counted
from attnlag.regression.estimation.residuals import read_sums
from attnlag.regression.inference.diagnostics import order_left
from attnlag.regression.terms import distance, is_lead, named
from attnlag.report.regression_tables import RegressionTables
from attnlag.storage import tables

# Target layers of interventions that are named one by one.
MOST_LAYERS_NAMED = 4

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
    bound = main.settings["equivalence_bound"]
    medians: dict[Any, Any] = main.medians.set_index("term").to_dict("index")
    lines = []
    for term in main.terms[:3]:
        claim = lags.size(main.coefficients, term, medians[term], main.fitted, bound)
        if term != main.terms[0]:
            away = distance(term)
            label = f"{TOKENS_AWAY.get(away, f'{away} tokens')} {'on' if is_lead(term) else 'back'}"
            lines.append(Answer(label, f"{number(claim.value)} ({claim.sentence})"))
            continue
        level = f", {100 * (1 - main.settings['alpha']):g}% interval {claim.interval}"
        change = 100 * (1.1**claim.value - 1)
        lag = f"{named(term)}, " * (term != "lag_1")
        lines.append(
            Answer(
                f"Does a large adjustment {'precede' if is_lead(term) else 'follow'} a large one?",
                f"{claim.verdict}: 10% longer → {abs(change):.1f}% "
                f"{'longer' if change >= 0 else 'shorter'} ({lag}median layer {number(claim.value)}"
                f"{level * bool(claim.interval)}; {claim.sentence})",
                False,
            )
        )
    covariates = main.record.settings("design")["covariates"]
    text = lags.explained(main.fitted, covariates).sentence
    return [*lines, Answer("variance explained", text)]


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
    claim = causes.on_a_later_token(table, MOST_LAYERS_NAMED)
    beside = causes.associations(table, MOST_LAYERS_NAMED, claim.verdict).items()
    return [
        Answer("Does one cause the next?", claim.answer, False),
        *(Answer(label, text) for label, text in beside),
    ]


def _checks(main: RegressionTables) -> list[Answer]:
    """Return what speaks against the regression."""
    if main.fitted.empty:
        return []
    path = main.files.one_of("residuals", main.folder)
    claim = lags.doubts(
        main.fitted,
        main.coefficients,
        order_left(read_sums(path)) if path else ([], pd.Series(dtype=float)),
        main.settings["alpha"],
        main.settings["adjust"],
    )
    return [Answer("Check", claim.sentence, False)]


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
