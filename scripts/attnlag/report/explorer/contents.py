"""The contents of the explorer: answers, findings, coefficients, and each token with its log norm.

An index lists the contents and names the blocks of numbers; the page reads a block when it needs
it. If the terms of a fit are the outcome in this or the preceding layer and terms shared by all
layers, the page computes the residuals from the coefficients and the outcome. Otherwise the
residuals are stored.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from pydantic import TypeAdapter

from attnlag.adjustments import columns, outcomes
from attnlag.adjustments.norms import log_norms, regressed
from attnlag.adjustments.sites import SITES
from attnlag.corpus.catalogue import CATALOGUE, TokenProperty
from attnlag.corpus.documents import group_by_document
from attnlag.regression.design import design
from attnlag.regression.estimation.crossproducts import columns_of
from attnlag.regression.labels import OUTCOMES, R_SQUARED, UNITS, UPOS, weights_in_words
from attnlag.regression.settings import DesignSettings
from attnlag.regression.terms import lags_among, named
from attnlag.report import answers
from attnlag.report.explorer import beyond
from attnlag.report.explorer import documents as shown
from attnlag.report.explorer.packing import block, json_block, quantised
from attnlag.storage import tables

KEYS = ["document", "window", "position"]

MOST_CATEGORIES = 40

CONTROLS = {
    "permuted_low": "permutedLow",
    "permuted_high": "permutedHigh",
    "permuted_mean": "permutedMean",
    "random_weights": "random",
    "trained": "uncorrected",
}


# A study in the index, as JSON.
Entry = dict[str, Any]


@dataclass
class Contents:
    """The contents of a page."""

    index: dict[str, Any] = field(default_factory=dict)
    # Compressed numbers and texts, by name.
    blocks: dict[str, str] = field(default_factory=dict)
    values: int = 0  # number of values of the tokens shown, about their bytes in the page


@dataclass
class Study:
    """One regression of one model on one corpus at one site, given the folder of its tables."""

    folder: Path
    model: str
    corpus: str
    site: str
    regression: str

    @property
    def name(self) -> str:
        """Prefix of the names of its blocks."""
        return "/".join((self.model, self.corpus, self.site, self.regression))

    @property
    def of_site(self) -> str:
        """Name of its model, corpus and site in the index."""
        return "/".join((self.model, self.corpus, self.site))

    @property
    def base(self) -> Path:
        """Folder of the model and the corpus."""
        return self.folder.parents[1]

    def shards(self, *parts: str) -> list[Path]:
        """Return the files of all shards of a kind of table."""
        return tables.shards(self.base.joinpath(*parts, "0000.parquet"))

    @property
    def design(self) -> list[Path]:
        """Files of the design."""
        return self.shards(self.site, self.regression, "design")


def study_of(path: Path) -> Study:
    """Return the study of a file of coefficients."""
    return Study(path.parent, *path.parts[-5:-1])


def contents(
    coefficients: Sequence[Path],
    findings: Sequence[Path],
    beside: Sequence[str] = (),
    values: int = shown.MOST_VALUES,
) -> Contents:
    """Read the contents of the page from all studies of a run.

    Parameters
    ----------
    coefficients : sequence of Path
        Tables of all studies; the other tables are expected at their places in a run.
    findings : sequence of Path
        Texts of findings, of regressions and of other stages.
    beside : sequence of str
        Folders of further tables of tokens, whose columns can shade the text too.
    values : int
        Largest number of values of tokens; of each corpus, one document is always shown.
    """
    studies = [study_of(path) for path in coefficients]
    results = studies[0].folder.parents[3]
    regressions = {study.regression for study in studies}
    made = Contents({"findings": [_findings(path, results, regressions) for path in findings]})
    made.index["answers"] = [
        {"of": of, **found._asdict()} for of, found in answers.of_sites(coefficients).items()
    ]
    made.index["studies"] = [_study(study) for study in studies]
    made.index |= {name: {} for name in ("corpora", "texts", "norms", "heads", "beyond", "sources")}
    made.index["categories"] = UPOS
    corpora = list(dict.fromkeys(study.corpus for study in studies))
    for corpus in corpora:
        own = [study for study in studies if study.corpus == corpus]
        path = results / "corpora" / f"{corpus}.parquet"
        _add_corpus(made, own, path, beside, values // len(corpora))
    return made


def _findings(path: Path, results: Path, regressions: Collection[str]) -> dict[str, Any]:
    """Return findings with the names of their study, which come from their path."""
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    of = list(path.parent.relative_to(results).parts)
    # Directions and heads have folders of their own and belong to their site.
    of = of if of[-1] in regressions or len(of) < 4 else of[:3]
    return {"of": of, "lines": [*filter(None, lines)]}


def _study(study: Study) -> dict[str, Any]:
    """Return the coefficients of one study, its controls and the data for residuals."""
    table = pd.read_parquet(study.folder / "coefficients.parquet").query("subset == 'all'")
    fits = pd.read_parquet(study.folder / "fits.parquet").sort_values("layer")
    controls = pd.read_parquet(study.folder / "controls.parquet")
    record = tables.read_provenance(study.folder / "coefficients.parquet")
    settings = TypeAdapter(DesignSettings).validate_python(record.settings("design"))
    regression = record.settings("regression")
    layers = fits["layer"].tolist()
    effects = regression["fixed_effects"] == "document"

    def by_layer(rows: pd.DataFrame, column: str) -> list[float]:
        if column not in rows:
            return [np.nan] * len(layers)
        return rows.set_index("layer")[column].reindex(layers).astype(float).tolist()

    terms = {
        str(term): {
            "estimate": by_layer(rows, "estimate"),
            "low": by_layer(rows, "conf_low"),
            "high": by_layer(rows, "conf_high"),
            **{
                name: by_layer(controls[controls["term"] == term], column)
                for column, name in CONTROLS.items()
            },
        }
        for term, rows in table.groupby("term", sort=False)
    }
    cells = design.cells_of(settings)
    schema = pq.read_schema(study.design[0])
    first = columns.layer_name(layers[0])
    own = [name.partition(".")[2] for name in schema.names if name.startswith(f"{first}.")]
    return {
        "model": study.model,
        "weights": weights_in_words([record["model"]]),
        "corpus": study.corpus,
        "site": study.site,
        "siteLabel": SITES[study.site].label,
        "regression": study.regression,
        "layers": layers,
        "lags": [[term, named(term)] for term in lags_among(list(terms))],
        "terms": terms,
        "rSquared": by_layer(fits, "r_squared"),
        "rSquaredName": R_SQUARED["document" if effects else "none"],
        "rows": int(fits["n_obs"].max()),
        "documents": int(fits["n_documents"].max()),
        "outcome": settings.outcome,
        "outcomeName": OUTCOMES[settings.outcome],
        "unit": UNITS[settings.outcome],
        "covariates": list(settings.covariates),
        "slopes": beyond.slopes(study.folder),
        "effects": effects,
        "level": round(100 * (1 - regression["alpha"]), 6),
        "dropFirst": settings.drop_first,
        "before": design.tokens_before(settings),
        "after": design.tokens_after(settings),
        "cells": {term: list(cell) for term, cell in cells.items() if term != "y"},
        "needed": [list(cell) for cell in design.needed_cells(settings)],
        "shared": [name for name in schema.names if name in terms],
        # Some terms of a layer are not log norms, so the residuals are stored.
        "stored": not set(own) <= set(cells),
    }


def _add_corpus(
    made: Contents, studies: Sequence[Study], corpus: Path, beside: Sequence[str], values: int
) -> None:
    """Add the documents of one corpus, with the numbers of all its studies."""
    by_model = {study.model: study for study in studies}
    sites = list(dict.fromkeys(study.site for study in studies))
    order = shown.candidates(corpus)
    sequences = {
        model: tables.rows_of_documents(study.shards("tokens"), order)
        for model, study in by_model.items()
    }
    per_token = [_values_per_token(made, study, len(sites), beside) for study in by_model.values()]
    counts = [shown.token_counts(sequences[model]) for model in by_model]
    # Heads take what documents leave, and at least a quarter.
    with_heads = [study for study in _by_site(studies) if beyond.heads(study.base / study.site)]
    reserved = values // 4 if with_heads else 0
    names, taken = shown.chosen(order, counts, per_token, values - reserved)
    made.values += taken
    groups = group_by_document(corpus)
    made.index["corpora"][corpus.stem] = {
        "documents": len(groups),
        "groups": len(set(groups.values())),
        "shown": len(names),
        "longest": shown.LONGEST,
    }
    for study in _by_site(studies):
        if written := beyond.sources(study.base / study.site, names):
            made.index["sources"][study.of_site], codes = written
            made.blocks[f"{study.of_site}.sources"] = block(codes.tobytes())
            taken += codes.size
            made.values += codes.size
    for study in with_heads:
        counts_here = counts[list(by_model).index(study.model)]
        room = max(values - taken, 0) // len(with_heads)
        made.values += _add_heads(made, study, names, counts_here, room)
    for study in _by_site(studies):
        folder = study.base / study.site
        made.index["beyond"][study.of_site] = {
            "heads": beyond.heads(folder),
            "vectors": beyond.vectors(folder),
            "causes": beyond.causes(study.base),
        }
    for model, study in by_model.items():
        documents = shown.shown_documents(names, corpus, sequences[model])
        keys = _keys(study, names, documents)
        _add_texts(made, study, documents, names, keys, beside)
        for site in sites:
            name = f"{model}/{corpus.stem}/{site}"
            packed = _packed_norms(made, name, study.shards(site, "norms"), names, keys)
            made.index["norms"][name] = packed
        entries = {(entry["site"], entry["regression"]): entry for entry in _entries(made, study)}
        for each in studies:
            if each.model == model:
                entry = entries[each.site, each.regression]
                _add_outcome(made, each, entry, names, keys)
                _add_design(made, each, entry, names, keys)


def _by_site(studies: Sequence[Study]) -> list[Study]:
    """Return one study for each model and site."""
    return list({(study.model, study.site): study for study in studies}.values())


def _add_heads(
    made: Contents, study: Study, names: Sequence[str], counts: Mapping[str, int], room: int
) -> int:
    """Add log norms of what heads write, half a byte each, and return their values.

    There is room for the first documents in the order of ``names``, perhaps for none.
    """
    paths = study.shards(study.site, "heads")
    layers = columns.layers_in(pq.read_schema(paths[0]))
    heads = pq.read_schema(paths[0]).field(layers[0]).type.list_size
    own, taken = shown.chosen(names, [counts], [len(layers) * heads // 2], room)
    if taken > room:
        return 0
    frame = tables.rows_of_documents(paths, own, [*KEYS, *layers])
    frame = frame[frame.groupby("document").cumcount() < shown.LONGEST]
    logs = log_norms(np.concatenate([np.stack(list(frame[layer])).T for layer in layers]))
    # A shade needs no more than the central values of a head.
    ends = np.nanquantile(logs, [0.005, 0.995], axis=1, keepdims=True)
    packed = quantised(np.clip(logs, *ends), bits=4)
    made.blocks[f"{study.of_site}.heads"] = block(packed.tobytes())
    shown_here = list(dict.fromkeys(frame["document"]))
    entry = {"heads": heads, "documents": shown_here, "scale": packed.scale()}
    made.index["heads"][study.of_site] = entry
    return taken


def _values_per_token(made: Contents, study: Study, sites: int, beside: Sequence[str]) -> int:
    """Return the number of values that a token of a model takes: a byte each, before compression.

    They are its text, its norms, and columns of two bytes.
    """
    entries = _entries(made, study)
    layers = len(columns.layers_in(pq.read_schema(study.shards("stream")[0])))
    of_fits = (
        layers if study_entry["stored"] else 2 * len(study_entry["shared"])
        for study_entry in entries
    )
    wide = sum(len(_shades(study.shards(folder)[0])) for folder in beside)
    return shown.OF_TEXT + layers * (sites + 1) + 2 * wide + sum(of_fits)


def _entries(made: Contents, study: Study) -> list[Entry]:
    """Return the entries in the index of the studies of the same model and corpus."""
    pair = study.model, study.corpus
    return [each for each in made.index["studies"] if (each["model"], each["corpus"]) == pair]


def _shades(path: Path) -> dict[str, TokenProperty]:
    """Return the columns of a table of tokens that shade the text."""
    names = pq.read_schema(path).names
    return {name: CATALOGUE[name] for name in names if name in CATALOGUE and CATALOGUE[name].shade}


def _keys(
    study: Study, names: Sequence[str], documents: Sequence[shown.ShownDocument]
) -> pd.MultiIndex:
    """Return the keys of the tokens shown; long documents are cut off."""
    frame = tables.rows_of_documents(study.shards("stream"), names, KEYS)
    rows = dict(iter(frame.groupby("document")))
    kept = [rows[document.name].iloc[: len(document.tokens)] for document in documents]
    return pd.MultiIndex.from_frame(pd.concat(kept))


def _values(
    paths: Sequence[Path], names: Sequence[str], chosen: Sequence[str], keys: pd.MultiIndex
) -> pd.DataFrame:
    """Return columns of a table of tokens for the tokens shown; NaN if the table lacks a token."""
    frame = tables.rows_of_documents(paths, names, [*KEYS, *chosen])
    return frame.set_index(KEYS).reindex(keys)


def _add_texts(
    made: Contents,
    study: Study,
    documents: Sequence[shown.ShownDocument],
    names: Sequence[str],
    keys: pd.MultiIndex,
    beside: Sequence[str],
) -> None:
    """Add the tokens of a model as text, the norms of its stream, and further columns."""
    name = f"{study.model}/{study.corpus}"
    made.blocks[f"{name}.texts"] = json_block(
        [
            {
                "name": document.name,
                "group": document.group,
                "tokens": document.tokens,
                "whole": document.whole,
                # Indices of the tokens that begin a sequence.
                "starts": np.flatnonzero(document.position == 0).tolist(),
            }
            for document in documents
        ]
    )
    made.index["texts"][name] = {
        "stream": _packed_norms(made, f"{name}/stream", study.shards("stream"), names, keys),
        "columns": _packed_columns(made, study, names, keys, beside),
    }


def _packed_norms(
    made: Contents, name: str, paths: Sequence[Path], names: Sequence[str], keys: pd.MultiIndex
) -> dict[str, Any]:
    """Add log norms as a block of bytes, layer by layer, and return their scale."""
    layers = columns.layers_in(pq.read_schema(paths[0]))
    frame = _values(paths, names, layers, keys)
    packed = quantised(np.stack([log_norms(frame[layer].to_numpy()) for layer in layers]))
    made.blocks[name] = block(packed.tobytes())
    return packed.scale()


def _packed_columns(
    made: Contents, study: Study, names: Sequence[str], keys: pd.MultiIndex, beside: Sequence[str]
) -> list[dict[str, Any]]:
    """Add the columns of further tables of tokens, at most two bytes per token and column."""
    described = []
    for folder in beside:
        paths = study.shards(folder)
        for column, entry in _shades(paths[0]).items():
            values = _values(paths, names, [column], keys)[column]
            one: dict[str, Any] = {"name": column, "label": entry.shade}
            if pd.api.types.is_bool_dtype(values.dropna().infer_objects()):
                values = values.map({True: "yes", False: "no"})
            if pd.api.types.is_numeric_dtype(values):
                packed = quantised(values.to_numpy(float, na_value=np.nan)[None], bits=16)
                codes, one["scale"] = packed.codes, packed.scale()
            else:
                codes, categories = pd.factorize(values.astype(object), sort=True)
                if len(categories) > MOST_CATEGORIES:
                    continue
                one["categories"] = [str(category) for category in categories]
                codes = np.where(codes < 0, 255, codes).astype(np.uint8)
            one["block"] = f"{study.model}/{study.corpus}.{column}"
            made.blocks[one["block"]] = block(codes.tobytes())
            described.append(one)
    return described


def _add_outcome(
    made: Contents, study: Study, entry: Entry, names: Sequence[str], keys: pd.MultiIndex
) -> None:
    """Add the outcome, layer by layer, if it cannot be computed from norms."""
    outcome = outcomes.OUTCOMES[entry["outcome"]]
    if outcome.folder == "norms":
        return
    paths = study.shards(study.site, outcome.folder)
    chosen = list(outcome.columns(pq.read_schema(paths[0]).names).values())
    frame = _values(paths, names, chosen, keys)
    packed = quantised(np.stack([regressed(outcome, frame[name].to_numpy()) for name in chosen]))
    entry["regressed"] = packed.scale()
    made.blocks[f"{study.name}.outcome"] = block(packed.tobytes())


def _add_design(
    made: Contents, study: Study, entry: Entry, names: Sequence[str], keys: pd.MultiIndex
) -> None:
    """Add the shared terms that the page needs for residuals, or else the residuals themselves."""
    if entry["stored"]:
        packed = quantised(residuals(study, entry, names, keys))
    elif entry["shared"]:
        frame = _values(study.design, names, entry["shared"], keys)
        packed = quantised(frame.to_numpy(float).T, bits=16)
    else:
        return
    entry["design"] = packed.scale()
    made.blocks[f"{study.name}.design"] = block(packed.tobytes())


def residuals(study: Study, entry: Entry, names: Sequence[str], keys: pd.MultiIndex) -> np.ndarray:
    """Return the residuals of a fit as (layers, tokens) floats; NaN if a token gives no row.

    They are the outcome minus the prediction of the coefficients in the study's ``entry`` of the
    index. With document effects, the mean over the rows of each document is subtracted.
    """
    by_layer = np.full((len(entry["layers"]), len(keys)), np.nan)
    document = keys.get_level_values("document")
    schema = set(pq.read_schema(study.design[0]).names)
    for place, layer in enumerate(entry["layers"]):
        coefficients = {
            term: values["estimate"][place]
            for term, values in entry["terms"].items()
            if np.isfinite(values["estimate"][place])
        }
        if not coefficients:
            continue
        intercept = coefficients.pop("intercept", 0.0)
        names_of_terms = columns_of(schema, layer, ["y", *coefficients])
        y, *x = (column for _, column in _values(study.design, names, names_of_terms, keys).items())
        left = y - intercept
        for coefficient, column in zip(coefficients.values(), x, strict=True):
            left = left - coefficient * column
        if entry["effects"]:
            left = left - left.groupby(document).transform("mean").to_numpy()
        by_layer[place] = left.to_numpy()
    return by_layer
