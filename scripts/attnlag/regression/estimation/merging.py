"""Terms made from other terms: small classes are merged, and the reference class is left out.

The dummies of a property comprise one term for each class, the same in every shard. Which classes
have enough tokens is known only after all shards are summed. Cross-products of sums of terms are
sums of cross-products, so the design need not be read again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
from scipy import sparse

from attnlag.regression.design.covariates import CATALOGUE, classes_of
from attnlag.regression.design.properties import OTHER
from attnlag.regression.estimation.crossproducts import Shard, values_of
from attnlag.regression.estimation.packed import packed_size
from attnlag.regression.estimation.stacks import Stack, stacked
from attnlag.regression.limits import FEWEST_DOCUMENTS
from attnlag.regression.settings import HeadsSettings, RegressionSettings

# Smallest number of rows that identify the slopes of the merged class.
FEWEST_ROWS = 30

# Each new term with the terms that it is the sum of.
TermSums = Mapping[str, Sequence[str]]


def class_terms(terms: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return the dummies among some terms, by covariate and by class."""
    dummies = {}
    for name in CATALOGUE:
        dummy_of = {
            label: f"{name}_{label}" for label in classes_of(name) if f"{name}_{label}" in terms
        }
        if dummy_of:
            dummies[name] = dummy_of
    return dummies


def kept_terms(shards: Sequence[Shard]) -> TermSums:
    """Return the terms of a regression, given those of its cross-products.

    Classes in fewer documents than clustered errors need are merged into one (``upos_other``). The
    class with the most rows is the reference and is left out.
    """
    sums: dict[str, Sequence[str]] = {term: (term,) for term in shards[0].terms}
    for name, dummy_of in class_terms(shards[0].terms).items():
        rows, documents = sizes_of(shards, list(dummy_of.values()))
        all_documents = sum(shard.totals.clusters for shard in shards)
        fewest = FEWEST_DOCUMENTS if all_documents >= FEWEST_DOCUMENTS else 1
        merged = merged_classes(list(dummy_of), rows, documents, documents=fewest, rows=1)
        for term in dummy_of.values():
            del sums[term]
        size = dict(zip(dummy_of, rows.tolist(), strict=True))
        # Without any rows there is no reference either.
        largest = max(
            merged, key=lambda label: sum(size[member] for member in merged[label]), default=None
        )
        for label, members in merged.items():
            if label != largest:
                sums[f"{name}_{label}"] = tuple(dummy_of[member] for member in members)
    return sums


def merged_classes(
    classes: Sequence[str], size: np.ndarray, present: np.ndarray, *, documents: int, rows: int
) -> dict[str, list[str]]:
    """Return the classes with enough tokens, and the classes merged into ``other``.

    Parameters
    ----------
    size, present : (classes,) array
        Numbers of rows and of documents of each class.
    documents, rows : int
        Smallest numbers for a separate class. If ``other`` is in fewer documents or has fewer than
        `FEWEST_ROWS` rows, the smallest of the remaining classes is merged into it.

    Returns
    -------
    merged : dict of str to list of str
        The classes that make up each; a class without rows is in none.
    """
    there = [place for place in range(len(classes)) if size[place] > 0]
    small = [p for p in there if present[p] < documents or size[p] < rows]
    large = sorted((p for p in there if p not in small), key=lambda p: size[p])
    # A merged class is in at least as many documents as the most common of its classes.
    enough = min(rows, FEWEST_ROWS)
    while small and large and (size[small].sum() < enough or present[small].max() < documents):
        small.append(large.pop(0))
    merged = {classes[place]: [classes[place]] for place in sorted(large)}
    if small:
        merged[OTHER] = [classes[place] for place in sorted(small)]
    return merged


def sizes_of(shards: Sequence[Shard], terms: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers of rows and documents in which some 0/1 terms are 1.

    If layers differ, the numbers are those of the layer with the most rows.
    """
    places = [1 + shards[0].terms.index(term) for term in terms]
    rows = np.sum([_counts(s.totals.pooled[0], s.centre, places) for s in shards], axis=0)
    documents = np.zeros(rows.shape, dtype=np.int64)
    for shard in shards:
        for block in shard.batches():
            products = block.products.sum(axis=1)
            documents += (_counts(products, shard.centre, places) > 0).sum(axis=0)
    layer = np.argmax(rows.sum(axis=1))
    return rows[layer], documents[layer]


def _counts(packed: np.ndarray, centre: np.ndarray, places: Sequence[int]) -> np.ndarray:
    """Return the sums of uncentred terms, (…, layers, terms), rounded to integers."""
    sums = packed[..., places] + packed[..., :1] * centre[:, places]
    return np.rint(sums).astype(np.int64)


def merged_shard(shard: Shard, sums: TermSums) -> Shard:
    """Return a shard whose terms are sums of the terms of another."""
    if list(sums) == shard.terms:
        return shard
    packing = packed_sums(shard.terms, sums)
    return shard.mapped(
        lambda products: summed(products, packing),
        terms=list(sums),
        centre=sums_of_columns(shard.centre, shard.terms, sums),
        totals=replace(
            shard.totals,
            pooled=summed(shard.totals.pooled, packing),
            within=summed(shard.totals.within, packing),
        ),
        merged=sums,
    )


def stack_of(
    shards: Sequence[Shard],
    settings: RegressionSettings | HeadsSettings,
    sums: TermSums | None = None,
    **options: Any,
) -> Stack:
    """Return the stack of a regression, whose terms are sums of those of the shards.

    The sums are by default those of `kept_terms`. The options are those of `stacks.stacked`.
    """
    sums = kept_terms(shards) if sums is None else sums
    return stacked(
        [merged_shard(shard, sums) for shard in shards],
        fixed_effects=settings.fixed_effects == "document",
        budget=settings.stack_mb * 1e6,
        **options,
    )


def sums_of_columns(values: np.ndarray, terms: Sequence[str], sums: TermSums) -> np.ndarray:
    """Return (layers, p) values of sums of terms, from those of the terms; the first stays."""
    places = [[0], *([1 + terms.index(term) for term in parts] for parts in sums.values())]
    return np.stack([values[:, columns].sum(axis=1) for columns in places], axis=1)


def packed_sums(terms: Sequence[str], sums: TermSums) -> sparse.csr_array:
    """Return the (new, old) map from packed cross-products of terms to those of their sums."""
    place = {term: 1 + index for index, term in enumerate(terms)}
    parts = [(0,), *(tuple(place[term] for term in members) for members in sums.values())]
    p = 1 + len(terms)
    old = np.zeros((p, p), dtype=np.int64)
    old[np.triu_indices(p)] = np.arange(packed_size(p))
    old = np.maximum(old, old.T)
    pairs = zip(*np.triu_indices(len(parts)), strict=True)
    entries = [
        (new, old[a, b]) for new, (i, j) in enumerate(pairs) for a in parts[i] for b in parts[j]
    ]
    rows, columns = np.array(entries).T
    shape = (packed_size(len(parts)), packed_size(p))
    return sparse.csr_array((np.ones(len(entries)), (rows, columns)), shape=shape)


def summed(packed: np.ndarray, packing: sparse.csr_array) -> np.ndarray:
    """Return the cross-products of sums of terms, (…, new), from those of the terms, (…, old)."""
    flat = packed.reshape(-1, packed.shape[-1])
    return (packing @ flat.T).T.reshape(*packed.shape[:-1], packing.shape[0])


def values_of_sums(
    batch: pa.RecordBatch, layer: int, terms: Sequence[str], sums: TermSums
) -> np.ndarray:
    """Return the terms of a layer, (terms, rows), which may be sums of columns of the design."""
    parts = {part for term in terms for part in sums.get(term, (term,))}
    names = sorted(parts)
    columns = dict(zip(names, values_of(batch, layer, names), strict=True))
    return np.stack(
        [np.sum([columns[part] for part in sums.get(term, (term,))], axis=0) for term in terms]
    )
