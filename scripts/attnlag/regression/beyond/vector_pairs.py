"""Vectors of tokens paired with previous vectors: their rows and their coordinates.

The vectors of a layer are read one row group at a time, so memory does not grow with the corpus.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import scipy.linalg

from attnlag.adjustments import centred
from attnlag.regression.estimation.sampling import generator_of
from attnlag.regression.settings import VectorProductsSettings

# Approximate number of tokens that the principal components of a wide model are computed from.
SAMPLE = 4096

# Rounds of exchanges until no outcome is that of its own predictors.
TRIES = 50


@dataclass(frozen=True)
class Rows:
    """The tokens of a file that are predicted, and their documents."""

    # In the order of the file.
    documents: list[str]
    # (tokens,) int array: index of each token's document among them.
    document: np.ndarray
    # (n,) int array: tokens with all lags; lags cross neither windows nor first tokens.
    outcome: np.ndarray
    # From `order_of`: all layers exchange the same tokens, unless a vector is not finite.
    orders: dict[bytes, np.ndarray] = field(default_factory=dict)


def rows_of(path: str | Path, settings: VectorProductsSettings) -> Rows:
    """Return the rows of a file with a row per token."""
    keys = pq.read_table(path, columns=["document", "position"])
    # The dictionary of the file may have documents without rows.
    document = keys["document"].combine_chunks().dictionary_decode().dictionary_encode()
    first = settings.drop_first + max(settings.lags)
    outcome = np.flatnonzero(keys["position"].to_numpy() >= first)
    return Rows(document.dictionary.to_pylist(), document.indices.to_numpy(), outcome)


def folds_of_documents(documents: Iterable[str], folds: int) -> dict[str, int]:
    """Return the fold of each document; documents are assigned in turn, in corpus order."""
    return {document: place % folds for place, document in enumerate(documents)}


def vectors_by_block(path: str | Path, layer: str) -> Iterator[np.ndarray]:
    """Yield the vectors of a layer, (tokens, width) float32, one row group at a time."""
    file = pq.ParquetFile(path, pre_buffer=False)
    for group in range(file.num_row_groups):
        yield centred.vectors_of(file, group, layer)


@dataclass(frozen=True)
class Frame:
    """The coordinates in which vectors are multiplied."""

    # (width,) float32 array: near the mean, so that little precision is lost when a mean is removed
    # from products.
    centre: np.ndarray
    # (width, dimensions) float32 array or None: orthonormal components; None for the original
    # coordinates of the vectors.
    components: np.ndarray | None = None

    def coordinates(self, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the coordinates of vectors, and their squared distance from the components.

        Both are float32. The distance is NaN for a vector that is not finite, whose coordinates are
        zero.
        """
        centred = vectors - self.centre
        square = np.einsum("ij,ij->i", centred, centred)
        usable = np.isfinite(square)
        if not usable.all():
            centred[~usable] = 0
        if self.components is None:
            return centred, np.where(usable, np.float32(0), np.float32(np.nan))
        inside = centred @ self.components
        outside = np.maximum(square - np.einsum("ij,ij->i", inside, inside), 0)
        return inside, np.where(usable, outside, np.float32(np.nan))


def frame_of(path: str | Path, layer: str, components: int) -> Frame:
    """Return the coordinates for a layer, from the vectors of the first shard.

    Vectors wider than ``components`` are projected onto that number of principal components, which
    are computed from tokens spread evenly over the shard.
    """
    file = pq.ParquetFile(path, pre_buffer=False)
    width = file.schema_arrow.field(layer).type.list_size
    if width <= components:
        first = next(vectors_by_block(path, layer), np.zeros((0, width)))
        return Frame(_mean(_finite(first)))
    step = max(1, file.metadata.num_rows // SAMPLE)
    sample, start = [], 0
    for block in vectors_by_block(path, layer):
        sample.append(block[-start % step :: step])
        start += len(block)
    spread = _finite(np.concatenate(sample))
    centre = _mean(spread)
    spread -= centre
    largest = [width - components, width - 1]
    axes = scipy.linalg.eigh(spread.T @ spread, subset_by_index=largest)[1]
    return Frame(centre, np.ascontiguousarray(axes[:, ::-1]))


def _finite(vectors: np.ndarray) -> np.ndarray:
    return vectors[np.isfinite(vectors).all(axis=1)]


def _mean(vectors: np.ndarray) -> np.ndarray:
    total = vectors.sum(axis=0, dtype=np.float64)
    return (total / max(1, len(vectors))).astype(np.float32)


@dataclass
class Pairs:
    """Outcomes of one block and one fold with their predictors."""

    # document, token, (n,) int arrays: the document of each outcome, and its row in the file;
    # documents are consecutive.
    document: np.ndarray
    token: np.ndarray
    # x, y, (n, p) and (n, c) float32 arrays
    x: np.ndarray
    y: np.ndarray
    # (n,) float32 array: squared distances of the outcomes, see `Frame.coordinates`.
    outside: np.ndarray


def paired_vectors(
    blocks: Iterable[np.ndarray],
    rows: Rows,
    fold_of_document: np.ndarray,
    lags: Sequence[int],
    frame: Frame,
) -> Iterator[tuple[int, Pairs]]:
    """Yield the fold and the pairs of each block of consecutive vectors and each fold.

    A row whose outcome or predictor is not finite is left out.
    """
    before = max(lags)
    start = 0
    last = last_outside = None
    for vectors in blocks:
        z, outside = frame.coordinates(vectors)
        if last is None:
            last, last_outside = z[:0], outside[:0]
        # The rows before the block provide the lags of its first tokens.
        first = start - len(last)
        z, outside = np.concatenate([last, z]), np.concatenate([last_outside, outside])
        stop = start + len(vectors)
        low, high = np.searchsorted(rows.outcome, [start, stop])
        token = rows.outcome[low:high]
        predictors = token[:, None] - first - np.array(lags)
        usable = np.isfinite(outside[token - first]) & np.isfinite(outside[predictors]).all(axis=1)
        token, predictors = token[usable], predictors[usable]
        document = rows.document[token]
        folds = fold_of_document[document]
        for fold in np.unique(folds):
            inside = folds == fold
            at = token[inside] - first
            x = z[predictors[inside]].reshape(len(at), -1)
            yield int(fold), Pairs(document[inside], token[inside], x, z[at], outside[at])
        last, last_outside, start = z[-before:], outside[-before:], stop


def order_of(pairs: Pairs, lags: Sequence[int], rows: Rows) -> np.ndarray:
    """Return `exchanged` for some pairs of a file, drawn once for all its layers."""
    key = pairs.token.tobytes()
    if key not in rows.orders:
        rows.orders[key] = exchanged(pairs, lags, rows.documents)
    return rows.orders[key]


def exchanged(pairs: Pairs, lags: Sequence[int], names: Sequence[str]) -> np.ndarray:
    """Return the rows whose outcomes take the places of those of the pairs, at random.

    Outcomes are exchanged within documents; none becomes that of its own predictors, as none is in
    a permuted text. A document too short for that keeps its order. The names of all documents seed
    the draws.
    """
    starts = np.flatnonzero(np.diff(pairs.document, prepend=-1))
    counts = np.diff(starts, append=len(pairs.token))
    draws = [generator_of(names[document], 0) for document in pairs.document[starts]]
    keys = [random.random(count) for random, count in zip(draws, counts, strict=True)]
    order = np.lexsort((np.concatenate(keys), pairs.document))
    run = np.repeat(np.arange(len(starts)), counts)
    for _ in range(TRIES):
        still_paired = np.isin(pairs.token - pairs.token[order], lags)
        for place in np.flatnonzero(still_paired):
            other = starts[run[place]] + draws[run[place]].integers(counts[run[place]])
            order[[place, other]] = order[[other, place]]
    still_paired = np.isin(pairs.token - pairs.token[order], lags)
    too_short = np.isin(run, run[still_paired])
    return np.where(too_short, np.arange(len(order)), order)


def sums_by_document(document: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the documents of some rows, and the sums of (rows, c) values over each of them."""
    codes, place = np.unique(document, return_inverse=True)
    indicator = np.zeros((len(codes), len(document)), np.float32)
    indicator[place, np.arange(len(document))] = 1
    return codes, (indicator @ values).astype(np.float64)
