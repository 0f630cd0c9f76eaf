"""The catalogue of covariates: the variables that a regression can hold fixed.

A covariate is one entry of `CATALOGUE`. The allowed names in a configuration, the columns of the
design, the values that move with the tokens under permutation, the input files of jobs, and the
tables of the documentation all derive from it.

The workflow imports this module whenever it starts. The functions therefore import numpy and
pyarrow themselves, which takes a quarter of a second.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attnlag.corpus.catalogue import CATALOGUE as PROPERTIES
from attnlag.corpus.catalogue import TokenProperty, log_frequencies
from attnlag.errors import UserError
from attnlag.regression.properties import OTHER, Property, dummies, read_property
from attnlag.regression.terms import Place

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa


@dataclass(frozen=True)
class Covariate:
    """A variable that a regression can hold fixed."""

    description: str
    # Names of its terms. N stands for a number, NAME for any text.
    terms: tuple[str, ...]
    # Whether its value is of the token, and permutation takes it along, rather than of the position
    # or the document.
    permuted_with_token: bool
    # Places of the values of the terms, if these differ between layers. What follows is about
    # covariates with the same values in all layers.
    places: Mapping[str, Place] = field(default_factory=dict)
    # Returns the values, (columns, tokens) float64, given the keys of the tokens (``document``,
    # ``window``, ``position``, ``token_id``) and the lookup. A token without a value has NaN, and
    # the rows that need it are dropped.
    values: Callable[[pa.Table, Any], np.ndarray] | None = None
    # Returns the names of the columns of a design, given the lookup; None: `terms`.
    columns: Callable[[Any], list[str]] | None = None
    constant_in_document: bool = False  # so that it cannot be combined with document effects
    # The lookup is the value of a key of the regression's terms, or what is read from a file:
    # ``token_counts``, ``corpus`` or one of properties of tokens. Of these, ``read`` receives the
    # files of shards and the documents needed.
    key: str | None = None
    file: str | None = None
    read: Callable[..., Any] | None = None
    offset: int = 0  # token that it describes: 0 for the outcome, -1 for the token before it
    # Endings of the names of its terms, if the covariate consists of the dummies of classes. The
    # class with the most rows is the reference.
    classes: tuple[str, ...] = ()
    needs_tags: bool = False  # whether the tagger of the corpus must give it


# Properties that must not be used as covariates, with the reason.
REFUSED = {
    "entropy_next": "it is computed from the adjustment; a regression that holds it fixed hides "
    "the part that it mediates",
}


def position_spline(position: np.ndarray, knots: Sequence[int]) -> np.ndarray:
    """Return the restricted cubic spline of log(1 + position).

    The columns are Harrell's truncated power basis (Regression Modeling Strategies, 2nd edition,
    2015, section 2.4.5; ``rcspline.eval`` of the R package Hmisc). The first is x = log(1 +
    position) itself; the others are cubic between the k knots t and linear beyond them,

        (x - t_j)+³ - (x - t_{k-1})+³ (t_k - t_j)/(t_k - t_{k-1})
                    + (x - t_k)+³ (t_{k-1} - t_j)/(t_k - t_{k-1}),     j = 1 … k-2,

    over (t_k - t_1)², which puts them on the scale of x.
    """
    import numpy as np

    # Many tokens share a position, so the spline is computed once per position.
    x = np.log1p(np.arange(position.max(initial=-1) + 1))
    t = np.log1p(knots)
    cubes = np.maximum(x - t[:, None], 0) ** 3
    gap = t[-1] - t[-2]
    columns = [x]
    for knot, cube in zip(t[:-2], cubes, strict=False):
        bent = cube - cubes[-2] * (t[-1] - knot) / gap + cubes[-1] * (t[-2] - knot) / gap
        columns.append(bent / (t[-1] - t[0]) ** 2)
    return np.stack(columns)[:, position]


def _log_frequency_values(keys: pa.Table, log_frequency: np.ndarray) -> np.ndarray:
    import numpy as np

    ids = keys["token_id"].to_numpy()
    in_counts = ids < len(log_frequency)
    values = np.full((1, len(ids)), np.nan)
    values[0, in_counts] = log_frequency[ids[in_counts]]
    unknown = np.isnan(values[0])
    if unknown.any():
        raise UserError(
            f"found token {ids[unknown][0]}, which the token counts lack; expected the counts "
            "of all shards of the corpus"
        )
    return values


def _group_of_documents(corpus: Path) -> dict[str, str]:
    import pyarrow.parquet as pq

    documents, groups = pq.read_table(corpus, columns=["document", "group"]).columns
    return dict(zip(documents.to_pylist(), groups.to_pylist(), strict=True))


def _with_dummies(group_of: Mapping[str, str]) -> list[str]:
    """Return the groups with a dummy; the first is the reference."""
    return sorted(set(group_of.values()))[1:]


def _group_values(keys: pa.Table, group_of: Mapping[str, str]) -> np.ndarray:
    import numpy as np
    import pyarrow as pa

    document = keys["document"].combine_chunks()
    # A dictionary may hold documents that have no row here.
    used, places = np.unique(document.indices.to_numpy(), return_inverse=True)
    names = document.dictionary.take(pa.array(used)).to_pylist()
    groups = np.empty(len(names), dtype=object)
    for place, name in enumerate(names):
        if name not in group_of:
            raise UserError(
                f"found the document '{name}', which the corpus lacks; expected the corpus that "
                "the norms were measured on"
            )
        groups[place] = group_of[name]
    dummies = [groups == group for group in _with_dummies(group_of)]
    return np.array(dummies, dtype=np.float64).reshape(-1, len(names))[:, places]


def _property_covariates(name: str, entry: TokenProperty) -> Iterator[tuple[str, Covariate]]:
    """Yield the covariates of a property, for classes also those of the token before."""

    def values(keys: pa.Table, tokens: Property) -> np.ndarray:
        numbers = tokens.values_of(keys)
        return dummies(numbers, len(entry.classes)) if entry.classes else numbers[None]

    covariate = partial(
        Covariate,
        permuted_with_token=True,
        values=values,
        file=entry.file,
        read=partial(read_property, name),
        classes=entry.classes,
        needs_tags=entry.needs_tags,
    )
    if not entry.classes:
        yield name, covariate(description=entry.covariate, terms=(name,))
        return
    for own, offset, before in ((name, 0, ""), (f"{name}_previous", -1, " before it")):
        description = entry.covariate + before
        yield own, covariate(description=description, terms=(f"{own}_NAME",), offset=offset)


# In the order in which the terms stand in a design.
CATALOGUE: dict[str, Covariate] = {
    "position": Covariate(
        description="a restricted cubic spline of the position in the sequence",
        terms=("position_N",),
        permuted_with_token=False,
        columns=lambda knots: [f"position_{number}" for number in range(1, len(knots))],
        values=lambda keys, knots: position_spline(keys["position"].to_numpy(), knots),
        key="position_knots",
    ),
    "log_frequency": Covariate(
        description="log relative frequency of the token in the corpus",
        terms=("log_frequency",),
        permuted_with_token=True,
        values=_log_frequency_values,
        file="token_counts",
        read=log_frequencies,
    ),
    "group": Covariate(
        description="dummies of the groups",
        terms=("group_NAME",),
        permuted_with_token=False,
        constant_in_document=True,
        columns=lambda group_of: [f"group_{name}" for name in _with_dummies(group_of)],
        values=_group_values,
        file="corpus",
        read=_group_of_documents,
    ),
    **{
        name: covariate
        for property_name, entry in PROPERTIES.items()
        if entry.covariate
        for name, covariate in _property_covariates(property_name, entry)
    },
    "previous_layer": Covariate(
        description="outcome of the layer before at this token and the one before it",
        terms=("previous_layer", "previous_layer_lag_1"),
        permuted_with_token=True,
        places={"previous_layer": Place(1, 0), "previous_layer_lag_1": Place(1, -1)},
    ),
}


def term_pattern(names: Iterable[str] = CATALOGUE) -> str:
    """Return a regular expression for the terms of some covariates."""
    patterns = []
    for name in names:
        terms = [f"{name}_{label}" for label in classes_of(name)] or CATALOGUE[name].terms
        for term in terms:
            pattern = re.escape(term)
            pattern = re.sub("_NAME$", "_.+", pattern)
            patterns.append(re.sub("_N$", r"_\\d+", pattern))
    return "|".join(patterns)


def classes_of(name: str) -> tuple[str, ...]:
    """Return the classes of a covariate of dummies, including the class for the rest."""
    classes = CATALOGUE[name].classes
    return (*classes, OTHER) if classes else ()


def layer_places(names: Collection[str]) -> dict[str, Place]:
    """Return the terms of the covariates that have separate values in each layer."""
    places: dict[str, Place] = {}
    for name, entry in CATALOGUE.items():
        if name in names:
            places |= entry.places
    return places


def layers_before(terms: Iterable[str]) -> int:
    """Return the number of preceding layers that some terms need."""
    places = layer_places(CATALOGUE)
    return max((places[term].layers_before for term in terms if term in places), default=0)


def needs_layers_between(names: Collection[str], layers: Sequence[int]) -> bool:
    """Return whether some covariates need preceding layers that are not among these, sorted."""
    has_gap = layers[-1] - layers[0] + 1 != len(layers)
    return has_gap and any(place.layers_before for place in layer_places(names).values())


def files_needed(names: Iterable[str]) -> set[str]:
    """Return the names of the files that some covariates need."""
    files = set()
    for name in names:
        file = CATALOGUE[name].file
        if file:
            files.add(file)
    return files
