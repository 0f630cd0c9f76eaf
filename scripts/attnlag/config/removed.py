"""Keys and values of the configuration that are no more, and what to do instead.

A sentence answers whoever still states one of them.
"""

import json
from typing import Any

from attnlag.config.reading import KeyPath

# By the path of a key, or of a key and its value. In a path, * stands for a name of the user's
# choice or for an entry of a list; a value is written as in JSON, text without quotation marks.
# The sentence continues "was removed; ".
REMOVED = {
    "corpora.*.tagger.file": "give the words and tags of each document in a field of its row, and "
    "the name of the field as column",
    "figures.documents": "the tab Text of results/explorer.html shades every document of a sample",
    "figures.text_layer": "choose the layer in the tab Text of results/explorer.html",
    "inference.stack_mb": "leave it out: each layer of the cross-products is read whole",
    "figures.also.*=outcome_by_lag": "ask for diagnostics, or draw the columns of the design",
    "extraction.fast=auto": "leave the key out: the processor decides how products are computed",
    "extraction.fast=packed": "leave the key out: the processor decides how products are computed",
    "extraction.fast=fused": "leave the key out: the processor decides how products are computed",
    "causal.scales": "use the interventions halve and double, or changes of attnlag.intervene",
    "causal.sources": "a run changes the middle layer; use sources of attnlag.intervene for others",
    "causal.interventions.*=scale": "use halve and double",
    "causal.interventions.*=resample": "use mean, or changes of attnlag.intervene",
    "figures.also.*=signs_of_effects": "read prediction_vs_effect.csv",
    "figures.also.*=finite_effects_by_distance": "read finite_effects.csv",
}


def removed_problem(path: KeyPath, value: Any) -> str | None:
    """Return the sentence about a key or a value that was removed, None if it was not."""
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    for row, instead in REMOVED.items():
        key, has_value, removed_value = row.partition("=")
        if not _matches(key.split("."), path):
            continue
        if not has_value:
            return f"was removed; {instead}"
        if text == removed_value:
            return f"found {text}, which was removed; {instead}"
    return None


def _matches(pattern: list[str], path: KeyPath) -> bool:
    """Return whether a key path is that of a row."""
    if len(pattern) != len(path):
        return False
    pairs = zip(pattern, path, strict=True)
    return all(part == "*" or part == str(found) for part, found in pairs)
