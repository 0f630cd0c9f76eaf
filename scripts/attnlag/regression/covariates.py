"""Covariates that all layers share: position, frequency, group."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from attnlag.errors import UserError
from attnlag.regression.specification import Specification


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
