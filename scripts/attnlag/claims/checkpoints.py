"""Claims about a lag along the training of a model: where it begins, is highest, and settles."""

from collections.abc import Iterator

import pandas as pd

from attnlag.claims.row import ESTIMATE, Row, with_interval

FINAL = "final weights"


def course(training: pd.DataFrame, quantity: str, *, bound: float) -> Iterator[Row]:
    """Yield how a quantity goes along training; nothing if it is unknown at all steps.

    Values are of the median layer, at the first step, the highest and of the final weights. The
    claim on where it settles is the mean difference over the layers at the first step from which
    on all intervals of differences lie within the bound; if there is none, at the last step. Steps
    that are as high are those whose interval meets that of the highest.

    Parameters
    ----------
    training : DataFrame
        A table of `attnlag.regression.inference.training.TrainingTables.medians`.
    """
    rows = training[training["quantity"] == quantity].dropna(subset="estimate")
    # The final weights have no step.
    steps = rows[rows["step"].notna()].sort_values("step")
    final = rows[rows["step"].isna()]
    if steps.empty or final.empty:
        return
    highest = steps.iloc[int(steps["estimate"].argmax())]
    others = steps[steps["step"] != highest["step"]]
    as_high = others.loc[others["conf_high"] >= highest["conf_low"], "step"]
    settled = steps.iloc[first_settled(steps, bound)]
    for claim, row in (
        ("training_first", steps.iloc[0]),
        ("training_highest", highest),
        ("training_final", final.iloc[0]),
    ):
        yield _at_step(claim, row, ESTIMATE, bound)
    columns = ("difference", "difference_low", "difference_high")
    yield _at_step("training_settled", settled, columns, bound)
    yield Row(
        claim="training_as_high",
        subject=f"{quantity}, {numbers(as_high)}",
        table="training",
    )
    yield Row(
        claim="training_steps",
        subject=f"{quantity}, {numbers(steps['step'])}",
        value=float(len(steps)),
        unit="steps",
        texts=int(final["documents"].iloc[0]),
        table="training",
    )


def losses(training: pd.DataFrame) -> Iterator[Row]:
    """Yield the mean surprisal of the tokens at each step where it is known."""
    known = training[training["step"].notna()].dropna(subset="loss").drop_duplicates("step")
    for row in known.sort_values("step").to_dict("records"):
        yield Row(
            claim="training_loss",
            subject=f"step {row['step']}",
            value=float(row["loss"]),
            unit="nats a token",
            table="training",
        )


def first_settled(steps: pd.DataFrame, bound: float) -> int:
    """Return the place of the first step from which on differences are within a bound."""
    within = steps["difference_low"].gt(-bound) & steps["difference_high"].lt(bound)
    settled = len(steps) - 1
    while settled > 0 and within.iloc[settled] and within.iloc[settled - 1]:
        settled -= 1
    return settled


def numbers(steps: pd.Series) -> str:
    """Return steps as names of a subject: ``0 16 512``."""
    return " ".join(str(int(step)) for step in steps)


def _at_step(claim: str, row: pd.Series, columns: tuple[str, str, str], bound: float) -> Row:
    step = FINAL if pd.isna(row["step"]) else f"step {int(row['step'])}"
    claimed = Row(
        claim=claim,
        subject=f"{row['quantity']}, {step}",
        layers=int(row["layers"]),
        table="training",
    )
    texts = int(row["documents"])
    return with_interval(claimed, row, columns, bound=bound, texts=texts)
