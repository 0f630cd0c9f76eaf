"""The contents of the explorer: answers, findings, sheets, and each token with its log norm.

An index names the blocks of numbers, which the page reads when it needs them. Everything stands
beside the path of its table.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from attnlag.claims.results import RegressionResults
from attnlag.claims.run import RunClaims
from attnlag.fields import scale_label
from attnlag.quantities.catalogue import SITES
from attnlag.regression import labels
from attnlag.regression.labels import scale_of
from attnlag.regression.terms import distance, is_lead, named
from attnlag.report import answers
from attnlag.report.explorer import documents, sheets, tokens
from attnlag.report.explorer.documents import ShownDocuments
from attnlag.report.explorer.packing import block, json_block, quantised
from attnlag.report.explorer.paths import folder_of, tables_of
from attnlag.report.explorer.tokens import ShownTokens

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

    def add(self, name: str, numbers: np.ndarray) -> dict[str, Any]:
        """Add numbers as a block, and return the scale that turns its codes into numbers."""
        codes, scale = quantised(numbers)
        self.blocks[name] = block(codes)
        return scale

    def add_json(self, name: str, value: Any) -> None:
        """Add a JSON value as a block."""
        self.blocks[name] = json_block(value)


def contents(
    regressions: Sequence[RegressionResults], claims: RunClaims, findings: Sequence[Path]
) -> Contents:
    """Read the contents of the page from tables, claims and texts of findings of a run.

    It holds at most `documents.MAX_VALUES` of tokens, but at least one document of each corpus.
    """
    results = regressions[0].folder.parents[3]
    names = {regression.name for regression in regressions}
    page = Contents()
    page.index["findings"] = [_findings(path, results, names) for path in findings]
    page.index["answers"] = []
    for site, site_answers in answers.answers_by_site(claims).items():
        page.index["answers"].append({"of": list(site), **site_answers._asdict()})
    page.index["categories"] = labels.UPOS
    page.index |= {"studies": [], "sheets": {}, "texts": {}, "norms": {}, "sources": {}}
    by_corpus = regressions_by_corpus(regressions)
    values = documents.MAX_VALUES // len(by_corpus)
    shown = {}
    tokens_of_models = {}
    for corpus, corpus_regressions in by_corpus.items():
        shown[corpus] = documents.chosen_documents(corpus_regressions, values)
        for model, regression in _by(corpus_regressions, "model").items():
            tokens_of_models[model, corpus] = add_texts(page, regression, shown[corpus])
    for study, regression in _by(regressions, "study").items():
        add_site(page, study, regression, tokens_of_models[regression.model, regression.corpus])
    for regression in regressions:
        shown_tokens = tokens_of_models[regression.model, regression.corpus]
        add_regression(page, regression, shown_tokens, shown[regression.corpus])
    return page


def regressions_by_corpus(
    regressions: Sequence[RegressionResults],
) -> dict[str, list[RegressionResults]]:
    """Return the regressions of each corpus."""
    found: dict[str, list[RegressionResults]] = {}
    for regression in regressions:
        found.setdefault(regression.corpus, []).append(regression)
    return found


def _by(regressions: Sequence[RegressionResults], name: str) -> Mapping[str, RegressionResults]:
    """Return any one regression by each value of an attribute."""
    return {getattr(regression, name): regression for regression in regressions}


def add_texts(page: Contents, regression: RegressionResults, shown: ShownDocuments) -> ShownTokens:
    """Add the texts of a model and a corpus, the norms of its stream and properties of tokens."""
    stream = regression.paths("stream", regression.study_folder)
    shown_tokens = tokens.first_tokens(stream, shown.names)
    name = f"{regression.model}/{regression.corpus}"
    texts = documents.texts_of(shown.names, shown.corpus, shown.sequences[regression.model])
    page.add_json(f"{name}.texts", texts)
    page.add_json(f"{name}.shades", tokens.shades(regression, shown_tokens))
    page.index["texts"][name] = page.add(f"{name}.stream", shown_tokens.log_norms(stream))
    return shown_tokens


def add_site(
    page: Contents, study: str, regression: RegressionResults, shown_tokens: ShownTokens
) -> None:
    """Add the norms of a site, who wrote its adjustments, and its sheets."""
    norms = regression.paths("norms", regression.site_folder)
    page.index["norms"][study] = page.add(f"{study}.norms", shown_tokens.log_norms(norms))
    written = tokens.writers(regression, shown_tokens.documents)
    if written:
        page.add_json(f"{study}.sources", written.pop("writers"))
        page.index["sources"][study] = written
    page.index["sheets"][study] = sheets.sheets_of_site(regression)


def add_regression(
    page: Contents, regression: RegressionResults, shown_tokens: ShownTokens, shown: ShownDocuments
) -> None:
    """Add the coefficients of a regression, its sheets, and the residuals of tokens."""
    entry = entry_of(regression)
    name = f"{regression.study}/{regression.name}"
    numbers = tokens.residuals(regression, entry["layers"], shown_tokens)
    entry["residuals"] = page.add(f"{name}.residuals", numbers)
    step = max(page.index["norms"][regression.study]["step"])
    entry["about"] = about(regression, step, shown)
    page.index["studies"].append(entry)
    page.index["sheets"][name] = sheets.sheets_of_regression(regression)


def about(regression: RegressionResults, step: float, shown: ShownDocuments) -> str:
    """Return what the page holds of a study, and how it shows it."""
    residual = "A residual is the outcome minus the prediction of the coefficients"
    if regression.has_fixed_effects:
        residual += ", minus the mean of its document"
    return (
        f"The page holds {shown.in_words}, with at most {documents.LONGEST:,} tokens each. "
        f"Log norms are rounded, with errors of at most {step / 2:.3g}. Colours span the central "
        "99% of the tokens in a layer. Dashed: first tokens of a sequence, which the regressions "
        f"leave out. Struck through: no value. {residual}. Coefficients, their intervals and the "
        "random order are of the whole corpus."
    )


def _findings(path: Path, results: Path, regressions: Collection[str]) -> dict[str, Any]:
    """Return findings, with the names of what they are of from their path."""
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    names = list(path.parent.relative_to(results).parts)
    # Directions and heads have folders of their own and belong to their site.
    if len(names) == 4 and names[-1] not in regressions:
        del names[3]
    return {"of": names, "lines": [*filter(None, lines)]}


def entry_of(regression: RegressionResults) -> Entry:
    """Return the coefficients of a regression and its controls."""
    fits = regression.fits.sort_values("layer")
    settings = regression.settings
    layers = fits["layer"].tolist()
    terms = list(map(str, regression.coefficients["term"].unique()))
    lags = []
    for term in regression.terms or terms:
        lags.append([term, named(term)])
    numbers = {}
    for term in terms:
        numbers[term] = _numbers(regression, term, layers)
    return {
        "model": regression.model,
        "corpus": regression.corpus,
        "site": regression.site,
        "regression": regression.name,
        "layers": layers,
        "lags": lags,
        "terms": numbers,
        "rSquared": fits["r_squared"].tolist(),
        "rSquaredName": labels.R_SQUARED[settings["fixed_effects"]],
        "rows": int(fits["n_obs"].max()),
        "documents": int(fits["n_documents"].max()),
        "outcomeName": labels.OUTCOMES[settings["outcome"]],
        "equation": equation(regression),
        "effects": regression.has_fixed_effects,
        "level": round(100 * float(regression.coefficients["level"].iloc[0]), 6),
        "dropFirst": regression.record.settings("design")["drop_first"],
        "correction": labels.correction(settings["adjust"]),
        "tables": tables_of(regression, regression.folder, "coefficients", "fits", "controls"),
        "tablesOf": _tables_of_shades(regression),
    }


def _numbers(regression: RegressionResults, term: str, layers: Sequence[int]) -> dict[str, Any]:
    """Return the numbers of a term by layer, and those of its controls."""
    rows = regression.coefficients[regression.coefficients["term"] == term]
    controls = regression.controls[regression.controls["term"] == term]
    drawn = labels.untrained_columns(controls)
    controls = controls.set_index("layer").reindex(list(layers), columns=[*CONTROLS, *drawn])
    untrained = controls[drawn].dropna(axis="columns", how="all").rename(columns=untrained_name)
    term_rows = rows.set_index("layer").reindex(list(layers))[[*NUMBERS]]
    numbers = term_rows.join(controls[[*CONTROLS]]).astype(float)
    made: dict[str, Any] = {}
    for name in (*NUMBERS, *CONTROLS):
        made[name] = numbers[name].tolist()
    made["untrained"] = untrained.to_dict("list")
    return made


def _tables_of_shades(regression: RegressionResults) -> dict[str, list[str]]:
    """Return the tables of the numbers that colour the text."""
    norms = folder_of(regression, "norms", regression.site_folder)
    design = folder_of(regression, "design", regression.folder)
    return {
        "norm": norms,
        "relative": norms + folder_of(regression, "stream", regression.study_folder),
        "residual": tables_of(regression, regression.folder, "coefficients") + design,
    }


def equation(regression: RegressionResults) -> list[str]:
    """Return a regression as an equation, and what its symbol stands for."""
    outcome = regression.settings["outcome"]
    symbol = {"norm": "log a", "relative": "log r"}.get(outcome, "y")
    terms = []
    if not regression.has_fixed_effects:
        terms.append("b0")
    for number, term in enumerate(regression.terms[:3], 1):
        sign = "+" if is_lead(term) else "−"
        terms.append(f"b{number} {symbol}[t{sign}{distance(term)}]")
    if len(regression.terms) > 3:
        terms.append("…")
    for covariate in regression.record.settings("design")["covariates"]:
        terms.append(covariate.replace("_", " "))
    over = "pooled over documents"
    if regression.has_fixed_effects:
        terms.append("document")
        over = "within documents"
    return [
        f"{symbol}[t] = {' + '.join([*terms, 'e[t]'])}",
        f"{symbol[-1]}[t]: {labels.OUTCOMES[outcome].removeprefix('log ')} of the "
        f"{SITES[regression.site].label} of token t; {over}",
    ]


def untrained_name(column: str) -> str:
    """Return the name of a column of controls."""
    return f"untrained, {scale_label(scale_of(column))} scale"
