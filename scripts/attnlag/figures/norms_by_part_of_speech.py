"""Mean log norm by part of speech and layer, and the variance that parts of speech explain."""

import pandas as pd

from attnlag import wording
from attnlag.claims.norms import variance_between
from attnlag.corpus.catalogue import NONE
from attnlag.errors import counted
from attnlag.figures.drawing import NORMS
from attnlag.figures.inputs import Inputs
from attnlag.figures.sampling import shares_between
from attnlag.figures.templates import Line, Lines, Map, Sheet
from attnlag.figures.wording import tokens_shown
from attnlag.regression.labels import UPOS
from attnlag.storage import tables

DRAWN_BY = "plot_adjustments"
NEEDS = "tags"
CATEGORY = "norms"
SUBCATEGORY = "by kind of token"

# Smallest number of tokens whose mean a cell shows.
MIN_TOKENS = 20


def figure(inputs: Inputs) -> Sheet:
    """Return the variance explained by layer, and a map with a row for each part of speech.

    Largest norms come first. As in the regressions, every token of a word has the word's part of
    speech.
    """
    sample = inputs.norms_sample.from_position(inputs.settings["drop_first"])
    extent = counted(sample.tokens, "token")
    logs = sample.log_norms
    tags = pd.Series(
        tables.values_at(inputs.paths("token_properties"), "upos", sample.rows).astype(str)
    )
    tagged = tags != NONE
    if not tagged.any():
        return Sheet("No token has a part of speech", extent=extent)
    parts_of_speech = tags.map(UPOS).where(tagged)
    counts = parts_of_speech.value_counts()
    counts = counts[counts >= MIN_TOKENS]
    if counts.empty:
        return Sheet(f"No part of speech has {MIN_TOKENS} tokens", extent=extent)
    shares = shares_between(logs[tagged], tags[tagged].to_numpy())
    explained = variance_between(shares, tags[tagged].nunique(), int(tagged.sum()))
    means = (logs - logs.mean()).groupby(parts_of_speech).mean().reindex(counts.index)
    order = means.mean(axis=1).sort_values(ascending=False).index
    return Sheet(
        wording.title([explained]),
        sample.layers,
        [
            Lines(
                [Line(shares.to_numpy(dtype=float), color=NORMS)],
                "R²",
                "variance explained by parts of speech",
                height=1.2,
                ylim=(0, None),
            ),
            Map(
                means.loc[order].to_numpy(dtype=float),
                [f"{name} ({counts[name]:,})" for name in order],
                "mean log norm, minus the layer's mean",
                "norms by part of speech",
            ),
        ],
        f"Norms of the {inputs.site_label}: of {tokens_shown(sample.tokens)}, the "
        f"{int(counts.sum()):,} with a part of speech that are not dropped; number of tokens in "
        "brackets. Every token of a word has the word's part of speech. Natural logarithms.",
        extent=extent,
    )
