"""Vectors of tokens paired with previous vectors: their rows and their coordinates.

The vectors of a layer are read one row group at a time, so memory does not grow with the corpus.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import scipy.linalg

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
    # (tokens,) bool array: tokens that are not among the first ones of their sequences.
    used: np.ndarray
    # (n,) int array: tokens with all lags; lags cross neither windows nor first tokens.
    outcome: np.ndarray
    # From `order_of`: all layers exchange the same tokens, unless a vector is not finite.
    orders: dict[bytes, np.ndarray] = field(default_factory=dict)


def rows_of(path: str | Path, settings: VectorProductsSettings) -> Rows:
    """Return the rows of a file with a row per token."""
    keys = pq.read_table(path, columns=["document", "position"])
    column = keys["document"].combine_chunks().dictionary_decode()
    codes = column.dictionary_encode()
    position = keys["position"].to_numpy()
    first = settings.drop_first
    return Rows(
        codes.dictionary.to_pylist(),
        codes.indices.to_numpy(),
        position >= first,
        np.flatnonzero(position >= first + max(settings.lags)),
    )


def folds_of_documents(documents: Iterable[str], folds: int) -> dict[str, int]:
    """Return the fold of each document; documents are assigned in turn, in corpus order."""
    return {document: place % folds for place, document in enumerate(documents)}


def blocks(path: str | Path, layer: str) -> Iterator[np.ndarray]:
    """Yield the vectors of a layer, (tokens, width) float32, one row group at a time."""
    file = pq.ParquetFile(path, pre_buffer=False)
    for group in range(file.num_row_groups):
        yield _block(file, group, layer)


def _block(file: pq.ParquetFile, group: int, layer: str) -> np.ndarray:
    column = file.read_row_group(group, columns=[layer], use_threads=False)[layer].combine_chunks()
    vectors = column.flatten().to_numpy().reshape(-1, column.type.list_size)
    return vectors.astype(np.float32, copy=False)


@dataclass(frozen=True)
class Frame:
    """The coordinates in which vectors are multiplied."""

    # (width,) float32 array: near the mean, so that little precision is lost when a mean is removed
    # from products.
    centre: np.ndarray
    # (width, dimensions) float32 array or None: orthonormal components; None for the original
    # coordinates of the vectors.
    components: np.ndarray | None = None

    def of(self, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return vectors in these coordinates, and their squared distance from the components.

        Parameters
        ----------
        vectors : (tokens, width) float32 array

        Returns
        -------
        coordinates : (tokens, dimensions) float32 array
        outside : (tokens,) float32 array
            Squared distance from the span of the components; NaN for a vector that is not finite,
            whose coordinates are zero.
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
        first = _finite(_block(file, 0, layer)) if file.num_row_groups else np.zeros((0, width))
        return Frame(_mean(first))
    tokens = file.metadata.num_rows
    step = max(1, tokens // SAMPLE)
    sample, start = [], 0
    for block in blocks(path, layer):
        sample.append(block[-start % step :: step])
        start += len(block)
    spread = _finite(np.concatenate(sample))
    centre = _mean(spread)
    spread -= centre
    largest = [width - components, width - 1]
    directions = scipy.linalg.eigh(spread.T @ spread, subset_by_index=largest)[1]
    return Frame(centre, np.ascontiguousarray(directions[:, ::-1]))


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
    # (n,) float32 array: squared distances of the outcomes, see `Frame.of`.
    outside: np.ndarray


def pairs(
    of_layer: Iterable[np.ndarray],
    rows: Rows,
    fold: np.ndarray,
    lags: Sequence[int],
    frame: Frame,
) -> Iterator[tuple[int, Pairs]]:
    """Yield the fold and the pairs of each block of vectors and each fold.

    A row whose outcome or predictor is not finite is left out.

    Parameters
    ----------
    of_layer : iterable of (tokens, width) arrays
        Consecutive blocks.
    fold : (documents,) int array
        Fold of each document of the file.
    """
    before = max(lags)
    start = 0
    held = held_outside = None
    for vectors in of_layer:
        z, outside = frame.of(vectors)
        if held is None:
            held, held_outside = z[:0], outside[:0]
        # The rows before the block provide the lags of its first tokens.
        first = start - len(held)
        z, outside = np.concatenate([held, z]), np.concatenate([held_outside, outside])
        stop = start + len(vectors)
        low, high = np.searchsorted(rows.outcome, [start, stop])
        token = rows.outcome[low:high]
        place = token - first
        usable = np.isfinite(outside[place])
        for lag in lags:
            usable &= np.isfinite(outside[place - lag])
        token, place = token[usable], place[usable]
        document = rows.document[token]
        for one in np.unique(fold[document]):
            own = fold[document] == one
            at = place[own]
            x = z[at[:, None] - np.array(lags)].reshape(len(at), -1)
            yield int(one), Pairs(document[own], token[own], x, z[at], outside[at])
        held, held_outside, start = z[-before:], outside[-before:], stop


def order_of(found: Pairs, lags: Sequence[int], rows: Rows) -> np.ndarray:
    """Return `exchanged` for some pairs of a file, drawn once for all its layers."""
    key = found.token.tobytes()
    if key not in rows.orders:
        rows.orders[key] = exchanged(found, lags, rows.documents)
    return rows.orders[key]


def exchanged(found: Pairs, lags: Sequence[int], names: Sequence[str]) -> np.ndarray:
    """Return the rows whose outcomes take the places of those of the pairs, at random.

    Outcomes are exchanged within documents; none becomes that of its own predictors, as none is in
    a permuted text. A document too short for that keeps its order.

    Parameters
    ----------
    names : sequence of str
        Names of all documents, which seed the draws.
    """
    starts = np.flatnonzero(np.diff(found.document, prepend=-1))
    counts = np.diff(starts, append=len(found.token))
    draws = [generator_of(names[one], 0) for one in found.document[starts]]
    keys = [random.random(count) for random, count in zip(draws, counts, strict=True)]
    order = np.lexsort((np.concatenate(keys), found.document))
    run = np.repeat(np.arange(len(starts)), counts)
    for _ in range(TRIES):
        paired = np.flatnonzero(np.isin(found.token - found.token[order], lags))
        for place in paired:
            other = starts[run[place]] + draws[run[place]].integers(counts[run[place]])
            order[[place, other]] = order[[other, place]]
    kept = np.isin(run, run[np.isin(found.token - found.token[order], lags)])
    return np.where(kept, np.arange(len(order)), order)


def sums_by_document(document: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the documents of some rows, and the sums of (rows, c) values over each of them."""
    codes, place = np.unique(document, return_inverse=True)
    indicator = np.zeros((len(codes), len(document)), np.float32)
    indicator[place, np.arange(len(document))] = 1
    return codes, (indicator @ values).astype(np.float64)
