"""Mean log norm by part of speech and layer."""

import pandas as pd

from attnlag.corpus.catalogue import NONE
from attnlag.figures.inputs import Inputs
from attnlag.figures.sampling import shares_between
from attnlag.figures.templates import Map, Sheet
from attnlag.figures.wording import tokens_shown
from attnlag.regression.labels import UPOS
from attnlag.storage import tables

DRAWN_BY = "plot_adjustments"
NEEDS = "tags"
CATEGORY = "norms"
SUBCATEGORY = "by kind of token"

# Smallest number of tokens whose mean a cell shows.
FEWEST_TOKENS = 20

# Row of tokens that continue a word, whatever its part of speech.
CONTINUATIONS = "continuation of a word"


def figure(inputs: Inputs) -> Sheet:
    """Return a map with a row for each part of speech, largest norms first."""
    sample = inputs.sample.from_position(inputs.drop_first)
    logs = sample.log_norms
    upos, word, initial = (
        tables.values_at(inputs.properties, name, sample.rows)
        for name in ("upos", "word", "word_initial")
    )
    tags = upos.astype(str)
    tagged = tags != NONE
    shown = pd.Series(tags).map(UPOS)
    shown[(word.astype(int) >= 0) & ~initial.astype(bool)] = CONTINUATIONS
    shown[~tagged] = None
    counts = shown.value_counts()
    counts = counts[counts >= FEWEST_TOKENS]
    if counts.empty:
        too_few = f"No part of speech has {FEWEST_TOKENS} tokens"
        return Sheet(too_few if tagged.any() else "No token has a part of speech")
    shares = shares_between(logs[tagged], tags[tagged])
    by_chance = (len(set(tags[tagged])) - 1) / (int(tagged.sum()) - 1)
    means = (logs - logs.mean()).groupby(shown).mean().reindex(counts.index)
    means = means.loc[means.mean(axis=1).sort_values(ascending=False).index]
    return Sheet(
        f"Parts of speech explain {shares.min():.0%} to {shares.max():.0%} of the "
        f"variance of log norms, depending on the layer (by chance {by_chance:.1%})",
        sample.layers,
        [
            Map(
                means.to_numpy(dtype=float),
                [f"{name} ({counts[name]:,})" for name in means.index],
                "mean log norm,\nminus the layer's mean",
            )
        ],
        f"Norms of the {inputs.label}: of {tokens_shown(sample.tokens)}, the "
        f"{int(counts.sum()):,} with a part of speech that are not dropped; number of tokens in "
        "brackets. A word counts by its first token. Natural logarithms.",
    )
