"""The contents of the explorer: answers, findings, coefficients, and each token with its log norm.

An index lists the contents and names the blocks of numbers; the page reads a block when it needs
it, and computes none of them. Everything stands beside the path of the table that it comes from.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from pydantic import TypeAdapter

from attnlag.corpus.catalogue import CATALOGUE, TokenProperty
from attnlag.corpus.documents import group_by_document
from attnlag.errors import counted
from attnlag.quantities import catalogue, columns
from attnlag.quantities.catalogue import SITES
from attnlag.quantities.norms import log_norms
from attnlag.regression.design.design import columns_of
from attnlag.regression.labels import (
    BEFORE_TRAINING,
    OUTCOMES,
    R_SQUARED,
    UNITS,
    UPOS,
    correction,
    shown_within,
    tested,
)
from attnlag.regression.settings import DesignSettings
from attnlag.regression.terms import distance, is_lag, is_lead, named
from attnlag.report import answers
from attnlag.report.answers import TOKENS_AWAY
from attnlag.report.explorer import beyond, documents, kinds
from attnlag.report.explorer.beyond import path_in_results
from attnlag.report.explorer.packing import Quantised, block, json_block, quantised
from attnlag.report.regression_tables import RegressionTables
from attnlag.storage import tables

TOKEN_KEYS = ["document", "window", "position"]

MOST_CATEGORIES = 40

# Columns of controls, with their names in the index.
NAMES_OF_CONTROLS = {
    "permuted_low": "permutedLow",
    "permuted_high": "permutedHigh",
    "permuted_mean": "permutedMean",
    "trained": "uncorrected",
}

# Endings of columns of controls before training, with the scales that they stand for.
SCALES = {"own": "own scale", "default": "default scale", "by_depth": "scale by depth"}

# Columns of coefficients, with their names in the index.
NAMES_OF_NUMBERS = {
    "estimate": "estimate",
    "std_error": "stdError",
    "conf_low": "low",
    "conf_high": "high",
    "p_value": "p",
    "p_adjusted": "pAdjusted",
}

# A regression in the index, as JSON.
Entry = dict[str, Any]


@dataclass
class Contents:
    """The contents of a page."""

    index: dict[str, Any] = field(default_factory=dict)
    # Compressed numbers and texts, by name.
    blocks: dict[str, str] = field(default_factory=dict)
    values: int = 0  # number of values of the tokens shown, about their bytes in the page

    def add(self, name: str, numbers: Quantised) -> dict[str, Any]:
        """Add numbers as a block, and return the scale that turns its codes into numbers."""
        self.blocks[name] = block(numbers.tobytes())
        return numbers.scale()


@dataclass
class ShownTokens:
    """The tokens of a model that the page shows."""

    documents: Sequence[str]
    keys: pd.MultiIndex  # `TOKEN_KEYS` of each token, in the order of the corpus

    def values(self, paths: Sequence[Path], names: Sequence[str]) -> pd.DataFrame:
        """Return columns of a table of tokens; NaN if the table lacks a token."""
        frame = tables.rows_of_documents(paths, self.documents, [*TOKEN_KEYS, *names])
        return frame.set_index(TOKEN_KEYS).reindex(self.keys)

    def log_norms_of(self, paths: Sequence[Path]) -> np.ndarray:
        """Return the log norms of a table, (layers, tokens)."""
        layers = columns.layers_in(pq.read_schema(paths[0]))
        frame = self.values(paths, layers)
        return np.stack([log_norms(frame[layer].to_numpy()) for layer in layers])

    def log_norms(self, paths: Sequence[Path]) -> Quantised:
        """Return the log norms of a table, layer by layer."""
        return quantised(self.log_norms_of(paths))


def contents(
    regressions: Sequence[RegressionTables],
    findings: Sequence[Path],
    values: int = documents.MOST_VALUES,
) -> Contents:
    """Read the contents of the page from all regressions of a run.

    Parameters
    ----------
    regressions : sequence of RegressionTables
        The regressions of all studies, with one set of declared files.
    findings : sequence of Path
        Texts of findings, of regressions and of other stages.
    values : int
        Largest number of values of tokens; of each corpus, one document is always shown.
    """
    results = regressions[0].folder.parents[3]
    names = {regression.name for regression in regressions}
    page = Contents({"findings": [_findings(path, results, names) for path in findings]})
    page.index["answers"] = [
        {"of": site, **of_site._asdict()} for site, of_site in answers.of_sites(regressions).items()
    ]
    page.index["studies"] = entries = [_entry(regression) for regression in regressions]
    page.index |= {name: {} for name in ("corpora", "texts", "norms", "heads", "beyond", "sources")}
    page.index["categories"] = UPOS
    corpora = dict.fromkeys(regression.corpus for regression in regressions)
    for corpus in corpora:
        of_corpus = [
            (regression, entry)
            for regression, entry in zip(regressions, entries, strict=True)
            if regression.corpus == corpus
        ]
        _add_corpus(page, of_corpus, values // len(corpora))
    for entry in entries:
        entry["about"] = about(page.index, entry)
    return page


def about(index: dict[str, Any], entry: Entry) -> str:
    """Return what the page holds of a study, and how it shows it."""
    corpus = index["corpora"][entry["corpus"]]
    site = "/".join(entry[name] for name in ("model", "corpus", "site"))
    documents, heads = counted(corpus["documents"], "document"), index["heads"].get(site)
    shown = f"all {documents}"
    if corpus["shown"] < corpus["documents"]:
        shown = f"{corpus['shown']:,} of {documents}, taken from the "
        shown += f"{counted(corpus['groups'], 'group')} in turn"
    of_heads = f", and the heads of {len(heads['documents']):,} of them" if heads else ""
    return (
        f"The page holds {shown}, with at most {corpus['longest']:,} tokens each{of_heads}. Log "
        f"norms are rounded, with errors of at most {max(index['norms'][site]['step']) / 2:.3g}. "
        "Colours span the central 99% of the tokens in a layer. Dashed: first tokens of a "
        "sequence, which the regressions leave out. Struck through: no value. A residual is the "
        "outcome minus the prediction of the coefficients"
        f"{', minus the mean of its document' * entry['effects']}. Coefficients, their intervals "
        "and the random order are of the whole corpus."
    )


def _findings(path: Path, results: Path, regressions: Collection[str]) -> dict[str, Any]:
    """Return findings with the names of their model, corpus, site and regression, from the path."""
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    names = list(path.parent.relative_to(results).parts)
    # Directions and heads have folders of their own and belong to their site.
    if len(names) == 4 and names[-1] not in regressions:
        del names[3]
    return {"of": names, "lines": [*filter(None, lines)]}


def _entry(regression: RegressionTables) -> Entry:
    """Return the coefficients of a regression, its controls and what residuals need."""
    fits = regression.fits.sort_values("layer")
    settings = TypeAdapter(DesignSettings).validate_python(regression.record.settings("design"))
    layers = fits["layer"].tolist()

    def by_layer(rows: pd.DataFrame, column: str) -> list[float]:
        if column not in rows:
            return [np.nan] * len(layers)
        return rows.set_index("layer")[column].reindex(layers).astype(float).tolist()

    meanings = {
        "cross": tested("≥", regression.settings["alpha"], regression.settings["adjust"]),
        "ring": shown_within(regression.settings["equivalence_bound"]),
    }
    terms = {}
    for term, rows in regression.coefficients.groupby("term", sort=False):
        controls = regression.controls[regression.controls["term"] == term]
        terms[str(term)] = {
            **{name: by_layer(rows, column) for column, name in NAMES_OF_NUMBERS.items()},
            **{name: by_layer(controls, column) for column, name in NAMES_OF_CONTROLS.items()},
            "tests": {
                "marks": marks(
                    rows.set_index("layer").reindex(layers), regression.settings["alpha"]
                ),
                "meanings": meanings,
            },
            "before": {
                before_training(column, regression): by_layer(controls, column)
                for column in BEFORE_TRAINING
                if column in controls and controls[column].notna().any()
            },
        }
    return {
        "model": regression.model,
        "corpus": regression.corpus,
        "site": regression.site,
        "regression": regression.name,
        "layers": layers,
        "lags": [[term, named(term)] for term in regression.terms],
        "terms": terms,
        "rSquared": by_layer(fits, "r_squared"),
        "rSquaredName": R_SQUARED[regression.settings["fixed_effects"]],
        "rows": int(fits["n_obs"].max()),
        "documents": int(fits["n_documents"].max()),
        "outcomeName": OUTCOMES[settings.outcome],
        "equation": equation(regression, settings),
        "slopes": beyond.slopes(regression),
        "effects": regression.has_effects,
        "level": round(100 * (1 - regression.settings["alpha"]), 6),
        "dropFirst": settings.drop_first,
        "axes": {term: axis(term, settings.outcome) for term in terms},
        "correction": correction(regression.settings["adjust"]),
        "tables": [
            path_in_results(regression.folder / f"{name}.csv")
            for name in ("coefficients", "fits", "controls")
        ],
    }


def marks(coefficients: pd.DataFrame, alpha: float) -> list[list[str]]:
    """Return the marks of a term's coefficients by layer, which mean what they do in figures."""
    tests = zip(coefficients["equivalence"], coefficients["p_adjusted"], strict=True)
    return [
        ["ring"] * (equivalence == "absent") + ["cross"] * bool(p_adjusted >= alpha) or ["dot"]
        for equivalence, p_adjusted in tests
    ]


def equation(regression: RegressionTables, settings: DesignSettings) -> list[str]:
    """Return a regression as an equation, and what its symbol stands for."""
    symbol = {"norm": "log a", "relative": "log r"}.get(settings.outcome, "y")
    places = [f"t{'+' if is_lead(term) else '−'}{distance(term)}" for term in regression.terms]
    lags = [f"b{number} {symbol}[{place}]" for number, place in enumerate(places[:3], 1)]
    others = [name.replace("_", " ") for name in settings.covariates]
    terms = [*["b0"] * (not regression.has_effects), *lags, *["…"] * (len(places) > 3), *others]
    terms += ["document"] * regression.has_effects
    over = "within documents" if regression.has_effects else "pooled over documents"
    return [
        f"{symbol}[t] = {' + '.join([*terms, 'e[t]'])}",
        f"{symbol[-1]}[t]: {OUTCOMES[settings.outcome].removeprefix('log ')} of the "
        f"{SITES[regression.site].label} of token t; {over}",
    ]


def before_training(column: str, regression: RegressionTables) -> str:
    """Return what a column of the controls before training is called: by the scale of its weights.

    The column without a scale in its name has the first scale that was drawn.
    """
    scale, drawn = column.removeprefix("random_weights_"), regression.before_training
    if scale not in SCALES and drawn is not None and len(drawn):
        scale = drawn["scale"].iloc[0].replace("-", "_")
    return "before training" + (f", {SCALES[scale]}" if scale in SCALES else "")


def axis(term: str, outcome: str) -> str:
    """Return what a coefficient says, as the label of an axis."""
    if not is_lag(term) or not catalogue.OUTCOMES[outcome].logarithm:
        return f"{named(term)}: {UNITS[outcome]}"
    away = TOKENS_AWAY.get(distance(term), f"{distance(term)} tokens")
    return f"% longer per 1% longer {away} {'later' if is_lead(term) else 'earlier'}"


def _values_of_terms(
    regression: RegressionTables, terms: Mapping[int, Sequence[str]], tokens: ShownTokens
) -> Iterator[np.ndarray]:
    """Yield the values of terms in the design that was fitted, (terms, tokens), layer by layer."""
    paths = regression.files.all_of("design", regression.folder)
    merged = regression.record["merged"]
    of_design = pq.read_schema(paths[0]).names
    names = [
        [columns_of(of_design, layer, merged.get(term, [term])) for term in of_layer]
        for layer, of_layer in terms.items()
    ]
    # Read once, because the rows of the documents are looked for each time.
    used = set(chain.from_iterable(chain.from_iterable(names)))
    frame = tokens.values(paths, sorted(used))
    for of_terms in names:
        yield np.stack([frame[term].sum(axis=1, skipna=False) for term in of_terms])


def _add_corpus(
    page: Contents,
    regressions: Sequence[tuple[RegressionTables, Entry]],
    values: int,
) -> None:
    """Add the documents of one corpus, with the numbers of all its regressions."""
    first, _ = regressions[0]
    files, corpus, name_of_corpus = first.files, first.corpus_file(), first.corpus
    # Any regression stands for its model, and for its site.
    models = {regression.model: regression for regression, _ in regressions}
    sites = {_name_of_site(regression): regression for regression, _ in regressions}
    # Those whose tokens are traced to their sources come first, for they show everything.
    traced = beyond.traced_documents(list(sites.values()))
    order = list(dict.fromkeys([*traced, *documents.candidates(corpus)]))
    sequences = {
        model: tables.rows_of_documents(files.all_of("tokens", regression.of_corpus), order)
        for model, regression in models.items()
    }
    counts = {model: documents.token_counts(frame) for model, frame in sequences.items()}
    per_token = [
        _values_per_token(
            regression,
            sum(of_site.model == model for of_site in sites.values()),
            [entry for _, entry in regressions if entry["model"] == model],
        )
        for model, regression in models.items()
    ]
    for name, regression in sites.items():
        page.index["beyond"][name] = {
            "heads": beyond.heads(regression),
            "causes": beyond.causes(regression),
            "traced": beyond.traced(regression),
        }
    # Heads take what documents leave, and at least a quarter.
    with_heads = [name for name in sites if page.index["beyond"][name]["heads"]]
    reserved = values // 4 if with_heads else 0
    shown, taken = documents.with_room(order, list(counts.values()), per_token, values - reserved)
    groups = group_by_document(corpus)
    page.index["corpora"][name_of_corpus] = {
        "documents": len(groups),
        "groups": len(set(groups.values())),
        "shown": len(shown),
        "longest": documents.LONGEST,
    }
    for name, regression in sites.items():
        if written := beyond.sources(regression, shown):
            page.index["sources"][name], codes = written
            page.blocks[f"{name}.sources"] = block(codes.tobytes())
            taken += codes.size
    page.values += taken
    for name in with_heads:
        room = max(values - taken, 0) // len(with_heads)
        page.values += _add_heads(page, sites[name], shown, counts[sites[name].model], room)
    for model, regression in models.items():
        stream = files.all_of("stream", regression.of_corpus)
        keys = pd.MultiIndex.from_frame(_beginnings(stream, shown))
        tokens = ShownTokens(shown, keys)
        name = f"{model}/{name_of_corpus}"
        texts = documents.texts_of(shown, corpus, sequences[model])
        page.blocks[f"{name}.texts"] = json_block(texts)
        described, shades = _add_columns(page, regression, tokens)
        page.index["texts"][name] = {
            "stream": page.add(f"{name}/stream", tokens.log_norms(stream)),
            "columns": described,
        }
        for name, of_site in sites.items():
            if of_site.model == model:
                paths = files.all_of("norms", of_site.of_site)
                page.index["norms"][name] = page.add(name, tokens.log_norms(paths))
                drop_first = of_site.record.settings("design")["drop_first"]
                page.blocks[f"{name}.kinds"] = json_block(
                    kinds.means(tokens.log_norms_of(paths), keys, shades, drop_first)
                )
        for of_model, entry in regressions:
            if of_model.model == model:
                numbers = quantised(residuals(of_model, entry, tokens))
                name = f"{_name_of_site(of_model)}/{of_model.name}.residuals"
                entry["residuals"] = page.add(name, numbers)


def _name_of_site(regression: RegressionTables) -> str:
    """Return the name of a model, corpus and site in the index."""
    return f"{regression.model}/{regression.corpus}/{regression.site}"


def _add_heads(
    page: Contents,
    regression: RegressionTables,
    shown: Sequence[str],
    counts: Mapping[str, int],
    room: int,
) -> int:
    """Add log norms of what heads write, half a byte each, and return their values.

    There is room for the first of the documents shown, perhaps for none.
    """
    paths = regression.files.all_of("head_norms", regression.of_site)
    schema = pq.read_schema(paths[0])
    layers = columns.layers_in(schema)
    heads = schema.field(layers[0]).type.list_size
    with_room, taken = documents.with_room(shown, [counts], [len(layers) * heads // 2], room)
    if taken > room:
        return 0
    frame = _beginnings(paths, with_room, layers)
    logs = log_norms(np.concatenate([np.stack(list(frame[layer])).T for layer in layers]))
    # A shade needs no more than the central values of a head.
    ends = np.nanquantile(logs, [0.005, 0.995], axis=1, keepdims=True)
    name = _name_of_site(regression)
    page.index["heads"][name] = {
        "heads": heads,
        "documents": list(dict.fromkeys(frame["document"])),
        "scale": page.add(f"{name}.heads", quantised(np.clip(logs, *ends), bits=4)),
    }
    return taken


def _values_per_token(regression: RegressionTables, sites: int, entries: Sequence[Entry]) -> int:
    """Return the number of values that a token of a model takes: a byte each, before compression.

    They are its text, its norms, and columns of two bytes.
    """
    (stream, *_) = regression.files.all_of("stream", regression.of_corpus)
    layers = len(columns.layers_in(pq.read_schema(stream)))
    # Half of the residuals, which compress better than norms.
    of_fits = (layers // 2 for _ in entries)
    shades = sum(len(_shades(paths[0])) for paths in _tables_of_tokens(regression))
    return documents.OF_TEXT + layers * (sites + 1) + 2 * shades + sum(of_fits)


def _tables_of_tokens(regression: RegressionTables) -> list[list[Path]]:
    """Return the files of further tables of tokens, whose columns can shade the text too."""
    tables_of_tokens = (
        regression.files.all_of(name, regression.of_corpus)
        for name in ("surprisal", "token_properties")
    )
    return [paths for paths in tables_of_tokens if paths]


def _shades(path: Path) -> dict[str, TokenProperty]:
    """Return the columns of a table of tokens that shade the text."""
    names = pq.read_schema(path).names
    return {name: CATALOGUE[name] for name in names if name in CATALOGUE and CATALOGUE[name].shade}


def _beginnings(
    paths: Sequence[Path], shown: Sequence[str], names: Sequence[str] = ()
) -> pd.DataFrame:
    """Return the keys and other columns of the tokens of documents; long ones are cut off."""
    frame = tables.rows_of_documents(paths, shown, [*TOKEN_KEYS, *names])
    return frame[frame.groupby("document").cumcount() < documents.LONGEST]


def _add_columns(
    page: Contents, regression: RegressionTables, tokens: ShownTokens
) -> tuple[list[dict[str, Any]], dict[str, pd.Categorical]]:
    """Add the columns of further tables of tokens, at most two bytes per token and column.

    The second value has the columns of categories by name.
    """
    described, of_categories = [], {}
    for paths in _tables_of_tokens(regression):
        for column, entry in _shades(paths[0]).items():
            values = tokens.values(paths, [column])[column]
            name = f"{regression.model}/{regression.corpus}.{column}"
            shade: dict[str, Any] = {"name": column, "label": entry.shade, "block": name}
            if pd.api.types.is_bool_dtype(values.dropna().infer_objects()):
                values = values.map({True: "yes", False: "no"})
            if pd.api.types.is_numeric_dtype(values):
                numbers = values.to_numpy(float, na_value=np.nan)[None]
                shade["scale"] = page.add(name, quantised(numbers, bits=16))
            else:
                codes, categories = pd.factorize(values.astype(object), sort=True)
                if len(categories) > MOST_CATEGORIES:
                    continue
                shade["categories"] = list(map(str, categories))
                codes = np.where(codes < 0, 255, codes).astype(np.uint8)
                page.blocks[name] = block(codes.tobytes())
                of_categories[column] = pd.Categorical(values.astype(object), categories)
            described.append(shade)
    return described, of_categories


def residuals(regression: RegressionTables, entry: Entry, tokens: ShownTokens) -> np.ndarray:
    """Return the residuals of a fit as (layers, tokens) floats; NaN if a token gives no row.

    They are the outcome minus the prediction of the coefficients in the regression's ``entry`` of
    the index. With document effects, the mean over the rows of each document is subtracted.
    """
    by_layer = np.full((len(entry["layers"]), len(tokens.keys)), np.nan)
    document = tokens.keys.get_level_values("document")
    fitted: dict[int, dict[str, float]] = {}
    for place in range(len(entry["layers"])):
        estimates = {term: values["estimate"][place] for term, values in entry["terms"].items()}
        if known := {term: value for term, value in estimates.items() if np.isfinite(value)}:
            fitted[place] = known
    intercepts = {place: known.pop("intercept", 0.0) for place, known in fitted.items()}
    terms = {entry["layers"][place]: ["y", *known] for place, known in fitted.items()}
    for place, (y, *x) in zip(fitted, _values_of_terms(regression, terms, tokens), strict=True):
        slopes = np.array(list(fitted[place].values()))
        residual = pd.Series(y - intercepts[place] - slopes @ x)
        if entry["effects"]:
            residual -= residual.groupby(document).transform("mean")
        by_layer[place] = residual
    return by_layer
