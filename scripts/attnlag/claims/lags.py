"""Claims about the lags of one regression: sizes, comparisons and doubts."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from attnlag.claims.row import Row, Verdict, verdict_of
from attnlag.regression.estimation.omitted_lags import shortest_omitted
from attnlag.regression.inference.response import responses
from attnlag.regression.labels import columns_before_training
from attnlag.regression.limits import MIN_DOCUMENTS
from attnlag.regression.slopes.decomposition import EFFECTS, POOLED
from attnlag.regression.terms import nearest_lag


def size(
    coefficients: pd.DataFrame,
    term: str,
    median: Mapping[str, float],
    *,
    equivalence_bound: float,
    alpha: float,
    texts: int,
) -> Row:
    """Return how large a lag or lead is in the median layer, and whether it is beyond a bound.

    ``median`` is that over the layers that were fitted, with its interval. With few different
    ``texts``, be there copies or not, there is none. A median beyond the bound decides nothing
    while no layer is shown to be: one text with a few wild tokens moves all layers together.
    """
    low = float(median["conf_low"])
    high = float(median["conf_high"])
    verdict = verdict_of(low, high, equivalence_bound)
    if texts < MIN_DOCUMENTS:
        low = np.nan
        high = np.nan
        verdict = Verdict.TOO_FEW_TEXTS
    counts = layers_shown(coefficients, term, equivalence_bound)
    if verdict is Verdict.ABOVE and counts.above == 0:
        verdict = Verdict.UNDECIDED
    if verdict is Verdict.BELOW and counts.below == 0:
        verdict = Verdict.UNDECIDED
    return replace(
        counts,
        value=float(median["median"]),
        low=low,
        high=high,
        level=1 - alpha,
        texts=texts,
        verdict=verdict,
    )


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
    rows = influence[influence["term"] == term]
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
    )


def response(
    medians: pd.DataFrame, tokens: int, *, equivalence_bound: float, alpha: float, texts: int
) -> Row:
    """Return by how much one that is larger by 1 than predicted makes a later one larger.

    ``medians`` are those over the layers, in which the responses are terms; without the term of
    this distance the value is NaN.
    """
    rows = medians[medians["term"] == f"response_{tokens}"]
    value = np.nan
    low = np.nan
    high = np.nan
    if len(rows):
        value = float(rows["median"].iloc[0])
        low = float(rows["conf_low"].iloc[0])
        high = float(rows["conf_high"].iloc[0])
    verdict = verdict_of(low, high, equivalence_bound)
    if texts < MIN_DOCUMENTS:
        low = np.nan
        high = np.nan
        verdict = Verdict.TOO_FEW_TEXTS
    return Row(
        claim="response",
        subject=f"{tokens}",
        value=value,
        low=low,
        high=high,
        level=1 - alpha,
        bound=equivalence_bound,
        texts=texts,
        verdict=verdict,
    )


def median_responses(coefficients: pd.DataFrame) -> list[float]:
    """Return the responses after 1, 2, … tokens in the median layer; none with leads."""
    by_layer = coefficients.pivot(index="layer", columns="term", values="estimate")
    terms = [str(term) for term in by_layer]
    found = responses(terms, by_layer.to_numpy())
    fitted = np.isfinite(found).all(axis=1)
    if not fitted.any():
        return []
    return np.median(found[fitted], axis=0).tolist()


def followed_by(
    coefficients: pd.DataFrame, controls: pd.DataFrame | None
) -> tuple[Row | None, Row | None]:
    """Return the nearest lag or lead and the response two tokens later (median layer), if known.

    The baseline of the lag has the extremes over the scales of untrained weights as its ends.
    """
    term = nearest_lag(coefficients["term"])
    value = float(coefficients.loc[coefficients["term"] == term, "estimate"].median())
    if not np.isfinite(value):
        return None, None
    by_scale = pd.Series(dtype=float)
    if controls is not None:
        columns = columns_before_training(controls)
        by_scale = controls.loc[controls["term"] == term, columns].median().dropna()
    lag = Row(
        claim="lag",
        subject=term,
        value=value,
        baseline="before training",
        baseline_low=float(by_scale.min()),
        baseline_high=float(by_scale.max()),
    )
    later = None
    following = median_responses(coefficients)
    if term == "lag_1" and following:
        later = Row(claim="response", subject="2", value=following[1])
    return lag, later


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
                subject=step,
                value=float(estimates[step].mean()),
                layers=len(estimates),
                texts=int(rows["n_documents"].max()),
            )
            found.append(row)
        entered = max(entered, effects[step])
    return found


def explained(fits: pd.DataFrame, covariates: Sequence[str]) -> list[Row]:
    """Return R², and what the lags and the other terms explain beyond each other (median layer)."""
    whole = fits["r_squared"]
    rows = [_explained("r_squared", "all terms", whole)]
    if covariates:
        of_lags = whole - fits["r_squared_others"]
        of_others = whole - fits["r_squared_lags"]
        rows.append(_explained("r_squared_beyond", "lags", of_lags))
        rows.append(_explained("r_squared_beyond", "other terms", of_others))
    return rows


def _explained(claim: str, subject: str, by_layer: pd.Series) -> Row:
    return Row(
        claim=claim,
        subject=subject,
        value=float(by_layer.median()),
        layers=int(by_layer.notna().sum()),
        table="fits",
    )


def omitted_lags(fits: pd.DataFrame, terms: Iterable[str], alpha: float) -> Row:
    """Return in how many layers further lags have coefficients, and the sum of these.

    The sum is that of the layer in the middle, 0 if the lags were enough. The subject has the
    further lags, as in ``3 4 5``; it is empty without a test.
    """
    tested = fits.dropna(subset="omitted_p_value").sort_values("omitted_sum")
    if tested.empty:
        return Row(claim="omitted_lags", subject="", layers=0)
    middle = tested.iloc[(len(tested) - 1) // 2]
    low = float(middle["omitted_sum_low"])
    high = float(middle["omitted_sum_high"])
    further = shortest_omitted(terms, int(middle["omitted_df"]))
    return Row(
        claim="omitted_lags",
        subject=" ".join(map(str, further)),
        value=float(middle["omitted_sum"]),
        low=low,
        high=high,
        level=1 - alpha,
        bound=0.0,
        layers=len(tested),
        above=int((tested["omitted_p_adjusted"] < alpha).sum()),
        verdict=verdict_of(low, high, 0.0),
    )


def curvature(fits: pd.DataFrame, terms: Iterable[str], alpha: float) -> list[Row]:
    """Return in how many layers the nearest lag is not linear, and the coefficient of its square.

    The coefficient is that of the layer in the middle, 0 if the line were straight. The second row
    is the share of the squared residuals that the square explains there. Empty without a test.
    """
    tested = fits.dropna(subset="curvature_p_value").sort_values("curvature")
    if tested.empty:
        return []
    middle = tested.iloc[(len(tested) - 1) // 2]
    low = float(middle["curvature_low"])
    high = float(middle["curvature_high"])
    rejected = tested["curvature_p_adjusted"] < alpha
    term = nearest_lag(terms)
    counted = Row(
        claim="curvature",
        subject=term,
        value=float(middle["curvature"]),
        low=low,
        high=high,
        level=1 - alpha,
        bound=0.0,
        layers=len(tested),
        above=int((rejected & (tested["curvature"] > 0)).sum()),
        below=int((rejected & (tested["curvature"] < 0)).sum()),
        verdict=verdict_of(low, high, 0.0),
    )
    share = Row(
        claim="curvature_share",
        subject=term,
        value=float(tested["curvature_share"].median()),
        layers=len(tested),
    )
    return [counted, share]


def different_halves(fits: pd.DataFrame, alpha: float) -> list[int]:
    """Return the layers in which the halves of documents differ in their lags."""
    return fits.loc[fits["halves_p_adjusted"] < alpha, "layer"].tolist()


def halves(fits: pd.DataFrame, coefficients: pd.DataFrame, alpha: float) -> Row | None:
    """Return in how many layers halves of texts differ, and what the correction of bias does there.

    The value is the nearest lag of the median layer among these, or of all layers if the halves
    differ in none; the baseline is the same without correction. None if it was not tested.
    """
    if fits["halves_p_adjusted"].isna().all():
        return None
    term = nearest_lag(coefficients["term"])
    rows = coefficients[coefficients["term"] == term]
    layers = different_halves(fits, alpha)
    if layers:
        rows = rows[rows["layer"].isin(layers)]
    return Row(
        claim="halves",
        subject=term,
        value=float(rows["estimate"].median()),
        baseline="not corrected for bias",
        baseline_value=float(rows["uncorrected"].median()),
        layers=int(fits["halves_p_adjusted"].notna().sum()),
        above=len(layers),
    )
