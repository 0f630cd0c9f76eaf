"""Moments: sums of products by cluster and layer, which suffice for least squares.

For w = [1, y, regressors] minus a centre, the rows of a cluster have the moments S = Σ w w'. The
sum over all clusters gives a regression; sums that leave clusters out or weight them give its
clustered errors, jackknife, bootstrap and folds, without another pass over the rows. Whatever
changes the terms is a linear map of w: w P has the moments P'S P.

In the order of the flow: `write_design` writes the rows of a design and, with `sum_products`, their
moments; `Stored` reads these as the `Moments` of each layer, and `Moments.prepared` gives the
`PreparedMoments` that a regression is solved from. `packed_files` has the format of the files
between them, which changes no number.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import chain, combinations_with_replacement, islice
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from attnlag.quantities.catalogue import OUTCOMES
from attnlag.quantities.outcomes import in_batches
from attnlag.regression.design import design
from attnlag.regression.design.counts import Counts
from attnlag.regression.design.design import Formula
from attnlag.regression.moments.packed_files import (
    Block,
    PackedFiles,
    unpacked,
    write_packed,
)
from attnlag.regression.units import Unit
from attnlag.storage import tables

# Moments that take less may be kept once they are read.
KEPT_BYTES = 32e6

# The terms of a regression, each with those of a design that it is the sum of.
KeptTerms = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class RowPartition:
    """The cells into which the rows of a document fall: halves, classes of tokens, or both."""

    halves: bool = False
    classes: int = 1
    # Returns the class of each row of a design, NaN if it is in none.
    class_of_row: Callable[[pa.RecordBatch], np.ndarray] | None = None

    @property
    def cells(self) -> int:
        """Number of cells of a document."""
        return 2 * self.classes if self.halves else self.classes

    def cell_of_row(self, batch: pa.RecordBatch, sizes: np.ndarray) -> np.ndarray:
        """Return the cell of each row of a batch, (rows,); NaN if it is in no class.

        The batch has whole documents, whose numbers of rows are ``sizes``.
        """
        cell = np.zeros(len(batch))
        if self.class_of_row is not None:
            cell = self.class_of_row(batch)
        if not self.halves:
            return cell
        # The first half takes the odd row.
        sizes_of_halves = np.stack([(sizes + 1) // 2, sizes // 2], axis=1).ravel()
        half = np.repeat(np.arange(2 * len(sizes)) % 2, sizes_of_halves)
        return cell + self.classes * half


def write_design(
    outcome: Path,
    stream: Path | None,
    design_file: Path,
    crossproducts_file: Path,
    formula: Formula,
    *,
    halves: bool,
) -> Counts:
    """Write the design of a file of outcomes and its moments, in one pass; return its counts.

    Parameters
    ----------
    outcome : Path
        The norms of a shard, or another outcome.
    stream : Path or None
        Norms of the residual stream, for relative norms.
    design_file, crossproducts_file : Path
        The files to write.
    formula : Formula
        The terms of the design.
    halves : bool
        Whether each half of a document is a cell of its own.

    Raises
    ------
    UserError
        If there is no room for the files.
    """
    counts = Counts()
    schema = formula.schema(list(formula.outcome.columns(pq.read_schema(outcome).names)))
    record = tables.provenance(tables.read_provenance(outcome), "design", formula.settings, "numpy")
    with design.design_writer(design_file, schema, record) as writer:
        # The rows are written as the sums below ask for them.
        def written_on_the_way(rows: pa.RecordBatch) -> pa.RecordBatch:
            writer.write_batch(rows)
            return rows

        batches = in_batches(formula.outcome, outcome, stream, tables.ROWS_AT_ONCE, "design")
        rows = map(written_on_the_way, design.designs(batches, formula, counts))
        record = tables.provenance(record, "crossproducts", {"halves": halves}, "numpy")
        write_moments(rows, schema, crossproducts_file, record, RowPartition(halves))
        # The counts are known only after all rows are written.
        writer.add_key_value_metadata(counts.metadata())
    return counts


def write_moments(
    rows: Iterable[pa.RecordBatch],
    schema: pa.Schema,
    path: str | Path,
    record: dict[str, Any],
    partition: RowPartition,
) -> int:
    """Write the moments of a design, with a column per layer; return the number of documents.

    The documents of one batch of rows are in memory at a time. Without room for the file, UserError
    is raised.
    """
    layers, terms = design.layers_and_terms(schema)
    centre, blocks = sum_products(rows, list(map(Unit, layers)), terms, partition)
    return write_packed(
        blocks,
        path,
        record,
        terms=terms,
        layers=layers,
        centre=centre,
        cells=partition.cells,
        halves=partition.halves,
    )


def sum_products(
    rows: Iterable[pa.RecordBatch],
    units: Sequence[Unit],
    terms: Sequence[str],
    partition: RowPartition,
) -> tuple[np.ndarray, Iterator[Block]]:
    """Return a centre, (units, p), and an iterator over the moments of documents about it.

    The rows are in batches of whole documents. The centre has the means of the first batch, and 0
    for the leading 1. These are close enough to the overall means for the sums to stay precise, and
    are known before the rest is read.
    """
    batches = filter(len, rows)
    first = list(islice(batches, 1))
    centre = np.zeros((len(units), 1 + len(terms)))
    for batch in first:
        for place, unit in enumerate(units):
            values = design.values_of(batch, unit, terms)
            values = values[:, ~np.isnan(values[0])]
            if values.size:
                centre[place, 1:] = values.mean(axis=1)
    sum_batch = partial(_sum_batch, units=units, terms=terms, centre=centre, partition=partition)
    # A generator, or the list itself, would hold a batch while the next is made.
    return centre, map(sum_batch, chain(iter(first), batches))


def _sum_batch(
    batch: pa.RecordBatch,
    units: Sequence[Unit],
    terms: Sequence[str],
    centre: np.ndarray,
    partition: RowPartition,
) -> Block:
    """Return the moments of whole documents."""
    documents, starts = tables.runs(batch)
    sizes = np.diff(starts, append=len(batch))
    document = np.repeat(np.arange(len(documents)), sizes)
    # (rows,): the cell of each row among those of all documents; NaN, without a class, comes last.
    cell = partition.cells * document + partition.cell_of_row(batch, sizes)
    order = np.argsort(cell, kind="stable")[: np.count_nonzero(~np.isnan(cell))]
    cell = cell[order].astype(np.int64)
    # The first row of each cell that has rows.
    segments = np.flatnonzero(np.diff(cell, prepend=-1))
    p = 1 + len(terms)
    # (units, packed, documents x cells) and (p, rows).
    sums = np.zeros((len(units), p * (p + 1) // 2, len(documents) * partition.cells))
    w = np.empty((p, len(order)))
    for unit, unit_centre, unit_sums in zip(units, centre, sums, strict=True):
        # In this mode `take` writes into w without a copy.
        design.values_of(batch, unit, terms).take(order, axis=1, out=w[1:], mode="clip")
        w[1:] -= unit_centre[1:, None]
        # In a dropped row everything is zero, including the leading 1.
        valid = ~np.isnan(w[1])
        w[0] = valid
        w[1:, ~valid] = 0
        # The pairs of rows of w.
        for place, (i, j) in enumerate(combinations_with_replacement(w, 2)):
            # The first p pairs have the leading 1, or 0 in a row where j is 0.
            products = i * j if place >= p else j
            unit_sums[place, cell[segments]] = np.add.reduceat(products, segments)
    by_cell = sums.transpose(2, 0, 1).reshape(len(documents), partition.cells, *sums.shape[:2])
    return documents, by_cell


@dataclass(frozen=True)
class Products:
    """Sums of products w w' over the rows of each cluster of one layer, in one or several cells."""

    layer: int
    # Elements of w after its leading 1: ``y``, then the regressors.
    terms: list[str]
    # Documents, or groups of them.
    clusters: list[str]
    # (p,) array: subtracted from each element of w; 0 for the leading 1.
    centre: np.ndarray
    # (cells, clusters, p, p) array: S of each cluster.
    products: np.ndarray
    # Number of documents with rows.
    documents: int
    # Part of the layer whose moments they are; ``""`` for the layer itself.
    part: str = ""
    # Whether the outcome is a logarithm.
    outcome_is_logarithm: bool = True
    # Coarsest precision of the model and of stored vectors: a key of `identification.MIN_SPREAD`.
    precision: str = "bfloat16"
    # Number of layers before it in the design.
    above: int = 0

    @property
    def p(self) -> int:
        """Number of elements of w."""
        return 1 + len(self.terms)

    @cached_property
    def total(self) -> np.ndarray:
        """Sums over the clusters, (cells, p, p)."""
        return self.products.sum(axis=1)

    def recentred(self, centre: np.ndarray) -> Self:
        """Return the moments about another centre, (p,), exactly."""
        if np.array_equal(centre, self.centre):
            return self
        to = np.eye(self.p)
        to[0] -= centre - self.centre
        return replace(self, products=mapped(self.products, to), centre=centre)

    def mean(self) -> np.ndarray:
        """Return the mean of w over all rows, (p,), with 0 for its leading 1."""
        sums = self.total.sum(axis=0)[0]
        mean = sums / max(sums[0], 1)
        mean[0] = 0
        return self.centre + mean

    def with_terms(self, kept: KeptTerms) -> Self:
        """Return the moments of terms that are sums of these, as where classes are merged."""
        if list(kept) == self.terms:
            return self
        to = map_of(self.terms, kept)
        return replace(
            self,
            terms=list(kept),
            centre=self.centre @ to,
            products=mapped(self.products, to),
        )


@dataclass(frozen=True)
class Moments(Products):
    """Moments of the documents of one layer, about any centre.

    Cells are disjoint: the two halves of documents, or one for whole documents; within each,
    classes of tokens if these are apart (`RowPartition`).
    """

    def prepared(self, *, fixed_effects: bool, half_panel: bool = True) -> "PreparedMoments":
        """Return the moments that a regression is solved from.

        They are about the means of all rows or, with ``fixed_effects``, about those of documents.
        Halves stay apart only if they correct the regression (``half_panel``); they come behind
        their sum.
        """
        moments = self if half_panel else self.whole_documents()
        moments = moments.recentred(moments.mean())
        products = moments.products
        if len(products) > 1:
            products = np.concatenate([products.sum(axis=0, keepdims=True), products])
        prepared = PreparedMoments(
            layer=self.layer,
            part=self.part,
            terms=self.terms,
            clusters=self.clusters,
            centre=moments.centre,
            products=products,
            documents=self.documents,
            outcome_is_logarithm=self.outcome_is_logarithm,
            precision=self.precision,
            above=self.above,
        )
        return prepared.demeaned() if fixed_effects else prepared

    def whole_documents(self) -> "Moments":
        """Return the moments of whole documents, whose halves are added up."""
        return replace(self, products=self.products.sum(axis=0, keepdims=True))

    def only(self, documents: Collection[str]) -> "Moments":
        """Return the moments of some documents, in their order."""
        if documents == self.clusters:
            return self
        place_of = {name: index for index, name in enumerate(self.clusters)}
        names = []
        places = []
        for name in documents:
            if name in place_of:
                names.append(name)
                places.append(place_of[name])
        return with_clusters(self, names, self.products[:, np.array(places, dtype=np.intp)])


def effective_number(rows: np.ndarray) -> float:
    """Return how many clusters of equal size tell as much as those with rows n: N² / Σ n².

    ``rows`` is (clusters,), such as documents. NaN without rows.
    """
    total = float(rows.sum())
    return total**2 / float((rows**2).sum()) if total else np.nan


@dataclass(frozen=True)
class PreparedMoments(Products):
    """Moments of one layer about means, from which its regression is solved.

    There is one cell of all rows. Under the half-panel jackknife, those of the first and of the
    second halves of documents come behind it.
    """

    # (p,) array or None: Σ w² before the means of documents were removed, if they were. It bounds
    # rounding; `with_terms` adds those of merged terms without their products.
    squares: np.ndarray | None = None
    # Whether the clusters are groups of documents.
    grouped: bool = False

    def demeaned(self) -> "PreparedMoments":
        """Remove the means of documents, in each cell; the number of rows stays."""
        # S_0i, of which S_00 is the number of rows.
        sums = self.products[..., 0, :]
        means = sums / np.maximum(sums[..., :1], 1)
        products = self.products - sums[..., :, None] * means[..., None, :]
        products[..., 0, 0] = sums[..., 0]
        return replace(self, products=products, squares=np.diagonal(self.total[0]))

    @property
    def has_fixed_effects(self) -> bool:
        """Whether the means of documents are removed."""
        return self.squares is not None

    @property
    def names(self) -> list[str]:
        """Terms of a regression: the constant first, unless document effects absorb it."""
        return self.terms[1:] if self.has_fixed_effects else ["intercept", *self.terms[1:]]

    @property
    def k(self) -> int:
        """Number of these terms."""
        return len(self.names)

    @property
    def columns(self) -> list[int]:
        """Places in w of these terms."""
        return [*range(2, self.p)] if self.has_fixed_effects else [0, *range(2, self.p)]

    @property
    def n_obs(self) -> int:
        """Number of rows."""
        return int(np.rint(self.total[0, 0, 0]))

    @property
    def size(self) -> np.ndarray:
        """The square root of Σ w² of each element of w about its mean, (p,)."""
        return np.sqrt(np.maximum(np.diagonal(self.total[0]), 0))

    @property
    def absorbed(self) -> int:
        """Number of removed means of documents."""
        return self.documents if self.has_fixed_effects else 0

    @property
    def df_resid(self) -> int:
        """Number of rows less that of terms and of removed means."""
        return self.n_obs - self.k - self.absorbed

    @property
    def count(self) -> int:
        """Number of clusters with rows."""
        if not self.grouped:
            return self.documents
        return int((self.products[0, :, 0, 0] > 0.5).sum())

    @property
    def effective(self) -> float:
        """Effective number of clusters, see `effective_number`."""
        return effective_number(self.products[0, :, 0, 0])

    def by_group(self, group_of: Mapping[str, str]) -> "PreparedMoments":
        """Return the moments of groups of documents, in the order of the mapping."""
        groups = list(dict.fromkeys(group_of.values()))
        place = {group: index for index, group in enumerate(groups)}
        products = np.zeros((len(self.products), len(groups), self.p, self.p))
        places = np.array([place[group_of[name]] for name in self.clusters], dtype=np.intp)
        np.add.at(products.swapaxes(0, 1), places, self.products.swapaxes(0, 1))
        return replace(self, clusters=groups, products=products, grouped=True)

    def with_terms(self, kept: KeptTerms) -> Self:
        """Return the moments of terms that are sums of these."""
        moments = super().with_terms(kept)
        if self.squares is None or moments is self:
            return moments
        return replace(moments, squares=self.squares @ map_of(self.terms, kept))


class Stored(Sequence[Moments]):
    """The layers of a design, in order, each of which is read on use from the files of all shards.

    Each iteration reads all files again, unless ``keep`` has kept the layers that were read, which
    it does if all take less than `KEPT_BYTES`.
    """

    def __init__(self, paths: Sequence[str | Path], *, keep: bool = False) -> None:
        self.files = PackedFiles(paths)
        self.record = self.files.record
        self.layers = self.files.layers
        self.terms = self.files.terms
        self.documents = self.files.documents
        # A regression of halves has their sum too.
        cells = self.files.cells + self.files.has_halves
        needed = self.documents * len(self.layers) * cells * self.files.packed * 8
        self.keep = keep and needed <= KEPT_BYTES
        self._cache: dict[int, Moments] = {}

    def __len__(self) -> int:
        return len(self.layers)

    def __getitem__(self, index: Any) -> Any:
        if index in self._cache:
            return self._cache[index]
        moments = self._read(index)
        if self.keep:
            self._cache[index] = moments
        return moments

    def __iter__(self) -> Iterator[Moments]:
        for index in range(len(self)):
            yield self[index]

    def _read(self, index: int) -> Moments:
        """Return the moments of a layer, about the centre of the shard with the most documents."""
        outcome = OUTCOMES[self.record.settings("design")["outcome"]]
        p = 1 + len(self.terms)
        empty = Moments(
            layer=self.layers[index],
            terms=self.terms,
            clusters=[],
            centre=self.files.centres[self.files.largest, index],
            products=np.zeros((self.files.cells, 0, p, p)),
            documents=0,
            outcome_is_logarithm=outcome.logarithm,
            precision=self.record.precision,
            above=index,
        )
        clusters: list[str] = []
        products: list[np.ndarray] = []
        for file, centre in enumerate(self.files.centres[:, index]):
            for names, packed in self.files.blocks(file, empty.layer):
                part = with_packed(replace(empty, centre=centre), names, packed)
                clusters += names
                products.append(part.recentred(empty.centre).products)
        if not products:
            return empty
        return with_clusters(empty, clusters, np.concatenate(products, axis=1))


def with_packed(moments: Moments, names: list[str], packed: np.ndarray) -> Moments:
    """Return the moments with clusters whose packed ones are given, (clusters, cells, packed)."""
    by_cell = np.ascontiguousarray(packed.swapaxes(0, 1))
    return with_clusters(moments, names, unpacked(by_cell, moments.p))


def with_clusters(moments: Moments, clusters: list[str], products: np.ndarray) -> Moments:
    """Return the moments with other clusters and their sums, (cells, clusters, p, p).

    Documents are those with rows.
    """
    documents = int((products[..., 0, 0].sum(axis=0) > 0.5).sum())
    return replace(moments, clusters=clusters, products=products, documents=documents)


def mapped(products: np.ndarray, to: np.ndarray) -> np.ndarray:
    """Return P'S P of symmetric matrices S, (…, p, p), for a map P, (p, new)."""
    p, new = to.shape
    right = (products.reshape(-1, p) @ to).reshape(-1, p, new)
    both = np.swapaxes(right, 1, 2).reshape(-1, p) @ to
    return both.reshape(*products.shape[:-2], new, new)


def map_of(terms: Sequence[str], kept: KeptTerms) -> np.ndarray:
    """Return the map from w to that of sums of its terms, (p, new)."""
    to = np.zeros((1 + len(terms), 1 + len(kept)))
    to[0, 0] = 1
    for place, members in enumerate(kept.values(), start=1):
        to[[1 + terms.index(member) for member in members], place] = 1
    return to
