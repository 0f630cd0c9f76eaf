"""Claims about a lag along the training of a model: where it begins, is highest, and settles."""

from dataclasses import dataclass

import pandas as pd

from attnlag.claims.row import Row, Verdict, verdict_of
from attnlag.regression.limits import MIN_DOCUMENTS


@dataclass(frozen=True)
class AtStep:
    """A claim about one step of training.

    Parameters
    ----------
    step : int or None
        None for the final weights.
    row : Row
        The value and its interval; of `Course.settled`, the mean difference from the final
        weights over the layers.
    """

    step: int | None
    row: Row


@dataclass(frozen=True)
class Course:
    """A quantity of the median layer along the training of a model.

    Parameters
    ----------
    steps : list of int
        The steps that were measured, in order.
    first, highest, final : AtStep
        The values at the first step, at the highest and of the final weights.
    as_high : list of int
        The other steps whose interval meets that of the highest.
    settled : AtStep
        The difference at the first step from which on all intervals of differences lie within the
        bound; if there is none, that at the last step.
    loss : dict of int to float
        Mean surprisal by step in nats, where it is known.
    """

    steps: list[int]
    first: AtStep
    highest: AtStep
    as_high: list[int]
    settled: AtStep
    final: AtStep
    loss: dict[int, float]


def course(training: pd.DataFrame, quantity: str, *, bound: float, alpha: float) -> Course | None:
    """Return how a quantity goes along training; None if it is unknown at all steps.

    ``training`` is a table of `attnlag.regression.inference.training.TrainingTables.medians`.
    """
    rows = training[training["quantity"] == quantity].dropna(subset="estimate")
    # The final weights have no step.
    steps = rows[rows["step"].notna()].sort_values("step")
    final = rows[rows["step"].isna()]
    if steps.empty or final.empty:
        return None
    highest = steps.iloc[int(steps["estimate"].argmax())]
    others = steps[steps["step"] != highest["step"]]
    as_high = others[others["conf_high"] >= highest["conf_low"]]
    within = steps["difference_low"].gt(-bound) & steps["difference_high"].lt(bound)
    settled = len(steps) - 1
    while settled > 0 and within.iloc[settled] and within.iloc[settled - 1]:
        settled -= 1
    known = steps.dropna(subset="loss")
    return Course(
        steps=[int(step) for step in steps["step"]],
        first=_value(steps.iloc[0], bound, alpha),
        highest=_value(highest, bound, alpha),
        as_high=[int(step) for step in as_high["step"]],
        settled=_difference(steps.iloc[settled], bound, alpha),
        final=_value(final.iloc[0], bound, alpha),
        loss=dict(zip(known["step"].astype(int), known["loss"], strict=True)),
    )


def _value(row: pd.Series, bound: float, alpha: float) -> AtStep:
    """Return the value at a step."""
    return _claim("lag_at_step", row, ("estimate", "conf_low", "conf_high"), bound, alpha)


def _difference(row: pd.Series, bound: float, alpha: float) -> AtStep:
    """Return the difference from the final weights at a step."""
    columns = ("difference", "difference_low", "difference_high")
    return _claim("lag_settled", row, columns, bound, alpha)


def _claim(
    name: str, row: pd.Series, columns: tuple[str, str, str], bound: float, alpha: float
) -> AtStep:
    value, low, high = (float(row[column]) for column in columns)
    verdict = verdict_of(low, high, bound)
    texts = int(row["documents"])
    if texts < MIN_DOCUMENTS:
        verdict = Verdict.TOO_FEW_TEXTS
    step = None if pd.isna(row["step"]) else int(row["step"])
    claim = Row(
        claim=name,
        subject=str(row["quantity"]),
        value=value,
        low=low,
        high=high,
        level=1 - alpha,
        bound=bound,
        layers=int(row["layers"]),
        texts=texts,
        verdict=verdict,
    )
    return AtStep(step, claim)
