"""Coefficient of each lag by step of training, layer by layer and in the median layer, and R²."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, NullFormatter

from attnlag import wording
from attnlag.claims.checkpoints import course
from attnlag.claims.run import Claims
from attnlag.errors import counted
from attnlag.figures.inputs import Inputs
from attnlag.figures.legends import GREY, lag_colours
from attnlag.figures.templates import Line, Lines, Sheet
from attnlag.regression.inference.training import R_SQUARED
from attnlag.regression.labels import UNITS
from attnlag.regression.terms import is_lag_or_lead, lags_among, named

DRAWN_BY = "plot_training"
CATEGORY = "coefficients"
SUBCATEGORY = "by step of training"
NEEDS = "revisions"
METHOD = (
    "The regression was fitted to earlier checkpoints of the model too, on the same documents and "
    "without correction of bias."
)

# Lags and leads with a panel each.
MAX_PANELS = 3
# Steps that are written below the axis, at most.
MAX_TICKS = 8


def figure(inputs: Inputs) -> Sheet:
    """Return the lags, R² and, where it is known, the loss, by step."""
    table = inputs.table("training")
    layers = inputs.table("training_layers")
    record = inputs.record_of("training")
    bound = inputs.settings["equivalence_bound"]
    terms = lags_among([name for name in table["quantity"].unique() if is_lag_or_lead(name)])
    claims = Claims(tuple(course(table, terms[0], bound=bound)))
    final = claims.one("training_final")
    if final is None:
        return Sheet("No layer could be fitted at an earlier checkpoint")
    highest = claims.one("training_highest")
    title = wording.title([highest, claims.one("training_settled"), final], joined="; ")
    steps = sorted(int(step) for step in table["step"].dropna().unique())
    colours = lag_colours(terms)
    unit = f"coefficient\n({UNITS[record.settings('design')['outcome']]})"
    panels = []
    for term in terms[:MAX_PANELS]:
        lines = _lines(table, layers, term, steps, colours[term])
        panels.append(Lines(lines, unit, named(term), share="lags", **_over_steps(steps)))
    lines = _lines(table, layers, R_SQUARED, steps, "k")
    panels.append(Lines(lines, "R²", "R²", **_over_steps(steps)))
    by_step = table.drop_duplicates("step").set_index("step")["loss"].reindex(steps)
    if by_step.notna().any():
        loss = by_step.astype(float)
        line = Line(loss.to_numpy(), color="k")
        final_loss = table.loc[table["step"].isna(), "loss"].iloc[0]
        lines = [_final(final_loss, len(steps)), line]
        panels.append(Lines(lines, "nats a token", "loss", zero=False, **_over_steps(steps)))
    return Sheet(
        title,
        panels=panels,
        note="Thin lines are layers, thick ones the median over the layers that are fitted with "
        f"both weights. All checkpoints have the same {final.texts} documents, and none "
        "is corrected for bias. Intervals come from leaving out each document.",
        across=2,
        alpha=record.settings("training")["alpha"],
        extent=counted(int(table["documents"].max()), "document"),
    )


def _lines(
    medians: pd.DataFrame, layers: pd.DataFrame, quantity: str, steps: list[int], colour: Any
) -> list[Line]:
    """Return a thin line for each layer, the median with its band, and the final value."""
    by_layer = layers[(layers["quantity"] == quantity) & layers["step"].notna()]
    wide = by_layer.pivot(index="step", columns="layer", values="estimate").reindex(steps)
    lines = []
    for layer in wide:
        values = wide[layer].to_numpy(float)
        kind: dict[str, Any] = {"linewidth": 0.6, "behind": True, "each": f"layer {layer}"}
        lines.append(Line(values, "layers", "0.75", **kind))
    rows = medians[medians["quantity"] == quantity]
    final = rows.loc[rows["step"].isna(), "estimate"].iloc[0]
    lines.append(_final(final, len(steps)))
    by_step = rows[rows["step"].notna()].set_index("step").reindex(steps)
    ends: dict[str, Any] = {
        "low": by_step["conf_low"].to_numpy(float),
        "high": by_step["conf_high"].to_numpy(float),
    }
    values = by_step["estimate"].to_numpy(float)
    lines.append(Line(values, "median layer", colour, linewidth=2.2, **ends))
    return lines


def _final(value: float, steps: int) -> Line:
    """Return the level of the final weights."""
    return Line(np.full(steps, value), "final weights", GREY, linestyle=(0, (4, 2)), linewidth=1.1)


def _over_steps(steps: list[int]) -> dict[str, Any]:
    """Return the axis of a panel over steps of training: linear up to the first, then in logs."""
    later = [step for step in steps if step > 0]
    return {
        "x": steps,
        "xlabel": "step of training",
        "height": 2.6,
        "linear_to": later[0] if later else None,
        "extra": _ticks_at(steps),
    }


def _ticks_at(steps: list[int]) -> Any:
    """Return what writes a few of some steps below their axis; the others have a tick alone."""
    ticks = steps
    if len(steps) > MAX_TICKS:
        places = np.linspace(0, len(steps) - 1, MAX_TICKS).round().astype(int)
        ticks = [steps[place] for place in places]

    def write(axes: Axes) -> None:
        axes.xaxis.set_major_locator(FixedLocator(ticks))
        axes.xaxis.set_minor_locator(FixedLocator(steps))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.xaxis.set_major_formatter("{x:,.0f}")

    return write
