"""The claims of a run as one table, a row a claim."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import pandas as pd

from attnlag.claims import causes, directions, heads, lags, sources, subsets, training
from attnlag.claims.row import Row, frame
from attnlag.regression.inference.response import MAX_DISTANCE
from attnlag.regression.labels import UNITS
from attnlag.regression.terms import is_lag_or_lead, nearest_lag
from attnlag.report.regression_tables import RegressionTables


def claims_of_run(regressions: Sequence[RegressionTables]) -> pd.DataFrame:
    """Return the claims of all regressions and of what stands beside them, in their order.

    ``analysis`` names a regression, or another analysis of its site.
    """
    tables = []
    sites = set()
    for regression in regressions:
        study = {
            "model": regression.model,
            "corpus": regression.corpus,
            "site": regression.site,
        }
        tables.append(frame(claims_of_regression(regression), **study, analysis=regression.name))
        if regression.of_site not in sites:
            sites.add(regression.of_site)
            for analysis, claims in CLAIMS_OF_SITE.items():
                tables.append(frame(claims(regression), **study, analysis=analysis))
    return pd.concat(tables, ignore_index=True)


def claims_of_regression(regression: RegressionTables) -> Iterator[Row]:
    """Yield the claims of one regression; none if no layer was fitted."""
    if regression.fitted.empty:
        return
    shared = {
        "unit": UNITS[regression.settings["outcome"]],
        "level": 1 - regression.settings["alpha"],
    }
    for term in regression.terms:
        yield replace(
            regression.size_of(term),
            **shared,
            baseline="tokens in random order",
            baseline_value=regression.in_random_order(term),
            table="medians",
        )
        yield from claims_of_training(regression, term)
    for tokens in range(1, MAX_DISTANCE + 1):
        row = regression.response_after(tokens)
        if row.value == row.value:
            yield replace(row, **shared, table="medians")
    without = regression.without_one_document()
    if without:
        yield replace(without, unit=shared["unit"], table="influence")
    alpha = regression.settings["alpha"]
    terms = regression.coefficients["term"].unique().tolist()
    omitted = lags.omitted_lags(regression.fitted, terms, alpha)
    if omitted.subject:
        yield replace(omitted, **shared, table="fits")
    for row in lags.curvature(regression.fitted, terms, alpha):
        yield replace(row, table="fits")
    halves = lags.halves(regression.fitted, regression.coefficients, alpha)
    if halves:
        yield replace(halves, unit=shared["unit"], table="fits")
    before = regression.before_training
    if before is not None:
        for row in training.by_scale(before, alpha):
            yield replace(row, unit=shared["unit"])
    covariates = regression.record.settings("design")["covariates"]
    yield from lags.explained(regression.fitted, covariates)
    steps = regression.files.table("nested_models", regression.folder)
    if len(steps):
        for row in lags.as_more_is_held_fixed(steps):
            yield replace(row, unit=shared["unit"], table="nested_models")
    tests = regression.files.table("equal_slopes", regression.folder)
    if len(tests):
        tests = tests[tests["term"] == nearest_lag(tests["term"])]
        yield subsets.by_class(tests, alpha)
    for name in ("groups", "classes"):
        table = regression.files.table(name, regression.folder)
        for term in filter(is_lag_or_lead, table.get("term", pd.Series(dtype=str)).unique()):
            for row in subsets.by_subset(table[table["term"] == term]):
                subject = f"{term}, {row.subject}"
                yield replace(row, **shared, claim=name, subject=subject, table=name)


def claims_of_training(regression: RegressionTables, term: str) -> Iterator[Row]:
    """Yield where a lag or lead begins, is highest, settles and ends along training."""
    course = regression.course_of(term)
    if course is None:
        return
    named_steps = {
        "first": course.first,
        "highest": course.highest,
        "settled": course.settled,
        "final": course.final,
    }
    for name, at_step in named_steps.items():
        step = "final weights" if at_step.step is None else f"step {at_step.step}"
        yield replace(
            at_step.row,
            claim=f"training_{name}",
            subject=f"{term}, {step}",
            unit=UNITS[regression.settings["outcome"]],
            table="training",
        )


def claims_of_readout(regression: RegressionTables) -> Iterator[Row]:
    """Yield what the adjustments of a site say of the next token, if that is known."""
    effects = regression.files.table("readout", regression.of_site)
    if effects.empty or effects["difference"].isna().all():
        return
    record = regression.files.record("readout", regression.of_site)
    alpha = record.settings("traced_table")["alpha"]
    row = sources.next_token(effects, alpha)
    yield replace(row, unit="SD over the vocabulary", table="readout/means")


def claims_of_heads(regression: RegressionTables) -> Iterator[Row]:
    """Yield the claims about attention heads, if there are any."""
    parts = regression.files.table("heads", regression.of_site / "heads")
    if len(parts):
        yield from filter(None, (heads.share(parts), heads.sink(parts)))
    coefficients = regression.files.table("head_coefficients", regression.of_site / "heads")
    if len(coefficients):
        yield from filter(None, (heads.lag(coefficients), heads.lag_before_training(coefficients)))


def claims_of_directions(regression: RegressionTables) -> Iterator[Row]:
    """Yield the cosines of adjustments, if they are known."""
    means = regression.files.table("directions", regression.of_site / "geometry")
    if len(means):
        yield from directions.neighbours(means)


def claims_of_sources(regression: RegressionTables) -> Iterator[Row]:
    """Yield how much of adjustments the token before writes, if it is known."""
    shares = regression.files.table("shares", regression.of_site / "sources")
    if len(shares):
        yield from sources.previous_token(shares)


def claims_of_causes(regression: RegressionTables) -> Iterator[Row]:
    """Yield the effects on the next token within a site, if they are known."""
    effects = _on_the_next_token(regression, "total_effects")
    if len(effects):
        alpha = regression.settings["alpha"]
        yield from causes.effects(effects, alpha)
        yield from causes.shares(effects, alpha)
        yield from causes.own_lags(effects)
    changes = _on_the_next_token(regression, "finite_effects")
    if len(changes):
        for _, rows in changes.groupby("source_layer", observed=True):
            yield from causes.finite(rows, regression.settings["alpha"])
    for trial in _on_the_next_token(regression, "prediction_vs_effect").itertuples():
        yield causes.trial(trial)


def _on_the_next_token(regression: RegressionTables, name: str) -> pd.DataFrame:
    """Return the rows of a table of effects that are within a site and on the next token."""
    table = regression.files.table(name, regression.of_corpus)
    if table.empty:
        return table
    within = (table["source_site"] == regression.site) & (table["target_site"] == regression.site)
    return table[within & (table["lag"] == 1)]


# The analyses of a site beside its regressions.
CLAIMS_OF_SITE = {
    "readout": claims_of_readout,
    "heads": claims_of_heads,
    "directions": claims_of_directions,
    "sources": claims_of_sources,
    "causal": claims_of_causes,
}
