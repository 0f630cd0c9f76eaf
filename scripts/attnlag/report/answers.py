"""The answers of a run in a dozen lines, which it prints last and the explorer shows first."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from attnlag import wording
from attnlag.claims import causes, lags, training
from attnlag.claims.lags import as_more_is_held_fixed
from attnlag.claims.numbers import number, span
from attnlag.errors import counted
from attnlag.regression.slopes.decomposition import POOLED
from attnlag.regression.terms import is_lead, named
from attnlag.report.regression_tables import RegressionTables
from attnlag.storage import tables

# Lags and leads of a regression that the answers name.
MAX_TERMS = 3

# Target layers whose effects are named one by one.
MAX_LAYERS = 4


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
    """Return the answers for one site from its regressions, in their order.

    The first of norms with a fitted layer answers; those with effects of documents come before
    the others. Beside one with effects stands the first without.
    """
    of_norms = [one for one in fitted if one.is_of_norms and one.terms]
    within = [one for one in of_norms if one.has_effects]
    first = (within or of_norms or fitted)[0]
    main = next((one for one in (*within, *of_norms) if len(one.fitted)), first)
    outcome = main.settings["outcome"]
    alike = [one for one in of_norms if one.settings["outcome"] == outcome]
    pooled = [one for one in alike if not one.has_effects][:1] if main.has_effects else []
    model, corpus = main.record["model"], main.record["corpus"]
    weights = f" ({model['bits']}-bit)" if "bits" in model else ""
    tokens = tables.row_count(main.files.all_of("norms", main.of_site))
    documents, layers = corpus["documents"], main.coefficients["layer"].nunique()
    copies = documents - corpus["texts"]
    of_copies = f", {copies:,} with the text of an earlier one" * bool(copies)
    title = (
        f"{model['name']}{weights} · {corpus['name']}: {counted(documents, 'document')}"
        f"{of_copies}, {counted(tokens, 'token')} · {main.site}, {counted(layers, 'layer')}"
    )
    lines = [*_regressed(main, pooled)] if of_norms else []
    if main is not first:
        lines.insert(1, Answer("regression", f"{main.name}; no layer of {first.name} was fitted"))
    effects = main.files.table("total_effects", main.of_corpus)
    lines += _causes(effects, main.site, corpus["texts"], main.settings["alpha"])
    if of_norms and len(main.fitted):
        lines.append(Answer("Check", _doubts(main), False))
    return SiteAnswers(title, lines, main.name)


def _regressed(main: RegressionTables, pooled: Sequence[RegressionTables]) -> Iterator[Answer]:
    """Yield whether large ones follow large ones, what lags explain, and the controls."""
    nearest = main.terms[0]
    relative = ", relative to its stream," if main.settings["outcome"] == "relative" else ""
    follow = "precede" if is_lead(nearest) else "follow"
    question = f"Does a large adjustment{relative} {follow} a large one?"
    if main.fitted.empty:
        yield Answer(question, "no layer was fitted", False)
    else:
        size = wording.lag_answer(main.size_of(nearest), main.without_one_document())
        yield Answer(question, size, False)
        yield from _beyond_the_nearest(main)
        covariates = main.record.settings("design")["covariates"]
        explained = wording.explained(lags.explained(main.fitted, covariates), covariates)
        yield Answer("variance explained", explained)
    if np.isfinite(permuted := main.in_random_order(nearest)):
        yield Answer("tokens in random order", number(permuted))
    table = main.before_training
    course = main.course_of(nearest)
    if course is not None:
        yield Answer("during training", wording.course_answer(course))
    elif table is not None and (before := main.before(nearest)):
        why = training.averaging(main.before("r_squared"))
        text = f"{before.text(why)}; trained {number(before.trained)} (same texts)"
        assumed = training.assumed_scale(table)
        yield Answer("before training", "; ".join(filter(None, [text, assumed])))
    if len(main.fitted):
        yield from _pooled(main, pooled)


def _pooled(main: RegressionTables, others: Sequence[RegressionTables]) -> Iterator[Answer]:
    """Yield what the nearest lag is if differences between documents are ignored."""
    nearest = main.terms[0]
    for other in others:
        steps = other.files.table("nested_models", other.folder)
        rows = {row.subject: row for row in as_more_is_held_fixed(steps)} if len(steps) else {}
        value = other.of_term(nearest)["estimate"].median()
        if "document" in rows:
            text = wording.POOLED_ANSWER.format(
                pooled=number(rows[POOLED].value),
                within=number(rows["document"].value),
                layers=rows[POOLED].layers,
            )
            yield Answer("pooled over documents", text)
        elif np.isfinite(value):
            text = wording.OTHER_REGRESSION_ANSWER.format(
                value=number(value),
                regression=other.name,
                settings=", ".join(main.differing_settings(other)),
            )
            yield Answer("pooled over documents", text)


def _beyond_the_nearest(main: RegressionTables) -> Iterator[Answer]:
    """Yield the responses to a larger one, or the other lags and leads where there are none."""
    terms = main.terms[:MAX_TERMS]
    after_two = main.response_after(2)
    if np.isfinite(after_two.value):
        coefficients = {term: main.size_of(term).value for term in terms}
        held = list(main.record.settings("design")["covariates"])
        if main.has_effects:
            held.insert(0, "document means")
        after_five = main.response_after(5)
        text = wording.response_answer(after_two, after_five, coefficients, held)
        yield Answer("two tokens later", text)
        return
    for term in terms[1:]:
        text = wording.filled(wording.LAG_PART, main.size_of(term))
        yield Answer(f"{named(term)}, other terms held fixed", text)


def _causes(table: pd.DataFrame, site: str, texts: int, alpha: float) -> Iterator[Answer]:
    """Yield the effects on the next token by layer, beside the lags of these layers."""
    if len(table):
        table = table.query("source_site == target_site == @site and lag == 1")
    if len(table):
        # A copy of a document tells nothing more.
        table = table.assign(documents=table["documents"].clip(upper=texts))
        shares = causes.shares(table, alpha)
        shown = causes.extremes(causes.effects(table, alpha), MAX_LAYERS)
        needed = causes.documents_to_decide(table)
        text = wording.effects_answer(shown, shares, needed)
        yield Answer("Does one cause the next?", text, False)
        predicted = [row for row in shown if np.isfinite(row.baseline_low)]
        if predicted:
            yield Answer(causes.PREDICTED, wording.predictions(predicted))
        own = causes.own_lags(table)
        if own:
            yield Answer("a layer's lag on itself", span([row.value for row in own]))


def _doubts(main: RegressionTables) -> str:
    """Return what speaks against a regression: too few lags, and halves that differ."""
    fits = main.fitted
    alpha = main.settings["alpha"]
    terms = main.coefficients["term"].unique().tolist()
    doubts = [wording.further_lags(lags.omitted_lags(fits, terms, alpha))]
    correction = lags.halves(fits, main.coefficients, alpha)
    if correction:
        doubts.append(wording.halves(correction))
    return "; ".join(doubts)


def text_of(answers: SiteAnswers) -> str:
    """Return the answers for a site as text, a line each."""
    labels = ["  " * line.is_part + line.label for line in answers.lines]
    width = max(map(len, labels), default=0)
    pairs = zip(labels, answers.lines, strict=True)
    rows = [f"{label:<{width}}  {line.text}" for label, line in pairs]
    return "\n".join([answers.title, *rows]) + "\n"


def of_sites(regressions: Sequence[RegressionTables]) -> dict[str, SiteAnswers]:
    """Return the answers by the names of model, corpus and site."""
    by_site: dict[str, list[RegressionTables]] = {}
    for regression in regressions:
        by_site.setdefault(regression.study, []).append(regression)
    return {site: of_site(fitted) for site, fitted in by_site.items()}


def of_run(regressions: Sequence[RegressionTables]) -> str:
    """Return the answers of a run as text, site by site."""
    return "\n".join(map(text_of, of_sites(regressions).values()))
