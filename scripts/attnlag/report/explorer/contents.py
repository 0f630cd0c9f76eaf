"""The contents of the explorer: answers, findings, coefficients, and each token with its log norm.

An index names the blocks of numbers, which the page reads when it needs them. Everything stands
beside the path of its table.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from attnlag.claims.training import scale_label, scale_of
from attnlag.claims.wording import away
from attnlag.corpus.catalogue import CATALOGUE
from attnlag.corpus.documents import first_of_groups, group_by_document
from attnlag.errors import counted
from attnlag.quantities import catalogue, columns
from attnlag.quantities.catalogue import SITES
from attnlag.quantities.outcomes import log_norms
from attnlag.regression import labels
from attnlag.regression.design.design import columns_of
from attnlag.regression.terms import distance, is_lag_or_lead, is_lead, named
from attnlag.report import answers
from attnlag.report.explorer import beyond, documents, kinds
from attnlag.report.explorer.packing import block, json_block, quantised
from attnlag.report.regression_tables import RegressionTables
from attnlag.storage import tables

TOKEN_KEYS = ["document", "window", "position"]

MOST_CATEGORIES = 40

# Columns of further tables of tokens that shade the text, with their labels.
SHADES = {name: entry.shade for name, entry in CATALOGUE.items() if entry.shade}

# Columns of coefficients and of controls in the index.
NUMBERS = ("estimate", "std_error", "conf_low", "conf_high", "p_value", "p_adjusted")
CONTROLS = ("permuted_low", "permuted_high", "trained")

# A regression in the index, as JSON.
Entry = dict[str, Any]


@dataclass
class Contents:
    """The contents of a page."""

    index: dict[str, Any] = field(default_factory=dict)
    # Compressed numbers and texts, by name.
    blocks: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, numbers: np.ndarray, bits: int = 8) -> dict[str, Any]:
        """Add numbers as a block, and return the scale that turns its codes into numbers."""
        codes, scale = quantised(numbers, bits)
        self.blocks[name] = block(codes)
        return scale


@dataclass
class ShownTokens:
    """The tokens of a model that the page shows."""

    documents: Sequence[str]
    keys: pd.MultiIndex  # `TOKEN_KEYS` of each token, in the order of the corpus

    def values(self, paths: Sequence[Path], names: Sequence[str]) -> pd.DataFrame:
        """Return columns of a table of tokens; NaN if the table lacks a token."""
        frame = tables.rows_of_documents(paths, self.documents, [*TOKEN_KEYS, *names])
        return frame.set_index(TOKEN_KEYS).reindex(self.keys)

    def log_norms(self, paths: Sequence[Path]) -> np.ndarray:
        """Return the log norms of a table, (layers, tokens)."""
        layers = columns.layers_in(pq.read_schema(paths[0]))
        frame = self.values(paths, layers)
        return np.stack([log_norms(frame[layer].to_numpy()) for layer in layers])


def contents(
    regressions: Sequence[RegressionTables],
    findings: Sequence[Path],
) -> Contents:
    """Read the contents of the page from all regressions of a run and the texts of all findings.

    It holds at most `documents.MOST_VALUES` of tokens, but at least one document of each corpus.
    """
    results = regressions[0].folder.parents[3]
    names = {regression.name for regression in regressions}
    page = Contents({"findings": [_findings(path, results, names) for path in findings]})
    page.index["answers"] = [
        {"of": study.split("/"), **of_study._asdict()}
        for study, of_study in answers.of_sites(regressions).items()
    ]
    entries = {regression.folder: _entry(regression) for regression in regressions}
    page.index["studies"] = list(entries.values())
    page.index |= {name: {} for name in ("texts", "norms", "beyond", "sources")}
    page.index["categories"] = labels.UPOS
    corpora = dict.fromkeys(regression.corpus for regression in regressions)
    values = documents.MOST_VALUES // len(corpora)
    for corpus in corpora:
        of_corpus = [one for one in regressions if one.corpus == corpus]
        documents_shown, tokens_of = _add_corpus(page, of_corpus, values)
        for regression in of_corpus:
            entry = entries[regression.folder]
            numbers = residuals(regression, entry["layers"], tokens_of[regression.model])
            name = f"{regression.study}/{regression.name}.residuals"
            entry["residuals"] = page.add(name, numbers)
            entry["about"] = about(page.index, entry, documents_shown)
    return page


def about(index: dict[str, Any], entry: Entry, documents_shown: str) -> str:
    """Return what the page holds of a study, and how it shows it."""
    site = "/".join(entry[name] for name in ("model", "corpus", "site"))
    step = max(index["norms"][site]["step"])
    return (
        f"The page holds {documents_shown}, with at most {documents.LONGEST:,} tokens each. "
        f"Log norms are rounded, with errors of at most {step / 2:.3g}. Colours span "
        "the central 99% of the tokens in a layer. Dashed: first tokens of a sequence, which the "
        "regressions leave out. Struck through: no value. A residual is the outcome minus the "
        f"prediction of the coefficients{', minus the mean of its document' * entry['effects']}. "
        "Coefficients, their intervals and the random order are of the whole corpus."
    )


def _findings(path: Path, results: Path, regressions: Collection[str]) -> dict[str, Any]:
    """Return findings, with the names of what they are of from their path."""
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    names = list(path.parent.relative_to(results).parts)
    # Directions and heads have folders of their own and belong to their site.
    if len(names) == 4 and names[-1] not in regressions:
        del names[3]
    return {"of": names, "lines": [*filter(None, lines)]}


def _entry(regression: RegressionTables) -> Entry:
    """Return the coefficients of a regression, its controls and what residuals need."""
    fits, settings = regression.fits.sort_values("layer"), regression.settings
    layers, outcome = fits["layer"].tolist(), settings["outcome"]
    folder, norms = regression.folder, beyond.folder_of(regression, "norms", regression.of_site)
    meanings = {
        "cross": labels.tested("≥", settings["alpha"], settings["adjust"]),
        "ring": labels.shown_within(settings["equivalence_bound"]),
    }
    terms = {}
    for term, rows in regression.coefficients.groupby("term", sort=False):
        rows = rows.set_index("layer").reindex(layers)
        controls = regression.controls[regression.controls["term"] == term].set_index("layer")
        untrained = labels.columns_before_training(controls)
        controls = controls.reindex(layers, columns=[*CONTROLS, *untrained])
        before = controls[untrained].dropna(axis="columns", how="all")
        before.columns = [before_training(str(name), regression) for name in before]
        terms[str(term)] = {
            **rows[[*NUMBERS]].join(controls[[*CONTROLS]]).astype(float).to_dict("list"),
            "tests": {"marks": marks(rows, settings["alpha"]), "meanings": meanings},
            "before": before.to_dict("list"),
        }
    return {
        "model": regression.model,
        "corpus": regression.corpus,
        "site": regression.site,
        "regression": regression.name,
        "layers": layers,
        "lags": [[term, named(term)] for term in regression.terms],
        "terms": terms,
        "rSquared": fits["r_squared"].tolist(),
        "rSquaredName": labels.R_SQUARED[settings["fixed_effects"]],
        "rows": int(fits["n_obs"].max()),
        "documents": int(fits["n_documents"].max()),
        "outcomeName": labels.OUTCOMES[outcome],
        "equation": equation(regression),
        "slopes": beyond.slopes(regression),
        "effects": regression.has_effects,
        "level": round(100 * (1 - settings["alpha"]), 6),
        "dropFirst": regression.record.settings("design")["drop_first"],
        "axes": {term: axis(term, outcome) for term in terms},
        "correction": labels.correction(settings["adjust"]),
        "tables": beyond.tables_of(regression, folder, "coefficients", "fits", "controls"),
        # Tables of the numbers that colour the text.
        "tablesOf": {
            "norm": norms,
            "relative": norms + beyond.folder_of(regression, "stream", regression.of_corpus),
            "residual": [
                *beyond.tables_of(regression, folder, "coefficients"),
                *beyond.folder_of(regression, "design", folder),
            ],
        },
    }


def marks(coefficients: pd.DataFrame, alpha: float) -> list[list[str]]:
    """Return the marks of coefficients by layer, as figures have them."""
    tests = zip(coefficients["equivalence"], coefficients["p_adjusted"], strict=True)
    return [
        ["ring"] * (equivalence == "absent") + ["cross"] * bool(p_adjusted >= alpha) or ["dot"]
        for equivalence, p_adjusted in tests
    ]


def equation(regression: RegressionTables) -> list[str]:
    """Return a regression as an equation, and what its symbol stands for."""
    outcome = regression.settings["outcome"]
    symbol = {"norm": "log a", "relative": "log r"}.get(outcome, "y")
    places = [f"t{'+' if is_lead(term) else '−'}{distance(term)}" for term in regression.terms]
    lags = [f"b{number} {symbol}[{place}]" for number, place in enumerate(places[:3], 1)]
    covariates = regression.record.settings("design")["covariates"]
    others = [name.replace("_", " ") for name in covariates]
    terms = [*["b0"] * (not regression.has_effects), *lags, *["…"] * (len(places) > 3), *others]
    terms += ["document"] * regression.has_effects
    over = "within documents" if regression.has_effects else "pooled over documents"
    return [
        f"{symbol}[t] = {' + '.join([*terms, 'e[t]'])}",
        f"{symbol[-1]}[t]: {labels.OUTCOMES[outcome].removeprefix('log ')} of the "
        f"{SITES[regression.site].label} of token t; {over}",
    ]


def before_training(column: str, regression: RegressionTables) -> str:
    """Return the name of a column of controls; a plain one has the first scale."""
    drawn = regression.before_training
    scale = scale_of(column, "" if drawn is None else next(iter(drawn["scale"]), ""))
    return f"before training, {scale_label(scale)} scale" if scale else "before training"


def axis(term: str, outcome: str) -> str:
    """Return what a coefficient says, as the label of an axis."""
    if not is_lag_or_lead(term) or not catalogue.OUTCOMES[outcome].logarithm:
        return f"{named(term)}: {labels.UNITS[outcome]}"
    return f"% longer per 1% longer {away(term)} {'later' if is_lead(term) else 'earlier'}"


def _add_corpus(
    page: Contents, regressions: Sequence[RegressionTables], values: int
) -> tuple[str, dict[str, ShownTokens]]:
    """Add the documents of a corpus; return these in words, and tokens by model."""
    first = regressions[0]
    files, corpus, name_of_corpus = first.files, first.corpus_file(), first.corpus
    # Any regression stands for its model, and for its site.
    models = {regression.model: regression for regression in regressions}
    sites = {regression.study: regression for regression in regressions}
    # Those whose tokens are traced to their sources come first, for they show everything.
    traced = beyond.traced_documents(list(sites.values()))
    candidates = first_of_groups(corpus, documents.MOST_CANDIDATES)
    order = list(dict.fromkeys([*traced, *candidates]))
    sequences = {
        model: tables.rows_of_documents(files.all_of("tokens", regression.of_corpus), order)
        for model, regression in models.items()
    }
    counts = {model: documents.token_counts(frame, order) for model, frame in sequences.items()}
    needed = pd.Series(0, order)
    for model, regression in models.items():
        fitted = [other.site for other in regressions if other.model == model]
        needed += counts[model] * _values_per_token(regression, len(set(fitted)), len(fitted))
    for name, regression in sites.items():
        page.index["beyond"][name] = {
            "heads": beyond.heads(regression),
            "causes": beyond.causes(regression),
            "traced": beyond.traced(regression),
        }
    shown = list(documents.with_room(needed, values).index)
    groups = group_by_document(corpus)
    documents_shown = "all " * (len(groups) > 1) + counted(len(groups), "document")
    if len(shown) < len(groups):
        documents_shown = f"{len(shown):,} of {counted(len(groups), 'document')}, taken from the "
        documents_shown += f"{counted(len(set(groups.values())), 'group')} in turn"
    for name, regression in sites.items():
        if written := beyond.sources(regression, shown):
            page.index["sources"][name], codes = written
            page.blocks[f"{name}.sources"] = block(codes.tobytes())
    tokens_of = {}
    for model, regression in models.items():
        stream = files.all_of("stream", regression.of_corpus)
        keys = pd.MultiIndex.from_frame(_beginnings(stream, shown))
        tokens = tokens_of[model] = ShownTokens(shown, keys)
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
                logs = tokens.log_norms(files.all_of("norms", of_site.of_site))
                page.index["norms"][name] = page.add(name, logs)
                drop_first = of_site.record.settings("design")["drop_first"]
                means = kinds.means(logs, keys, shades, drop_first)
                page.blocks[f"{name}.kinds"] = json_block(means)
    return documents_shown, tokens_of


def _values_per_token(regression: RegressionTables, sites: int, regressions: int) -> int:
    """Return the number of values that a token of a model takes: a byte each, before compression.

    They are its text, norms, columns of two bytes, and half of the residuals, which compress well.
    """
    (stream, *_) = regression.files.all_of("stream", regression.of_corpus)
    layers = len(columns.layers_in(pq.read_schema(stream)))
    return documents.OF_TEXT + layers * (sites + 1) + 2 * len(SHADES) + layers // 2 * regressions


def _beginnings(
    paths: Sequence[Path], shown: Sequence[str], names: Sequence[str] = ()
) -> pd.DataFrame:
    """Return the keys and other columns of the first tokens of documents."""
    frame = tables.rows_of_documents(paths, shown, [*TOKEN_KEYS, *names])
    return frame[frame.groupby("document").cumcount() < documents.LONGEST]


def _add_columns(
    page: Contents, regression: RegressionTables, tokens: ShownTokens
) -> tuple[list[dict[str, Any]], dict[str, pd.Categorical]]:
    """Add the columns of further tables; return these, and categories by name."""
    described, of_categories = [], {}
    for table in ("surprisal", "token_properties"):
        paths = regression.files.all_of(table, regression.of_corpus)
        names = pq.read_schema(paths[0]).names if paths else []
        for column in filter(SHADES.get, names):
            values = tokens.values(paths, [column])[column]
            name = f"{regression.model}/{regression.corpus}.{column}"
            shade: dict[str, Any] = {"name": column, "label": SHADES[column], "block": name}
            shade["tables"] = beyond.folder_of(regression, table, regression.of_corpus)
            if pd.api.types.is_bool_dtype(values.dropna().infer_objects()):
                values = values.map({True: "yes", False: "no"})
            if pd.api.types.is_numeric_dtype(values):
                numbers = values.to_numpy(float, na_value=np.nan)[None]
                shade["scale"] = page.add(name, numbers, bits=16)
            else:
                of_tokens = pd.Categorical(values.astype(object))
                if len(of_tokens.categories) > MOST_CATEGORIES:
                    continue
                shade["categories"] = list(map(str, of_tokens.categories))
                # The code of none, -1, becomes 255.
                page.blocks[name] = block(of_tokens.codes.astype(np.uint8).tobytes())
                of_categories[column] = of_tokens
            described.append(shade)
    return described, of_categories


def residuals(
    regression: RegressionTables, layers: Sequence[int], tokens: ShownTokens
) -> np.ndarray:
    """Return the residuals of a fit as (layers, tokens) floats; NaN if a token gives no row.

    They are the outcome minus its prediction in the design and, with document effects, minus the
    mean over the rows of each document.
    """
    paths = regression.files.all_of("design", regression.folder)
    merged = regression.record["merged"]
    of_design = pq.read_schema(paths[0]).names
    # The constant, and the factor of each column, in the residuals of a layer.
    constants, factors = [], []
    for layer in layers:
        rows = regression.coefficients.query("layer == @layer").dropna(subset="estimate")
        of_terms = dict(zip(rows["term"], -rows["estimate"], strict=True))
        constants.append(of_terms.pop("intercept", 0.0))
        of_terms |= {"y": 1.0} if of_terms else {}
        factors.append(
            {
                column: factor
                for term, factor in of_terms.items()
                for column in columns_of(of_design, layer, merged.get(term, [term]))
            }
        )
    # Read once, because the rows of the documents are looked for each time.
    frame = tokens.values(paths, sorted(set(chain.from_iterable(factors))))
    document = tokens.keys.get_level_values("document")
    by_layer = np.full((len(layers), len(frame)), np.nan)
    for place, (constant, of_columns) in enumerate(zip(constants, factors, strict=True)):
        if of_columns:
            residual = constant + frame[[*of_columns]] @ np.array([*of_columns.values()])
            if regression.has_effects:
                residual -= residual.groupby(document).transform("mean")
            by_layer[place] = residual
    return by_layer
