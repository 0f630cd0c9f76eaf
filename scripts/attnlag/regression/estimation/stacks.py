"""Cross-products of all documents together, which the estimates of a regression come from."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from attnlag.regression.estimation.crossproducts import Shard, parts_of
from attnlag.regression.estimation.packed import demeaned, recentred

# Smallest number of bins, whatever the budget: a jackknife or a bootstrap needs this many.
FEWEST_BINS = 100


@dataclass
class Stack:
    """Cross-products of every layer and cluster, with a common centre."""

    # Elements of w after its leading 1: ``y``, then the regressors.
    terms: list[str]
    layers: list[int]
    # Documents or groups of them or, beyond the memory budget, bins of documents.
    clusters: list[str]
    # (layers, parts, clusters, packed) float64 array: S_g over all rows and, for the half-panel
    # jackknife, over the first and the second halves of documents. With document effects, the means
    # of documents are removed.
    products: np.ndarray
    # (layers, p) float64 array: overall means, which were subtracted from each element of w; 0 for
    # the leading 1.
    centre: np.ndarray
    # (layers, parts, packed) float64 array: sums over the clusters.
    totals: np.ndarray
    # (layers, p) float64 array: square root of Σ w² over all rows, before the means of documents
    # are removed.
    root_squares: np.ndarray
    # (layers,) int array: number of documents with rows.
    documents: np.ndarray
    # Whether the means of documents are removed.
    fixed_effects: bool
    # Whether the outcome is a logarithm.
    of_logs: bool = True
    # Whether the clusters are groups of documents.
    grouped: bool = False
    # If clusters are bins of documents, returns an iterator over the documents, as (layers, parts,
    # documents, packed) arrays.
    blocks: Callable[[], Iterator[np.ndarray]] | None = None

    @property
    def p(self) -> int:
        return 1 + len(self.terms)

    def count(self, index: int) -> int:
        """Return the number of clusters of a layer with rows: documents even if they share bins."""
        if self.grouped:
            return int((self.products[index, 0, :, 0] > 0.5).sum())
        return int(self.documents[index])

    @property
    def bins(self) -> int | None:
        """Number of bins that documents share; None if each document is a cluster."""
        return None if self.blocks is None else len(self.clusters)

    def of_layer(self, index: int) -> "Stack":
        """Return the stack of one layer alone, without a copy."""
        only = slice(index, index + 1)
        blocks = self.blocks
        return replace(
            self,
            layers=self.layers[only],
            products=self.products[only],
            centre=self.centre[only],
            totals=self.totals[only],
            root_squares=self.root_squares[only],
            documents=self.documents[only],
            blocks=None if blocks is None else lambda: (block[only] for block in blocks()),
        )

    def by_document(self) -> Iterator[np.ndarray]:
        """Iterate over (layers, parts, documents, packed) arrays with all documents."""
        return iter([self.products]) if self.blocks is None else self.blocks()


def common_centre(sums: Sequence[np.ndarray], centres: Sequence[np.ndarray]) -> np.ndarray:
    """Return the overall means, given several (layers, p) sums of w about different centres."""
    uncentred = [w + w[:, :1] * centre for w, centre in zip(sums, centres, strict=True)]
    centre = np.sum(uncentred, axis=0) / np.maximum(np.sum(sums, axis=0)[:, :1], 1)
    centre[:, 0] = 0
    return centre


def stacked(
    shards: Sequence[Shard],
    *,
    fixed_effects: bool = False,
    budget: float = np.inf,
    most: int | None = None,
    group_of: Mapping[str, str] | None = None,
) -> Stack:
    """Return the stack of all documents, centred by the overall means of each layer.

    Parameters
    ----------
    shards : sequence of Shard
        Shards of one design, in order; a document is in only one of them.
    budget : float
        Bytes for the cross-products of the clusters. If the documents need more, they share as
        many bins as fit. Document i is in bin i modulo the number of bins, so the bins do not
        depend on the shards.
    most : int, optional
        Largest number of bins: the clusters of a stack that this one is compared with.
    group_of : mapping of document to group, optional
        Makes the groups the clusters, in the order of the mapping.
    """
    first = shards[0]
    p = 1 + len(first.terms)
    centre = common_centre(
        [shard.totals.pooled[0, :, :p] for shard in shards], [shard.centre for shard in shards]
    )
    moved = [recentred(shard.totals.pooled, centre - shard.centre) for shard in shards]
    pooled = np.sum(moved, axis=0).transpose(1, 0, 2)
    # Removing the means of documents removes the centre too.
    within = np.sum([shard.totals.within for shard in shards], axis=0).transpose(1, 0, 2)
    diagonal = np.cumsum([0, *range(p, 1, -1)])

    count = bins = sum(shard.totals.clusters for shard in shards)
    groups = list(dict.fromkeys(group_of.values())) if group_of is not None else []
    if group_of is not None:
        bins = len(groups)
    elif pooled.nbytes * count > budget:
        bins = min(count, max(FEWEST_BINS, int(budget // pooled.nbytes)))
    if most is not None:
        bins = min(bins, most)
    # The numbers of a cluster are contiguous, so weighted sums over clusters are matrix products.
    products = np.zeros((bins, *pooled.shape)).transpose(1, 2, 0, 3)
    names: list[str] = []
    for documents, block in _moved(shards, centre, fixed_effects):
        if group_of is not None:
            for index, document in enumerate(documents):
                products[:, :, groups.index(group_of[document])] += block[:, :, index]
            continue
        places = np.arange(len(names), len(names) + len(documents)) % bins
        for start in range(0, len(documents), bins):
            # Each bin occurs once per slice.
            block_of_bins = slice(start, start + bins)
            products[:, :, places[block_of_bins]] += block[:, :, block_of_bins]
        names += documents
    binned = group_of is None and bins < count
    return Stack(
        terms=first.terms,
        layers=first.layers,
        clusters=[f"bin {place}" for place in range(bins)] if binned else groups or names,
        products=products,
        centre=centre,
        totals=within if fixed_effects else pooled,
        root_squares=np.sqrt(np.maximum(pooled[:, 0, diagonal], 0)),
        documents=np.sum([shard.totals.documents for shard in shards], axis=0),
        fixed_effects=fixed_effects,
        of_logs=first.of_logs,
        grouped=group_of is not None,
        blocks=(lambda: (block for _, block in _moved(shards, centre, fixed_effects)))
        if binned
        else None,
    )


def _moved(
    shards: Sequence[Shard], centre: np.ndarray, fixed_effects: bool
) -> Iterator[tuple[list[str], np.ndarray]]:
    """Yield documents and their (layers, parts, documents, packed) cross-products."""
    for shard in shards:
        for block in shard.batches():
            products = recentred(parts_of(block.products), centre - shard.centre)
            if fixed_effects:
                products = demeaned(products, centre.shape[1])
            yield block.documents, products.transpose(2, 1, 0, 3)
