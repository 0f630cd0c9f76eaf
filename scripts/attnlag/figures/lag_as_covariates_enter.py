"""Coefficient of the nearest lag and R² as covariates enter a regression one after another."""

import seaborn as sns

from attnlag.figures.inputs import Inputs
from attnlag.figures.templates import Line, Lines, Map, Sheet, by_layer, profile
from attnlag.figures.wording import PREDICTIVE, number
from attnlag.regression.beyond.decomposition import EFFECTS, PARTS_OF_CHANGE, POOLED
from attnlag.regression.labels import UNITS
from attnlag.regression.terms import lags_among, named

DRAWN_BY = ("plot_classes",)
ON_REQUEST = True
CATEGORY = "coefficients"
SUBCATEGORY = "as covariates enter"

STEP_LABELS = {
    POOLED: "pooled",
    "document": "within documents",
    "upos": "+ part of speech",
    "upos_previous": "+ that of the token before",
    "token": "+ token",
    "token_previous": "+ token before",
}
PART_LABELS = {
    "document": "documents",
    "upos": "part of speech",
    "upos_previous": "that of the token before",
    "tokens": "both tokens beyond these",
}


def figure(inputs: Inputs) -> Sheet:
    """Return the lag and R² of each step, and the change of the lag due to each part."""
    term = lags_among(list(inputs.steps["term"]))[0]
    steps, parts = (table[table["term"] == term] for table in (inputs.steps, inputs.parts))
    layers = sorted(steps["layer"].unique())
    unit = UNITS[inputs.settings["regression"]["outcome"]]
    # From light to dark as more is held fixed.
    colours = dict(
        zip(STEP_LABELS, sns.color_palette("inferno_r", len(STEP_LABELS) + 2)[2:], strict=True)
    )
    lags, shares = [], []
    for step, label in STEP_LABELS.items():
        rows = steps[steps["step"] == step]
        lags.append(profile(rows, layers, colours[step], label=label, shade=0.12))
        r_squared = rows.set_index("layer")["r_squared"].reindex(layers)
        shares.append(Line(r_squared, color=colours[step]))
    mean = steps.groupby("step")["estimate"].mean()
    counts = steps[["n_obs", "n_documents"]].max()
    before, after = number(mean[POOLED]), number(mean[EFFECTS[-1]])
    moved = f"moves {named(term)} from {before} to {after}"
    if before == after:
        moved = f"leaves {named(term)} at {before}"
    return Sheet(
        f"Holding documents, parts of speech and tokens fixed {moved} (mean over the layers)",
        layers,
        [
            Lines(lags, f"coefficient\n({unit})", f"coefficient of {named(term)}"),
            Lines(shares, "R² of all variance", "variance explained", ylim=(0, 1)),
            Map(
                by_layer(parts, "part", "change", list(PARTS_OF_CHANGE), layers),
                [PART_LABELS[part] for part in PARTS_OF_CHANGE],
                "change",
                f"change of {named(term)} by part",
            ),
        ],
        f"{counts['n_obs']:,} rows of {counts['n_documents']:,} documents with parts of speech. "
        "Each step adds a dummy for each level; cells: Gelbach's decomposition, whose columns add "
        f"up to the last step minus the first. {PREDICTIVE}",
        across=2,
        alpha=inputs.settings["regression"]["alpha"],
    )
