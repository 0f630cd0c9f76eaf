"""Terms made from other terms: small classes are merged, and the reference class is left out.

The dummies of a property comprise one term for each class, the same in every shard. Which classes
have enough tokens is known only after all shards are summed. Moments of sums of terms are sums of
moments, so the design need not be read again.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np

from attnlag.regression.covariates import CATALOGUE, classes_of
from attnlag.regression.limits import MIN_DOCUMENTS
from attnlag.regression.moments.moments import KeptTerms, Moments, PreparedMoments
from attnlag.regression.properties import OTHER

# Smallest number of rows that identify the slopes of the merged class.
MIN_ROWS = 30


def moments_of_documents(
    layers: Sequence[Moments],
    documents: Sequence[str],
    *,
    fixed_effects: bool,
    half_panel: bool = True,
    without: tuple[str, ...] = (),
) -> Iterator[PreparedMoments]:
    """Yield the moments that regressions of some documents alone are solved from.

    Classes of tokens are merged anew, and terms that begin as one of ``without`` are left out.
    """
    own = [moments.only(documents) for moments in layers]
    kept = dict(kept_terms(own[0].terms, own))
    for term in list(kept):
        if term.startswith(without):
            del kept[term]
    for moments in own:
        merged = moments.with_terms(kept)
        yield merged.prepared(fixed_effects=fixed_effects, half_panel=half_panel)


def kept_terms(terms: Sequence[str], layers: Sequence[Moments]) -> KeptTerms:
    """Return the terms of a regression, given those of its moments and the moments of all layers.

    Classes in fewer documents than clustered errors need are merged into one (``upos_other``). The
    class with the most rows is the reference and is left out.
    """
    kept: dict[str, Sequence[str]] = {term: (term,) for term in terms}
    for name in CATALOGUE:
        dummies = {}
        for label in classes_of(name):
            dummy = f"{name}_{label}"
            if dummy in terms:
                dummies[label] = dummy
        if not dummies:
            continue
        places = [1 + terms.index(dummy) for dummy in dummies.values()]
        rows = rows_by_class(layers, partial(_dummies, places))
        fewest = MIN_DOCUMENTS if len(rows) >= MIN_DOCUMENTS else 1
        sizes = rows.sum(axis=0)
        documents = (rows > 0).sum(axis=0)
        merged = merged_classes(list(dummies), sizes, documents, documents=fewest, rows=1)
        for dummy in dummies.values():
            del kept[dummy]
        size_of_class = dict(zip(dummies, sizes.tolist(), strict=True))
        size_of_merged = {}
        for label, members in merged.items():
            size_of_merged[label] = sum(size_of_class[member] for member in members)
        # Without any rows there is no reference either.
        largest = max(merged, key=size_of_merged.__getitem__, default=None)
        for label, members in merged.items():
            if label != largest:
                kept[f"{name}_{label}"] = tuple(dummies[member] for member in members)
    return kept


def merged_terms(kept: KeptTerms) -> dict[str, list[str]]:
    """Return the terms that are sums of several of the design, or of another one, with these."""
    merged = {}
    for term, parts in kept.items():
        if list(parts) != [term]:
            merged[term] = list(parts)
    return merged


def merged_classes(
    classes: Sequence[str], size: np.ndarray, present: np.ndarray, *, documents: int, rows: int
) -> dict[str, list[str]]:
    """Return the classes with enough tokens and ``other``, each with the classes that make it up.

    ``size`` and ``present``, (classes,) int, have the rows and documents of each class; ``rows``
    and ``documents`` are the smallest ones of a separate class. If ``other`` is in fewer documents
    or has fewer than `MIN_ROWS` rows, the smallest of the remaining classes is merged into it. A
    class without rows is in none.
    """
    small = []
    large = []
    for place in np.flatnonzero(size > 0).tolist():
        if present[place] < documents or size[place] < rows:
            small.append(place)
        else:
            large.append(place)
    large.sort(key=size.__getitem__)
    # A merged class is in at least as many documents as the most common of its classes.
    enough = min(rows, MIN_ROWS)
    while small and large and (size[small].sum() < enough or present[small].max() < documents):
        small.append(large.pop(0))
    merged = {}
    for place in sorted(large):
        merged[classes[place]] = [classes[place]]
    if small:
        merged[OTHER] = [classes[place] for place in sorted(small)]
    return merged


def rows_by_class(
    layers: Sequence[Moments], rows_in: Callable[[Moments], np.ndarray]
) -> np.ndarray:
    """Return the numbers of rows of each document and class, (documents, classes).

    ``rows_in`` gives those of moments. If layers differ, it is the layer with the most rows.
    """
    found = np.zeros((0, 0), np.int64)
    for moments in layers:
        rows = np.rint(rows_in(moments)).astype(np.int64)
        found = max(found, rows, key=np.sum) if len(found) else rows
    return found


def _dummies(places: Sequence[int], moments: Moments) -> np.ndarray:
    """Return the sums of uncentred terms over the rows of each document, (documents, terms)."""
    sums = moments.products[:, :, 0].sum(axis=0)
    return sums[:, places] + sums[:, :1] * moments.centre[places]
