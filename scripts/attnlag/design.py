"""Design matrices: the log norm of each token beside what may predict it.

The values of one layer at the tokens before and after, those of the layer before, and
covariates of the token itself: where it stands, how frequent it is, which group it is from.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from attnlag import layout
from attnlag.errors import UserError
from attnlag.norms import log_norms

# --- what is asked for ---------------------------------------------------------------------


class Cell(NamedTuple):
    """Where a term takes its value from, seen from the outcome.

    Attributes
    ----------
    layers_before : int
        0: the outcome's own layer; 1: the layer before it.
    offset : int
        Tokens after the outcome; negative: before it.
    """

    layers_before: int
    offset: int


PREVIOUS_LAYER = {"previous_layer": Cell(1, 0), "previous_layer_lag_1": Cell(1, -1)}


def _cells(lags: Sequence[int], leads: Sequence[int], previous_layer: bool) -> Mapping[str, Cell]:
    return {
        "y": Cell(0, 0),
        **{f"lag_{lag}": Cell(0, -lag) for lag in lags},
        **{f"lead_{lead}": Cell(0, lead) for lead in leads},
        **(PREVIOUS_LAYER if previous_layer else {}),
    }


@dataclass(frozen=True)
class Sample:
    """What all regressions of a configuration together need of a row, to be held to one sample."""

    lags: tuple[int, ...] = ()
    leads: tuple[int, ...] = ()
    previous_layer: bool = False


@dataclass(frozen=True)
class Specification:
    """The terms of a regression and the rule for its rows.

    Attributes
    ----------
    lags, leads : tuple of int
        Distances in tokens to the tokens before and after, ascending, each at least 1.
    covariates : tuple of str
        Some of ``position``, ``log_frequency``, ``group``, ``previous_layer``.
    knots : tuple of int
        Of the position's spline, in tokens, ascending, at least 3.
    drop_first : int
        Tokens at the start of every sequence that are neither an outcome nor a predictor.
    sample : Sample or None
        Keep only the rows that all of this can be had for; None: all that the terms allow.
    """

    lags: tuple[int, ...] = ()
    leads: tuple[int, ...] = ()
    covariates: tuple[str, ...] = ()
    knots: tuple[int, ...] = (4, 16, 64, 256)
    drop_first: int = 1
    sample: Sample | None = None

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> "Specification":
        """Return the specification in the settings of a stage; what they lack has defaults."""
        sample = settings.get("sample")
        return cls(
            lags=tuple(sorted(settings.get("lags", cls.lags))),
            leads=tuple(sorted(settings.get("leads", cls.leads))),
            covariates=tuple(settings.get("covariates", cls.covariates)),
            knots=tuple(sorted(settings.get("position_knots", cls.knots))),
            drop_first=settings.get("drop_first", cls.drop_first),
            sample=sample
            and Sample(tuple(sample["lags"]), tuple(sample["leads"]), sample["previous_layer"]),
        )

    @property
    def cells(self) -> Mapping[str, Cell]:
        """The terms that each layer has its own values of, in order, and where these are."""
        return _cells(self.lags, self.leads, "previous_layer" in self.covariates)

    @property
    def needed(self) -> list[Cell]:
        """The values without which a layer drops a row, those of the common sample included."""
        others = self.sample or Sample()
        theirs = _cells(others.lags, others.leads, others.previous_layer)
        return sorted({*self.cells.values(), *theirs.values()})

    @property
    def before(self) -> int:
        """Tokens that an outcome needs before it, besides the dropped ones."""
        return max(-cell.offset for cell in self.needed)

    @property
    def after(self) -> int:
        """Tokens that an outcome needs after it."""
        return max(cell.offset for cell in self.needed)


# --- covariates of the token ---------------------------------------------------------------


@dataclass(frozen=True)
class CorpusFacts:
    """What the covariates need to know of a corpus; empty where no covariate asks.

    Attributes
    ----------
    log_frequency : (vocabulary,) float64 array
        Log of the share of each token id in the corpus; NaN for one that does not occur.
    documents : pyarrow.Array
        Ids of the documents.
    groups : list of str
        The groups, sorted.
    group_of_document : (documents,) int array
        The place of each document's group in ``groups``.
    """

    log_frequency: np.ndarray = field(default_factory=lambda: np.zeros(0))
    documents: pa.Array = field(default_factory=lambda: pa.array([], pa.string()))
    groups: list[str] = field(default_factory=list)
    group_of_document: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))

    @classmethod
    def of(cls, counts: pa.Table | None = None, corpus: pa.Table | None = None) -> "CorpusFacts":
        """Return the facts in a table of token counts and a corpus' ``document`` and ``group``."""
        facts: dict[str, Any] = {}
        if counts is not None:
            ids, count = counts["token_id"].to_numpy(), counts["count"].to_numpy()
            log_frequency = np.full(ids.max(initial=-1) + 1, np.nan)
            log_frequency[ids] = np.log(count / count.sum())
            facts["log_frequency"] = log_frequency
        if corpus is not None:
            of_document = corpus["group"].cast(pa.string()).combine_chunks()
            groups = sorted(pc.unique(of_document).to_pylist())
            facts["documents"] = corpus["document"].combine_chunks()
            facts["groups"] = groups
            facts["group_of_document"] = pc.index_in(
                of_document, pa.array(groups, pa.string())
            ).to_numpy()
        return cls(**facts)


def read_facts(
    specification: Specification, token_counts: Path | None, corpus: Path | None
) -> CorpusFacts:
    """Return what a specification needs to know of a corpus, from files that may not be needed.

    Raises
    ------
    UserError
        If a covariate has not got its file.
    """
    asked = specification.covariates
    for covariate, option, path in (
        ("log_frequency", "--token-counts", token_counts),
        ("group", "--corpus", corpus),
    ):
        if covariate in asked and path is None:
            raise UserError(f"found the covariate {covariate} without {option}, expected both")
    groups = None
    if "group" in asked:
        groups = pq.read_table(corpus, columns=["document", "group"])
    counts = pq.read_table(token_counts) if "log_frequency" in asked else None
    return CorpusFacts.of(counts=counts, corpus=groups)


def position_spline(position: np.ndarray, knots: Sequence[int]) -> np.ndarray:
    """Return the restricted cubic spline of log(1 + position).

    Harrell's truncated power basis: the first column is x = log(1 + position) itself, the
    others are cubic between the knots t and straight outside of them,

        (x - t_j)+³ - (x - t_{k-1})+³ (t_k - t_j)/(t_k - t_{k-1})
                    + (x - t_k)+³ (t_{k-1} - t_j)/(t_k - t_{k-1}),     j = 1 … k-2,

    over (t_k - t_1)², which puts them on the scale of x.

    Parameters
    ----------
    position : (tokens,) int array
        Tokens before each token in its sequence.
    knots : sequence of int
        The k knots in tokens, ascending, at least 3.

    Returns
    -------
    columns : (k - 1, tokens) float64 array

    References
    ----------
    Harrell, Regression Modeling Strategies, 2nd edition, 2015, section 2.4.5; ``rcspline.eval``
    of the R package Hmisc.
    """
    # Many tokens share one position: the spline is worked out once for each.
    x = np.log1p(np.arange(position.max(initial=-1) + 1))
    t = np.log1p(knots)
    cubes = np.maximum(x - t[:, None], 0) ** 3
    gap = t[-1] - t[-2]
    bent = [
        cubes[j] - cubes[-2] * (t[-1] - t[j]) / gap + cubes[-1] * (t[-2] - t[j]) / gap
        for j in range(len(t) - 2)
    ]
    return np.stack([x, *(column / (t[-1] - t[0]) ** 2 for column in bent)])[:, position]


def shared_names(specification: Specification, groups: Sequence[str]) -> list[str]:
    """Return the names of the terms that all layers share, in order."""
    names = []
    if "position" in specification.covariates:
        names += [f"position_{i}" for i in range(1, len(specification.knots))]
    if "log_frequency" in specification.covariates:
        names.append("log_frequency")
    if "group" in specification.covariates:
        names += [f"group_{group}" for group in groups[1:]]
    return names


def shared_terms(keys: pa.Table, specification: Specification, facts: CorpusFacts) -> np.ndarray:
    """Return the covariates of tokens that are the same in every layer.

    Parameters
    ----------
    keys : pyarrow.Table
        ``document``, ``position`` and ``token_id`` of each token.
    specification : Specification
    facts : CorpusFacts

    Returns
    -------
    terms : (shared terms, tokens) float64 array
        Of ``shared_names``, never NaN. The first group has no column of its own: it is what
        the others are compared with.

    Raises
    ------
    UserError
        If a token or a document is not in the corpus that the facts are of.
    """
    names = shared_names(specification, facts.groups)
    terms = np.empty((len(names), keys.num_rows))
    done = 0
    if "position" in specification.covariates:
        done = len(specification.knots) - 1
        terms[:done] = position_spline(keys["position"].to_numpy(), specification.knots)
    if "log_frequency" in specification.covariates:
        ids = keys["token_id"].to_numpy()
        known = ids < len(facts.log_frequency)
        terms[done] = np.nan
        terms[done, known] = facts.log_frequency[ids[known]]
        if (unknown := np.isnan(terms[done])).any():
            raise UserError(
                f"found token {ids[unknown][0]}, which the token counts lack; expected the counts "
                "of all shards of this corpus"
            )
        done += 1
    if "group" in specification.covariates:
        document = keys["document"].combine_chunks()
        places = pc.index_in(document.dictionary, facts.documents)
        codes = document.indices.to_numpy()
        # A dictionary may hold documents that have no row here.
        used = np.unique(codes)
        if places.take(pa.array(used)).null_count:
            name = next(document.dictionary[i] for i in used.tolist() if not places[i].is_valid)
            raise UserError(
                f"found the document '{name}', which the corpus lacks; expected the corpus that "
                "the norms are of"
            )
        group = facts.group_of_document[places.fill_null(0).to_numpy()][codes]
        terms[done:] = group == np.arange(1, len(facts.groups))[:, None]
    return terms


# --- rows ----------------------------------------------------------------------------------


def sequence_lengths(position: np.ndarray) -> np.ndarray:
    """Return the number of tokens of each of consecutive whole sequences."""
    return np.diff(np.flatnonzero(position == 0), append=len(position))


def outcome_rows(position: np.ndarray, specification: Specification) -> np.ndarray:
    """Return which tokens of consecutive whole sequences are outcomes: give a row.

    A token is one where its sequence has ``drop_first`` tokens, and then as many as the
    furthest lag, before it, and as many as the furthest lead after it.
    """
    lengths = sequence_lengths(position)
    first = specification.drop_first + specification.before
    last = np.repeat(lengths, lengths) - specification.after
    return np.flatnonzero((position >= first) & (position < last))


def layer_terms(values: np.ndarray, rows: np.ndarray, specification: Specification) -> np.ndarray:
    """Return the terms of which each layer has its own values.

    Parameters
    ----------
    values : (layers, tokens) float64 array
        Log norms of consecutive whole sequences; NaN where there is none.
    rows : (outcomes,) int array
        The outcomes' places among the tokens, from ``outcome_rows``.
    specification : Specification

    Returns
    -------
    terms : (terms, layers, outcomes) float64 array
        Of ``specification.cells``, y first. All terms are NaN where one of the values that the
        row needs in that layer is, and throughout the first layer if a term is of the layer
        before.
    """
    layers = len(values)
    cells = specification.cells
    terms = np.empty((len(cells), layers, len(rows)))
    for term, (back, offset) in zip(terms, cells.values(), strict=True):
        places = rows + offset
        for layer in range(back, layers):
            values[layer - back].take(places, out=term[layer], mode="clip")
    unusable = np.isnan(values)
    if unusable.any():
        dropped = np.zeros((layers, len(rows)), bool)
        for back, offset in specification.needed:
            # The first layer has no layer before it that could lack a value.
            dropped[back:] |= unusable[: layers - back, rows + offset]
        terms[:, dropped] = np.nan
    if "previous_layer" in specification.covariates:
        terms[:, 0] = np.nan
    return terms


@dataclass(frozen=True)
class Terms:
    """The rows of a design as arrays.

    Attributes
    ----------
    keys : pyarrow.Table
        What is known of each outcome.
    layers : (terms, layers, outcomes) float64 array
        As ``layer_terms`` gives them.
    shared : (shared terms, outcomes) float64 array
        As ``shared_terms`` gives them.
    """

    keys: pa.Table
    layers: np.ndarray
    shared: np.ndarray


def terms_of(
    values: np.ndarray, keys: pa.Table, specification: Specification, facts: CorpusFacts
) -> Terms:
    """Return the design of consecutive whole sequences.

    Parameters
    ----------
    values : (layers, tokens) float64 array
        Log norms, NaN where there is none.
    keys : pyarrow.Table
        The keys of each token.
    specification : Specification
    facts : CorpusFacts
    """
    rows = outcome_rows(keys["position"].to_numpy(), specification)
    keys = keys.take(rows)
    return Terms(
        keys,
        layer_terms(values, rows, specification),
        shared_terms(keys, specification, facts),
    )


# --- files ---------------------------------------------------------------------------------


def schema(
    layers: Sequence[str], specification: Specification, groups: Sequence[str] = ()
) -> pa.Schema:
    """Return the schema of a design: the keys, then the terms layer by layer, then the shared."""
    names = [f"{layer}.{term}" for layer in layers for term in specification.cells]
    names += shared_names(specification, groups)
    return pa.schema([*layout.KEY_FIELDS, *((name, pa.float64()) for name in names)])


def parquet_options(schema: pa.Schema) -> dict[str, Any]:
    """Return how a design's columns are encoded: what repeats is packed, logs of norms are not.

    No two logs are alike: trying to pack them takes four times as long as writing them does,
    and the next stage three times as long to read, for a file that is smaller by a tenth.
    """
    packed = [name for name in schema.names if not name.startswith("layer_")]
    return {
        "use_dictionary": packed,
        "compression": {name: "zstd" if name in packed else "none" for name in schema.names},
        "write_statistics": False,
    }


@dataclass
class Counts:
    """What a design left out, and why.

    Attributes
    ----------
    sequences, short_sequences : int
        Sequences seen, and those too short to give a row.
    longest_sequence, fewest_tokens : int
        Tokens of the longest sequence, and of the shortest that gives a row.
    zero_norms, nonfinite_norms : dict of str to int
        Norms without a logarithm, per layer; only layers that have any.
    dropped_rows : dict of str to int
        Rows that such a norm took from a layer, as outcome or as a predictor. The first layer
        does not count as dropped where it has no row for want of a layer before.
    first_unusable : dict of str to str
        The first such norm of a layer and its place, in words.
    """

    sequences: int = 0
    short_sequences: int = 0
    longest_sequence: int = 0
    fewest_tokens: int = 0
    zero_norms: dict[str, int] = field(default_factory=dict)
    nonfinite_norms: dict[str, int] = field(default_factory=dict)
    dropped_rows: dict[str, int] = field(default_factory=dict)
    first_unusable: dict[str, str] = field(default_factory=dict)

    def numbers(self) -> dict[str, Any]:
        """Return what is counted, without what is said in words."""
        counts = asdict(self)
        del counts["first_unusable"]
        return counts


def _add(counts: dict[str, int], layers: Sequence[str], numbers: np.ndarray) -> None:
    for layer, number in zip(layers, numbers.tolist(), strict=True):
        if number:
            counts[layer] = counts.get(layer, 0) + number


def whole_sequences(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Yield the same rows, cut where a sequence begins; one that goes on waits for its end."""
    waiting: list[pa.RecordBatch] = []
    for batch in batches:
        starts = np.flatnonzero(batch.column("position").to_numpy() == 0)
        if waiting and len(starts):
            yield pa.Table.from_batches([*waiting, batch.slice(0, starts[0])])
            waiting = [batch.slice(starts[0])]
        else:
            waiting.append(batch)
    if waiting:
        yield pa.Table.from_batches(waiting)


def designs(
    batches: Iterable[pa.RecordBatch],
    specification: Specification,
    counts: Counts,
    facts: CorpusFacts | None = None,
) -> Iterator[pa.Table]:
    """Yield the design of consecutive batches of norms.

    A token gives a row where neither the outcome nor a predictor is one of the first
    ``drop_first`` of its sequence or lies outside it. A zero or non-finite norm empties the
    cells of its layer, and of the layer after where that one uses it, in the rows it touches.

    Parameters
    ----------
    batches : iterable of pyarrow.RecordBatch
        Norms in corpus order; a sequence may go on in the next batch.
    specification : Specification
    counts : Counts
        Filled while the batches are read.
    facts : CorpusFacts, optional
        Needed for the covariates ``log_frequency`` and ``group``.

    Yields
    ------
    design : pyarrow.Table
        ``schema``: natural logs of norms, null where the layer drops the row.
    """
    facts = facts or CorpusFacts()
    previous_layer = "previous_layer" in specification.covariates
    for table in whole_sequences(batches):
        layers = layout.layers_in(table.schema)
        # The batches bring dictionaries of their own; this makes them one.
        keys = table.select(layout.KEYS).combine_chunks()
        values = np.empty((len(layers), table.num_rows))
        zero, nonfinite = np.zeros((2, len(layers)), np.int64)
        for index, layer in enumerate(layers):
            norms = table[layer].to_numpy()
            values[index] = log_norms(norms)
            zero[index] = np.count_nonzero(norms == 0)
            nonfinite[index] = np.count_nonzero(~np.isfinite(norms))
            if zero[index] + nonfinite[index] and layer not in counts.first_unusable:
                row = int(np.argmax(np.isnan(values[index])))
                counts.first_unusable[layer] = (
                    f"{norms[row]:g} in the document '{keys['document'][row]}', position "
                    f"{keys['position'][row]}"
                )
        terms = terms_of(values, keys, specification, facts)

        lengths = sequence_lengths(keys["position"].to_numpy())
        least = specification.drop_first + specification.before + specification.after + 1
        counts.sequences += len(lengths)
        counts.short_sequences += int((lengths < least).sum())
        counts.longest_sequence = max(counts.longest_sequence, int(lengths.max(initial=0)))
        counts.fewest_tokens = least
        _add(counts.zero_norms, layers, zero)
        _add(counts.nonfinite_norms, layers, nonfinite)
        dropped = np.isnan(terms.layers[0]).sum(axis=1)
        if previous_layer:
            dropped[0] = 0
        _add(counts.dropped_rows, layers, dropped)

        columns = terms.keys.columns
        for index in range(len(layers)):
            empty = np.isnan(terms.layers[0, index])
            mask = empty if empty.any() else None
            columns += [pa.array(term[index], mask=mask) for term in terms.layers]
        columns += [pa.array(term) for term in terms.shared]
        yield pa.table(columns, schema=schema(layers, specification, facts.groups))
