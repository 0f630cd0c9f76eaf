"""Cosines of adjustments with earlier ones, once the layer's mean vector is subtracted.

All adjustments of a layer share a common component, which makes any two of them similar. The mean
vector is that of the whole corpus, so this needs stored vectors: their sums are computed with the
norms, and a second pass compares the tokens.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from attnlag.quantities import columns
from attnlag.quantities.norms import stored_vectors
from attnlag.storage.sums import Sums

QUANTITY = "cosine_previous_centred"

# Distances in tokens at which adjustments are compared.
DISTANCES = 16

# Number of tokens of a shard, evenly spread, that random pairs are made from.
PAIRED_TOKENS = 256


def schema(layers: Iterable[int]) -> pa.Schema:
    """Return the schema of a file of centred cosines: the keys, then a column per layer."""
    return columns.schema(layers, values=[QUANTITY])


@dataclass
class VectorSums(Sums):
    """Sums of the finite vectors of each layer, without first tokens."""

    tokens: np.ndarray  # (layers,) int64
    sum: np.ndarray  # (layers, width) float64

    @classmethod
    def empty(cls, layers: Sequence[int], width: int) -> "VectorSums":
        """Return sums without any token."""
        count = len(layers)
        return cls([*layers], np.zeros(count, np.int64), np.zeros((count, width)))

    def add(self, place: int, vectors: np.ndarray, position: np.ndarray) -> None:
        """Add the vectors of some tokens of a layer, (tokens, width), except first tokens.

        ``place`` is that of the layer, and ``position``, (tokens,), that in the sequence. First
        tokens are attention sinks.
        """
        used = (position > 0) & np.isfinite(vectors).all(axis=1)
        self.tokens[place] += np.count_nonzero(used)
        self.sum[place] += vectors[used].sum(axis=0, dtype=np.float64)

    def means(self) -> np.ndarray:
        """Return the mean vector of each layer, (layers, width) float64."""
        return self.sum / np.maximum(self.tokens, 1)[:, None]


def units(vectors: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Return centred vectors with length one, (tokens, width) float32; NaN without a direction."""
    centred = vectors - mean.astype(np.float32)
    sizes = np.sqrt(np.einsum("ij,ij->i", centred, centred, dtype=np.float64))
    with np.errstate(invalid="ignore", divide="ignore"):
        return centred / sizes[:, None].astype(np.float32)


class CentredCosines:
    """Compares the adjustments of a shard, one row group and layer at a time.

    ``means`` are those of the layers, (layers, width); means over tokens leave out the first
    ``drop_first`` tokens of every sequence.
    """

    def __init__(self, file: pq.ParquetFile, means: np.ndarray, drop_first: int):
        self.file = file
        self.means = means
        self.drop_first = drop_first
        self.layers = columns.layers_in(file.schema_arrow)
        self.numbers = columns.layer_numbers(file.schema_arrow)
        keys = file.read(columns=["document", "position"]).unify_dictionaries().combine_chunks()
        self._document = keys["document"].combine_chunks().indices.to_numpy()
        self._position = keys["position"].to_numpy()
        documents = int(self._document.max(initial=-1)) + 1
        # Pairs of tokens at each distance and the sum of their cosines, by document, both (layers,
        # distances, documents).
        self.counts, self.totals = np.zeros((2, len(means), DISTANCES, documents))
        usable = np.flatnonzero(self._position >= max(drop_first, 1))
        spread = np.linspace(0, len(usable) - 1, min(len(usable), PAIRED_TOKENS)).round()
        self._paired = usable[spread.astype(int)]
        self._sample = np.empty((len(means), len(self._paired), means.shape[1]), np.float32)

    def previous(self) -> Iterator[pa.Table]:
        """Yield the cosine of each token with the previous one, by row group; NaN without one."""
        last = [np.empty((0, self.means.shape[1]), np.float32)] * len(self.means)
        first = 0
        for group in range(self.file.num_row_groups):
            rows = self.file.read_row_group(group, columns=columns.KEYS)
            cosines = []
            for layer, name in enumerate(self.layers):
                vectors = units(stored_vectors(self.file, group, name), self.means[layer])
                # The last tokens of the previous row group precede the first token of this one.
                joined = np.concatenate([last[layer], vectors])
                cosines.append(self._cosines(layer, joined, first, len(last[layer])))
                last[layer] = joined[-DISTANCES:].copy()
            first += len(rows)
            layers = schema(self.numbers)
            columns_of_rows = [*rows.columns, *map(pa.array, cosines)]
            yield pa.Table.from_arrays(columns_of_rows, names=layers.names).cast(layers)

    def _cosines(self, layer: int, joined: np.ndarray, first: int, earlier: int) -> np.ndarray:
        """Return the cosines with the previous token in a row group, and sum all distances."""
        stop = first + len(joined) - earlier
        low, high = np.searchsorted(self._paired, [first, stop])
        self._sample[layer, low:high] = joined[self._paired[low:high] - first + earlier]
        previous = np.full(stop - first, np.nan, np.float32)
        for distance in range(1, min(DISTANCES, len(joined) - 1) + 1):
            skipped = max(0, distance - earlier)
            place = earlier + skipped
            near = joined[place:]
            far = joined[place - distance : -distance]
            cosines = np.einsum("ij,ij->i", near, far)
            rows = slice(first + skipped, stop)
            inside = self._position[rows] >= distance
            if distance == 1:
                previous[skipped:][inside] = cosines[inside]
            used = (self._position[rows] >= distance + self.drop_first) & np.isfinite(cosines)
            document = self._document[rows][used]
            documents = self.counts.shape[2]
            self.counts[layer, distance - 1] += np.bincount(document, minlength=documents)
            self.totals[layer, distance - 1] += np.bincount(document, cosines[used], documents)
        return previous

    def by_distance(self) -> pa.Table:
        """Return sums over the documents of the shard, a row per layer and distance.

        They add up over shards, also for errors clustered by document: documents never span shards.
        """
        layers, distances, documents = self.counts.shape
        place, distance = np.indices((layers, distances)).reshape(2, -1)
        n = self.counts.reshape(-1, documents)
        total = self.totals.reshape(-1, documents)
        document = self._document[self._paired]
        other_document = document[:, None] != document[None, :]
        random_pairs: list[int] = []
        random_total: list[float] = []
        for sample in self._sample:
            cosines = (sample @ sample.T)[other_document]
            finite = cosines[np.isfinite(cosines)]
            random_pairs.append(len(finite))
            random_total.append(finite.sum(dtype=float))
        return pa.table(
            {
                "layer": np.array(self.numbers)[place],
                "distance": distance + 1,
                "documents": np.count_nonzero(n, axis=1),
                "pairs": n.sum(axis=1).astype(int),
                "pairs_squared": np.vecdot(n, n),
                "total": total.sum(axis=1),
                "total_squared": np.vecdot(total, total),
                "total_pairs": np.vecdot(total, n),
                "random_pairs": np.repeat(random_pairs, distances),
                "random_total": np.repeat(random_total, distances),
            }
        )


def cosines_of(path: Path) -> tuple[pa.Table, pa.Table]:
    """Return the centred cosines of stored vectors, and their sums by distance.

    The sums leave out only the first token of a sequence, independent of ``norms.drop_first``.
    """
    file = pq.ParquetFile(path, pre_buffer=False)
    layers = columns.layers_in(file.schema_arrow)
    width = file.schema_arrow.field(layers[0]).type.list_size
    numbers = columns.layer_numbers(file.schema_arrow)
    sums = VectorSums.empty(numbers, width)
    for group in range(file.num_row_groups):
        position = file.read_row_group(group, columns=["position"])["position"].to_numpy()
        for place, name in enumerate(layers):
            sums.add(place, stored_vectors(file, group, name), position)
    cosines = CentredCosines(file, sums.means(), 1)
    rows = pa.concat_tables([schema(numbers).empty_table(), *cosines.previous()])
    return rows.unify_dictionaries(), cosines.by_distance()
