"""R² of the vector predicted from the previous vector, by layer and rank, with its controls."""

from typing import Any

from attnlag.figures.inputs import Inputs
from attnlag.figures.legends import PALETTE, PERMUTED, RANDOM_LINE, layer_colours
from attnlag.figures.templates import BOUNDS, Line, Lines, Notice, Sheet
from attnlag.regression.beyond import vector_fits
from attnlag.regression.labels import spans, with_minus_signs

DRAWN_BY = ("plot_vectors",)
CATEGORY = "coefficients"
SUBCATEGORY = "vectors"

# Predictors that the previous vector is compared with.
CONTROLS: dict[str, tuple[str, dict[str, Any]]] = {
    vector_fits.SCALAR: ("previous vector, times one number", {"color": PALETTE[1], "marker": "s"}),
    vector_fits.DOCUMENT: ("mean of the document's other tokens", {"color": PALETTE[2]}),
    vector_fits.PERMUTED: ("tokens in random order", {"color": PERMUTED, "linewidth": 2.4}),
    vector_fits.RANDOM: ("before training", RANDOM_LINE),
}


def figure(inputs: Inputs) -> Sheet:
    """Return R² of the full rank beside its controls, and of each rank."""
    # Predictors without a rank have none.
    fits = inputs.fits.astype({"rank": "Int64"})
    layers = sorted(int(layer) for layer in fits["layer"].unique())
    controls = {name: rows.set_index("layer") for name, rows in fits.groupby("predictor")}
    by_rank = controls.pop(vector_fits.VECTOR)
    ranks = sorted(map(int, by_rank["rank"].unique()))
    full = by_rank[by_rank["rank"] == ranks[-1]].reindex(layers)
    if full["r_squared"].isna().all():
        return Notice("No vectors could be fitted: too few documents, or vectors that do not vary")
    low, high = (full[end].to_numpy(float) for end in BOUNDS)
    label = f"previous vector (rank {ranks[-1]})"
    full_rank = Line(full["r_squared"], label, PALETTE[0], low, high, marker="o")
    lines = [
        Line(controls[name]["r_squared"].reindex(layers), label, **style)
        for name, (label, style) in CONTROLS.items()
        if name in controls
    ]
    shades = layer_colours(len(ranks))[::-1]
    of_ranks = [
        Line(rows["r_squared"].reindex(layers), color=shade, end=f"rank {rank}")
        for (rank, rows), shade in zip(by_rank.groupby("rank"), shades, strict=True)
    ]
    label = "R² in unseen documents"
    claim = f"Previous vectors predict {full['r_squared'].median():.0%} of a token's vector"
    if vector_fits.PERMUTED in controls:
        claim += f"; in random order, {controls[vector_fits.PERMUTED]['r_squared'].median():.0%}"
    claim += " (median layer)"
    return Sheet(
        with_minus_signs(claim),
        layers,
        [
            Lines([*lines, full_rank], label, "full rank and controls", share="r"),
            Lines(of_ranks, label, "by rank of the coefficients", share="r"),
        ],
        f"Ridge regression of each token's vector on previous ones "
        f"({spans(inputs.settings['products']['lags'])}), each fold of documents predicted from "
        "the others. Predictive associations, not causes.",
        alpha=inputs.settings["alpha"],
    )
