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
from typing import TYPE_CHECKING, Any, NamedTuple

from attnlag.corpus.catalogue import CATALOGUE as PROPERTIES
from attnlag.corpus.catalogue import FILES as SHARDED
from attnlag.corpus.catalogue import TokenProperty
from attnlag.corpus.frequency import log_frequencies
from attnlag.errors import UserError
from attnlag.regression.design import properties
from attnlag.regression.design.properties import Property
from attnlag.regression.terms import Cell

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from attnlag.regression.settings import DesignSettings


@dataclass(frozen=True)
class Covariate:
    """A variable that a regression can hold fixed."""

    description: str
    # Names of its terms. N stands for a number, NAME for any text.
    terms: tuple[str, ...]
    # Whether its value moves with a token under permutation. A property of the token moves; a
    # property of the position or the document does not.
    moves: bool
    # Places of the values of the terms, if these differ between layers. What follows is about
    # covariates with the same values in all layers.
    cells: Mapping[str, Cell] = field(default_factory=dict)
    # Returns the values, (columns, tokens) float64, given the keys of the tokens (``document``,
    # ``window``, ``position``, ``token_id``), the settings and the facts. A token without a value
    # has NaN, and the rows that need it are dropped.
    values: Callable[[pa.Table, DesignSettings, Any], np.ndarray] | None = None
    # Returns the names of the columns of a design, given its settings and the facts. None: these
    # are the terms, one for each class.
    columns: Callable[[DesignSettings, Any], list[str]] | None = None
    # Whether all tokens of a document have the same value, so that it cannot be combined with
    # document effects.
    constant_in_document: bool = False
    # The file that the covariate needs, one of `FILES`.
    file: str | None = None
    # Returns the facts from that file. For a file of `SHARDED` it receives the files of shards and
    # the documents needed.
    read: Callable[..., Any] | None = None
    # Token that the covariate describes: 0 for the outcome, -1 for the token before it.
    offset: int = 0
    # Endings of the names of its terms, if the covariate consists of the dummies of classes. The
    # class with the most rows is the reference.
    classes: tuple[str, ...] = ()
    # Whether the tagger of the corpus must give it.
    needs_tags: bool = False


FILES = {
    "token_counts": "number of occurrences of each token in the corpus (Parquet)",
    "corpus": "the corpus (Parquet)",
    "token_properties": "properties of each token (Parquet)",
    "surprisal": "surprisal and entropy of each token (Parquet)",
}

# Properties that must not be used as covariates, with the reason.
REFUSED = {
    "entropy_next": "it is computed from the adjustment; a regression that holds it fixed hides "
    "the part that it mediates",
}


# --- position ------------------------------------------------------------------------------


def _position_values(keys: pa.Table, settings: DesignSettings, facts: None) -> np.ndarray:
    return position_spline(keys["position"].to_numpy(), settings.position_knots)


def position_spline(position: np.ndarray, knots: Sequence[int]) -> np.ndarray:
    """Return the restricted cubic spline of log(1 + position).

    The columns are Harrell's truncated power basis. The first is x = log(1 + position) itself; the
    others are cubic between the knots t and linear beyond them,

        (x - t_j)+³ - (x - t_{k-1})+³ (t_k - t_j)/(t_k - t_{k-1})
                    + (x - t_k)+³ (t_{k-1} - t_j)/(t_k - t_{k-1}),     j = 1 … k-2,

    over (t_k - t_1)², which puts them on the scale of x.

    Parameters
    ----------
    position : (tokens,) int array
        Number of tokens before each token in its sequence.
    knots : sequence of int
        The k knots in tokens, ascending, at least 3.

    References
    ----------
    Harrell, Regression Modeling Strategies, 2nd edition, 2015, section 2.4.5; ``rcspline.eval``
    of the R package Hmisc.
    """
    import numpy as np

    # Many tokens share a position, so the spline is computed once per position.
    x = np.log1p(np.arange(position.max(initial=-1) + 1))
    t = np.log1p(knots)
    cubes = np.maximum(x - t[:, None], 0) ** 3
    gap = t[-1] - t[-2]
    bent = [
        cubes[j] - cubes[-2] * (t[-1] - t[j]) / gap + cubes[-1] * (t[-2] - t[j]) / gap
        for j in range(len(t) - 2)
    ]
    return np.stack([x, *(column / (t[-1] - t[0]) ** 2 for column in bent)])[:, position]


# --- log_frequency -------------------------------------------------------------------------


def _log_frequency_values(
    keys: pa.Table, settings: DesignSettings, facts: np.ndarray
) -> np.ndarray:
    import numpy as np

    ids = keys["token_id"].to_numpy()
    in_counts = ids < len(facts)
    values = np.full((1, len(ids)), np.nan)
    values[0, in_counts] = facts[ids[in_counts]]
    if (unknown := np.isnan(values[0])).any():
        raise UserError(
            f"found token {ids[unknown][0]}, which the token counts lack; expected the counts "
            "of all shards of the corpus"
        )
    return values


# --- group ---------------------------------------------------------------------------------


class Groups(NamedTuple):
    """The groups of a corpus."""

    documents: pa.Array
    names: list[str]  # sorted
    of_document: np.ndarray  # (documents,) int array: index of each document's group in ``names``


def groups_of_corpus(corpus: Path) -> Groups:
    """Return the groups of the documents of a corpus."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    table = pq.read_table(corpus, columns=["document", "group"])
    of_document = table["group"].cast(pa.string()).combine_chunks()
    names = sorted(pc.unique(of_document).to_pylist())
    places = pc.index_in(of_document, pa.array(names, pa.string())).to_numpy()
    return Groups(table["document"].combine_chunks(), names, places)


def _group_values(keys: pa.Table, settings: DesignSettings, facts: Groups) -> np.ndarray:
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    document = keys["document"].combine_chunks()
    places = pc.index_in(document.dictionary, facts.documents)
    codes = document.indices.to_numpy()
    # A dictionary may hold documents that have no row here.
    used = np.unique(codes)
    if places.take(pa.array(used)).null_count:
        name = next(document.dictionary[i] for i in used.tolist() if not places[i].is_valid)
        raise UserError(
            f"found the document '{name}', which the corpus lacks; expected the corpus that "
            "the norms were measured on"
        )
    group = facts.of_document[places.fill_null(0).to_numpy()][codes]
    return (group == np.arange(1, len(facts.names))[:, None]).astype(np.float64)


# --- properties of tokens ------------------------------------------------------------------


def _of_property(name: str, entry: TokenProperty) -> Iterator[tuple[str, Covariate]]:
    """Yield the covariates of a property, for classes also those of the token before."""
    covariate = partial(Covariate, moves=True, file=entry.file, needs_tags=entry.needs_tags)
    if not entry.classes:
        yield (
            name,
            covariate(
                description=entry.covariate,
                terms=(name,),
                values=_values,
                read=partial(properties.read_property, name),
            ),
        )
        return
    for prefix, offset, before in ((name, 0, ""), (f"{name}_previous", -1, " before it")):
        yield (
            prefix,
            covariate(
                description=entry.covariate + before,
                terms=(f"{prefix}_NAME",),
                values=lambda keys, settings, facts: properties.dummies(
                    facts.of(keys), len(entry.classes)
                ),
                read=partial(properties.read_property, name),
                offset=offset,
                classes=entry.classes,
            ),
        )


def _values(keys: pa.Table, settings: DesignSettings, facts: Property) -> np.ndarray:
    return facts.of(keys)[None]


# --- the catalogue -------------------------------------------------------------------------

# In the order in which the terms stand in a design.
CATALOGUE: dict[str, Covariate] = {
    "position": Covariate(
        description="a restricted cubic spline of the position in the sequence",
        terms=("position_N",),
        moves=False,
        columns=lambda settings, facts: [
            f"position_{number}" for number in range(1, len(settings.position_knots))
        ],
        values=_position_values,
    ),
    "log_frequency": Covariate(
        description="log relative frequency of the token in the corpus",
        terms=("log_frequency",),
        moves=True,
        values=_log_frequency_values,
        file="token_counts",
        read=log_frequencies,
    ),
    "group": Covariate(
        description="dummies of the groups",
        terms=("group_NAME",),
        moves=False,
        constant_in_document=True,
        # The first group is the reference.
        columns=lambda settings, facts: [f"group_{name}" for name in facts.names[1:]],
        values=_group_values,
        file="corpus",
        read=groups_of_corpus,
    ),
    **{
        name: covariate
        for property_name, entry in PROPERTIES.items()
        if entry.covariate
        for name, covariate in _of_property(property_name, entry)
    },
    "previous_layer": Covariate(
        description="log norms of the layer before at this token and the one before it",
        terms=("previous_layer", "previous_layer_lag_1"),
        moves=True,
        cells={"previous_layer": Cell(1, 0), "previous_layer_lag_1": Cell(1, -1)},
    ),
}


def constant_in_document(names: Iterable[str]) -> list[str]:
    """Return the covariates that are constant within documents."""
    return [name for name in names if CATALOGUE[name].constant_in_document]


def is_term(name: str, covariate: str | None = None) -> bool:
    """Return whether a name is a term of the given covariate, or of any covariate."""
    return re.fullmatch(term_pattern(covariate), name, re.DOTALL) is not None


def term_pattern(covariate: str | None = None) -> str:
    """Return a regular expression for the terms of a covariate, or of all covariates."""
    entries = CATALOGUE if covariate is None else [covariate]
    names = [re.escape(term) for name in entries for term in _terms_of(name)]
    words = {"_NAME": "_.+", "_N": r"_\d+"}
    return "|".join(re.sub("(_NAME|_N)$", lambda end: words[end[0]], name) for name in names)


def _terms_of(name: str) -> tuple[str, ...]:
    """Return the terms of a covariate, one for each class of its tokens."""
    classes = classes_of(name)
    return tuple(f"{name}_{label}" for label in classes) if classes else CATALOGUE[name].terms


def classes_of(name: str) -> tuple[str, ...]:
    """Return the classes of a covariate of dummies, including the class for the rest."""
    classes = CATALOGUE[name].classes
    return (*classes, properties.OTHER) if classes else ()


def layer_cells(names: Collection[str]) -> dict[str, Cell]:
    """Return the terms of the covariates that have separate values in each layer."""
    entries = [entry for name, entry in CATALOGUE.items() if name in names]
    return {term: cell for entry in entries for term, cell in entry.cells.items()}


def layers_before(terms: Iterable[str]) -> int:
    """Return the number of preceding layers that some terms need."""
    cells = layer_cells(CATALOGUE)
    return max((cells[term].layers_before for term in terms if term in cells), default=0)


def files_needed(names: Iterable[str]) -> set[str]:
    """Return the files that some covariates need, by their names in `FILES`."""
    files = [CATALOGUE[name].file for name in names]
    return {file for file in files if file is not None}


def _shared_covariates(settings: DesignSettings) -> dict[str, Covariate]:
    """Return the covariates of a design that all layers share, in the order of the catalogue."""
    if unknown := set(settings.covariates) - set(CATALOGUE):
        raise ValueError(f"unknown covariates: {sorted(unknown)}")
    return {
        name: entry
        for name, entry in CATALOGUE.items()
        if name in settings.covariates and not entry.cells
    }


def read_facts(
    settings: DesignSettings,
    files: Mapping[str, Any],
    documents: Collection[str] | None = None,
) -> dict[str, Any]:
    """Return the facts that the covariates of a design need, each from its file.

    Parameters
    ----------
    files : mapping of str to path
        The available files, by their names in `FILES`. For one of `SHARDED` this is the file of
        the design's shard, or the list of all shards.
    documents : collection of str, optional
        The documents of the design, if the files may hold many more.

    Returns
    -------
    facts : dict
        The result of ``read``, by covariate.
    """
    facts = {}
    for name, entry in _shared_covariates(settings).items():
        if entry.file is None or entry.read is None:
            continue
        path = files.get(entry.file)
        if not path:
            raise UserError(f"found the covariate {name} without {entry.file}, expected both")
        if entry.file in SHARDED:
            facts[name] = entry.read([path] if isinstance(path, Path) else path, documents)
        else:
            facts[name] = entry.read(path)
    return facts


def shared_terms(settings: DesignSettings, facts: Mapping[str, Any]) -> dict[str, Covariate]:
    """Return the terms shared by all layers, in order, with their covariates."""
    terms: dict[str, Covariate] = {}
    for name, entry in _shared_covariates(settings).items():
        columns = [f"{name}_{label}" for label in entry.classes] or entry.terms
        if entry.columns:
            columns = entry.columns(settings, facts.get(name))
        terms |= dict.fromkeys(columns, entry)
    return terms


def shared_values(keys: pa.Table, settings: DesignSettings, facts: Mapping[str, Any]) -> np.ndarray:
    """Return the values of the terms shared by all layers, (shared terms, tokens).

    The value of a token belongs to the rows whose outcome is offset from it as the covariate says.
    It is NaN if the token has none. A UserError says if a token or a document is not in the corpus
    that the facts describe.
    """
    import numpy as np

    values = [
        entry.values(keys, settings, facts.get(name))
        for name, entry in _shared_covariates(settings).items()
        if entry.values
    ]
    return np.concatenate([np.zeros((0, keys.num_rows)), *values])
