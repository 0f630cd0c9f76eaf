"""Moments: sums of products by cluster and layer, which suffice for least squares.

For w = [1, y, regressors] minus a centre, the rows of a cluster have the moments S = Σ w w'. The
sum over all clusters gives a regression; sums that leave clusters out or weight them give its
clustered errors, jackknife, bootstrap and folds, without another pass over the rows. Whatever
changes the terms is a linear map of w: w P has the moments P'S P.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

# The terms of a regression, each with those of a design that it is the sum of.
KeptTerms = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Moments:
    """Moments of the clusters of one layer, in one or several cells."""

    layer: int
    # Elements of w after its leading 1: ``y``, then the regressors.
    terms: list[str]
    # Documents, or groups of them.
    clusters: list[str]
    # (p,) array: subtracted from each element of w; 0 for the leading 1.
    centre: np.ndarray
    # (cells, clusters, p, p) array. Cells are the halves of documents, or one for whole documents;
    # within each, classes of tokens if these are apart. For a regression of halves, a cell with the
    # sum of both comes first.
    s: np.ndarray
    # Number of documents with rows.
    documents: int
    # Part of the layer whose moments they are; ``""`` for the layer itself.
    part: str = ""
    # Whether the outcome is a logarithm.
    outcome_is_logarithm: bool = True
    # Coarsest precision of the model and of stored vectors: a key of `least_squares.MIN_SPREAD`.
    precision: str = "bfloat16"
    # Number of layers before it in the design.
    above: int = 0
    # Whether the clusters are groups of documents.
    grouped: bool = False
    # (p,) array or None: Σ w² before the means of documents were removed, if they were. It bounds
    # rounding; `through` adds those of merged terms without their products.
    squares: np.ndarray | None = None

    @property
    def p(self) -> int:
        return 1 + len(self.terms)

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
    def n_obs(self) -> int:
        """Number of rows."""
        return int(np.rint(self.total[0, 0, 0]))

    @property
    def absorbed(self) -> int:
        """Number of removed means of documents."""
        return self.documents if self.has_fixed_effects else 0

    @property
    def df_resid(self) -> int:
        """Number of rows less that of terms and of removed means."""
        return self.n_obs - self.k - self.absorbed

    @property
    def columns(self) -> list[int]:
        """Places in w of these terms."""
        return [*range(2, self.p)] if self.has_fixed_effects else [0, *range(2, self.p)]

    @property
    def count(self) -> int:
        """Number of clusters with rows."""
        if not self.grouped:
            return self.documents
        return int((self.s[0, :, 0, 0] > 0.5).sum())

    @cached_property
    def total(self) -> np.ndarray:
        """Sums over the clusters, (cells, p, p)."""
        return self.s.sum(axis=1)

    def through(self, to: np.ndarray, terms: list[str]) -> "Moments":
        """Return the moments of w P for a map P, (p, new), whose first column is that of the 1."""
        if terms == self.terms:
            return self
        squares = None if self.squares is None else self.squares @ to
        centre = self.centre @ to
        return replace(self, terms=terms, centre=centre, squares=squares, s=product(self.s, to))

    def with_terms(self, kept: KeptTerms) -> "Moments":
        """Return the moments of terms that are sums of these."""
        return self.through(map_of(self.terms, kept), list(kept))

    def recentred(self, centre: np.ndarray) -> "Moments":
        """Return the moments about another centre, (p,), exactly."""
        if np.array_equal(centre, self.centre):
            return self
        to = np.eye(self.p)
        to[0] -= centre - self.centre
        return replace(self, s=product(self.s, to), centre=centre)

    def centred(self) -> "Moments":
        """Return the moments about the means over all rows."""
        sums = self.total.sum(axis=0)[0]
        mean = sums / max(sums[0], 1)
        mean[0] = 0
        return self.recentred(self.centre + mean)

    def whole(self) -> "Moments":
        """Return the moments of whole documents, whose halves are added up."""
        return replace(self, s=self.s.sum(axis=0, keepdims=True))

    def with_total(self) -> "Moments":
        """Return halves behind their sum."""
        if len(self.s) == 1:
            return self
        return replace(self, s=np.concatenate([self.s.sum(axis=0, keepdims=True), self.s]))

    def demeaned(self) -> "Moments":
        """Remove the means of documents, in each cell; the number of rows stays."""
        sums = self.s[..., 0, :]
        s = self.s - sums[..., :, None] * (sums / np.maximum(sums[..., :1], 1))[..., None, :]
        s[..., 0, 0] = sums[..., 0]
        return replace(self, s=s, squares=np.diagonal(self.total[0]))

    def by_group(self, group_of: Mapping[str, str]) -> "Moments":
        """Return the moments of groups of documents, in the order of the mapping."""
        groups = list(dict.fromkeys(group_of.values()))
        place = {group: index for index, group in enumerate(groups)}
        s = np.zeros((len(self.s), len(groups), self.p, self.p))
        places = np.array([place[group_of[name]] for name in self.clusters], dtype=np.intp)
        np.add.at(s.swapaxes(0, 1), places, self.s.swapaxes(0, 1))
        return replace(self, clusters=groups, s=s, grouped=True)

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
        return with_clusters(self, names, self.s[:, np.array(places, dtype=np.intp)])

    def prepared(
        self,
        kept: KeptTerms | None = None,
        *,
        fixed_effects: bool,
        half_panel: bool = True,
        group_of: Mapping[str, str] | None = None,
    ) -> "Moments":
        """Return the moments that a regression is solved from: centred, perhaps of other terms.

        ``fixed_effects`` removes the means of documents, and ``group_of`` adds documents up to
        groups. Halves stay apart only if they correct the regression (``half_panel``).
        """
        moments = self if half_panel else self.whole()
        moments = moments if kept is None else moments.with_terms(kept)
        moments = moments.centred().with_total()
        moments = moments.demeaned() if fixed_effects else moments
        return moments if group_of is None else moments.by_group(group_of)


def product(s: np.ndarray, to: np.ndarray) -> np.ndarray:
    """Return P'S P of symmetric matrices S, (…, p, p), for a map P, (p, new)."""
    p, new = to.shape
    right = (s.reshape(-1, p) @ to).reshape(-1, p, new)
    both = np.swapaxes(right, 1, 2).reshape(-1, p) @ to
    return both.reshape(*s.shape[:-2], new, new)


def map_of(terms: Sequence[str], kept: KeptTerms) -> np.ndarray:
    """Return the map from w to that of sums of its terms, (p, new)."""
    to = np.zeros((1 + len(terms), 1 + len(kept)))
    to[0, 0] = 1
    for place, members in enumerate(kept.values(), start=1):
        to[[1 + terms.index(member) for member in members], place] = 1
    return to


def with_clusters(moments: Moments, clusters: list[str], s: np.ndarray) -> Moments:
    """Return the moments with other clusters and their sums, (cells, clusters, p, p).

    Documents are those with rows.
    """
    documents = int((s[..., 0, 0].sum(axis=0) > 0.5).sum())
    return replace(moments, clusters=clusters, s=s, documents=documents)


def joined(parts: Sequence[Moments]) -> Moments:
    """Return the moments of the clusters of several, about the centre of the largest."""
    if len(parts) == 1:
        return parts[0]
    # Those without rows have no means that could be their centre.
    largest = max(parts, key=lambda part: part.documents)
    clusters: list[str] = []
    sums = []
    for part in parts:
        clusters += part.clusters
        sums.append(part.recentred(largest.centre).s)
    return with_clusters(largest, clusters, np.concatenate(sums, axis=1))


def unpacked(packed: np.ndarray, p: int) -> np.ndarray:
    """Return symmetric matrices, (…, p, p), from their upper triangles, row by row."""
    upper = np.zeros((p, p), dtype=np.intp)
    upper[np.triu_indices(p)] = np.arange(p * (p + 1) // 2)
    return packed[..., np.maximum(upper, upper.T)]
