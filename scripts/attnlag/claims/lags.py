"""Claims about the lags of one regression: sizes, comparisons and doubts."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

import pandas as pd

from attnlag.claims.row import Row, Verdict, with_interval
from attnlag.claims.row import over_layers as row_over_layers
from attnlag.regression.residuals.omitted_lags import shortest_omitted
from attnlag.regression.slopes.decomposition import EFFECTS, POOLED
from attnlag.regression.terms import nearest_lag

MEDIAN = ("median", "conf_low", "conf_high")


def size(
    coefficients: pd.DataFrame,
    term: str,
    median: Mapping[str, float],
    *,
    equivalence_bound: float,
    texts: int,
    adjust: str = "",
) -> Row:
    """Return how large a lag or lead is in the median layer, and whether it is beyond a bound.

    ``median`` is that over the layers that were fitted, with its interval. With few different
    ``texts``, be there copies or not, there is none. A median beyond the bound decides nothing
    while no layer is shown to be: one text with a few wild tokens moves all layers together.
    """
    counts = layers_shown(coefficients, term, equivalence_bound)
    row = with_interval(
        replace(counts, adjust=adjust),
        median,
        MEDIAN,
        bound=equivalence_bound,
        texts=texts,
    )
    shown = {Verdict.ABOVE: row.above, Verdict.BELOW: row.below}
    if shown.get(row.verdict) == 0:
        return replace(row, verdict=Verdict.UNDECIDED)
    return row


def follows(row: Row, outcome: str) -> Row:
    """Return a lag as how many % larger the next is after one that is 1% larger."""
    return replace(row, claim="follows", subject=f"{row.subject}, {outcome}", unit="% per 1%")


def over_layers(coefficients: pd.DataFrame, term: str) -> Row:
    """Return the extremes of a lag or lead over the layers, and in how many it is above zero."""
    estimates = coefficients.loc[coefficients["term"] == term, "estimate"].dropna()
    row = row_over_layers(Row(claim="lag_range", subject=term, bound=0.0), estimates)
    return replace(row, above=int((estimates > 0).sum()), table="coefficients")


def layers_shown(coefficients: pd.DataFrame, term: str, equivalence_bound: float) -> Row:
    """Return in how many layers a lag is shown to be above, below and within a bound.

    Layers without an estimate do not count.
    """
    rows = coefficients[coefficients["term"] == term].dropna(subset="estimate")
    present = rows.loc[rows["equivalence"] == "present", "estimate"]
    return Row(
        claim="lag",
        subject=term,
        bound=equivalence_bound,
        layers=len(rows),
        above=int((present > 0).sum()),
        below=int((present < 0).sum()),
        within=int((rows["equivalence"] == "absent").sum()),
        undecided=int((rows["equivalence"] == "undecided").sum()),
    )


def without_one_document(
    coefficients: pd.DataFrame, influence: pd.DataFrame, equivalence_bound: float
) -> Row | None:
    """Return the nearest lag of the median layer without the document that moves it most.

    The subject is the document, and the baseline the lag with it. A document that is not among the
    most influential ones of a layer, which ``influence`` has, counts as moving nothing there. None
    if no document was left out.
    """
    term = nearest_lag(coefficients["term"])
    # Without the only document there is no estimate.
    rows = influence[influence["term"] == term].dropna(subset="change")
    if rows.empty:
        return None
    estimates = coefficients[coefficients["term"] == term].set_index("layer")["estimate"].dropna()
    changes = rows.pivot(index="layer", columns="document", values="change")
    changes = changes.reindex(estimates.index).fillna(0)
    without = changes.rsub(estimates, axis=0).median()
    with_all = float(estimates.median())
    most = int((without - with_all).abs().to_numpy().argmax())
    return Row(
        claim="without_one_document",
        subject=str(without.index[most]),
        value=float(without.iloc[most]),
        bound=equivalence_bound,
        baseline="with it",
        baseline_value=with_all,
        layers=len(estimates),
        table="influence",
    )


def response(
    medians: pd.DataFrame, tokens: int, *, equivalence_bound: float, texts: int
) -> Row | None:
    """Return by how much one that is larger by 1 than predicted makes a later one larger.

    It is what the lags imply, and holds as far as they are enough. ``medians`` are those over the
    layers, in which the responses are terms; None without the term of this distance.
    """
    rows = medians[medians["term"] == f"response_{tokens}"].dropna(subset="median")
    if rows.empty:
        return None
    return with_interval(
        Row(claim="response", subject=f"{tokens}", table="medians"),
        rows.iloc[0],
        MEDIAN,
        bound=equivalence_bound,
        texts=texts,
    )


def as_more_is_held_fixed(steps: pd.DataFrame) -> list[Row]:
    """Return the nearest lag in each step of the nested models, the mean over the layers.

    Layers count that were fitted in every step. A step that adds no effects, as parts of speech
    where no token has one, is left out.
    """
    term = nearest_lag(steps["term"])
    rows = steps[steps["term"] == term]
    estimates = rows.pivot(index="layer", columns="step", values="estimate").dropna()
    effects = rows.groupby("step")["effects"].max()
    found = []
    entered = 0
    for step in (POOLED, *EFFECTS):
        if len(estimates) and effects[step] > entered:
            row = Row(
                claim="nested_model",
                subject=f"{term}, {step}",
                value=float(estimates[step].mean()),
                layers=len(estimates),
                texts=int(rows["n_documents"].max()),
                table="nested_models",
            )
            found.append(row)
        entered = max(entered, effects[step])
    return found


def omitted_lags(fits: pd.DataFrame, terms: Iterable[str], alpha: float, adjust: str = "") -> Row:
    """Return in how many layers further lags have coefficients, and the sum of these.

    The sum is that of the layer in the middle, which the baseline names, 0 if the lags were enough.
    Its interval is that of this layer, and no verdict on all. The subject has the further lags, as
    in ``3 4 5``; it is empty without a test.
    """
    tested = fits.dropna(subset="omitted_p_value").sort_values("omitted_sum")
    if tested.empty:
        return Row(claim="omitted_lags", layers=0, table="fits")
    middle = tested.iloc[(len(tested) - 1) // 2]
    further = shortest_omitted(terms, int(middle["omitted_df"]))
    row = Row(
        claim="omitted_lags",
        subject=" ".join(map(str, further)),
        layers=len(tested),
        above=int((tested["omitted_p_adjusted"] < alpha).sum()),
        adjust=adjust,
        table="fits",
    )
    return _of_one_layer(row, middle, "omitted_sum")


def curvature(
    fits: pd.DataFrame, terms: Iterable[str], alpha: float, adjust: str = ""
) -> list[Row]:
    """Return in how many layers the nearest lag is not linear, and the coefficient of its square.

    The coefficient is that of the layer in the middle, which the baseline names, 0 if the line were
    straight. Its interval is that of this layer, and no verdict on all. The second row is the share
    of the squared residuals that the square explains (median layer). Empty without a test.
    """
    tested = fits.dropna(subset="curvature_p_value").sort_values("curvature")
    if tested.empty:
        return []
    middle = tested.iloc[(len(tested) - 1) // 2]
    rejected = tested["curvature_p_adjusted"] < alpha
    term = nearest_lag(terms)
    row = Row(
        claim="curvature",
        subject=term,
        layers=len(tested),
        above=int((rejected & (tested["curvature"] > 0)).sum()),
        below=int((rejected & (tested["curvature"] < 0)).sum()),
        adjust=adjust,
        table="fits",
    )
    share = Row(
        claim="curvature_share",
        subject=term,
        value=float(tested["curvature_share"].median()),
        layers=len(tested),
        table="fits",
    )
    return [_of_one_layer(row, middle, "curvature"), share]


def _of_one_layer(row: Row, layer: pd.Series, column: str) -> Row:
    """Return a claim with the value and the interval of one layer, which the baseline names.

    This interval is no verdict on all layers.
    """
    columns = (column, f"{column}_low", f"{column}_high")
    named = replace(row, baseline=f"layer {int(layer['layer'])}")
    return replace(with_interval(named, layer, columns, bound=0.0), verdict=Verdict.NONE)


def halves(
    fits: pd.DataFrame, coefficients: pd.DataFrame, alpha: float, adjust: str = ""
) -> Iterator[Row]:
    """Yield in how many layers halves of texts differ, what the correction of bias does, and where.

    The value is the nearest lag of the median layer among these, or of all layers if the halves
    differ in none; the baseline is the same without correction. Nothing if it was not tested.
    """
    if fits["halves_p_adjusted"].isna().all():
        return
    term = nearest_lag(coefficients["term"])
    rows = coefficients[coefficients["term"] == term]
    layers = fits.loc[fits["halves_p_adjusted"] < alpha, "layer"].tolist()
    if layers:
        rows = rows[rows["layer"].isin(layers)]
    yield Row(
        claim="halves",
        subject=term,
        value=float(rows["estimate"].median()),
        level=1 - alpha,
        baseline="not corrected for bias",
        baseline_value=float(rows["uncorrected"].median()),
        layers=int(fits["halves_p_adjusted"].notna().sum()),
        above=len(layers),
        adjust=adjust,
        table="fits",
    )
    if layers:
        yield Row(
            claim="halves_layers",
            subject=" ".join(map(str, sorted(layers))),
            above=len(layers),
            table="fits",
        )
