"""Effects of adjustments on the logits of own token, next token and first choice, by layer."""

from attnlag.adjustments.sites import SITES
from attnlag.figures.inputs import Inputs
from attnlag.figures.legends import PALETTE
from attnlag.figures.templates import Line, Lines, Notice, Sheet, profile, untrained
from attnlag.regression.beyond.traced import next_ahead

DRAWN_BY = ("plot_sources",)
CATEGORY = "directions"
SUBCATEGORY = "readout"

TARGET_STYLES = {
    "own": ("the token itself", PALETTE[1]),
    "next": ("the next token", PALETTE[0]),
    "first_choice": ("the model's first choice", PALETTE[2]),
}


def figure(inputs: Inputs) -> Sheet:
    """Return for each site the effects, less those on the targets of another place."""
    table = inputs.readout.dropna(subset="difference")
    if table.empty:
        return Notice("Effects on the logits are not known")
    layers = sorted(map(int, table["layer"].unique()))
    panels = []
    for site, of_site in table.groupby("site", sort=False):
        lines: list[Line] = []
        for target, (label, colour) in TARGET_STYLES.items():
            rows = of_site[of_site["target"] == target]
            before = rows.set_index("layer")["random_weights"].reindex(layers)
            lines.append(profile(rows, layers, colour, "difference", label=label, marker="o"))
            lines += [untrained(before, color=colour)] if before.notna().any() else []
        title = SITES[str(site)].label if table["site"].nunique() > 1 else ""
        panels.append(Lines(lines, "effect (SD over the vocabulary)", title, height=3.0))
    first = table[table["site"] == table["site"].iloc[0]]
    ahead, start = next_ahead(first)
    claim = f"{SITES[first['site'].iloc[0]].label} raises the next token more than the token itself"
    return Sheet(
        f"The {claim} in {ahead.sum()} of {len(ahead)} layers"
        if start is None
        else f"From layer {start} on, the {claim}",
        layers,
        panels,
        "Direct effects on the logits through the last norm and the head, less the effects on the "
        "tokens of another place in the same document.",
        alpha=inputs.settings["alpha"],
    )
