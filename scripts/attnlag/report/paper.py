"""The methods of a run in words, and the references that they cite.

Everything is said of the settings with which the tables were made, which their provenance records.
The paragraphs are Markdown with Pandoc's citations (``[@holm1979]``).
"""

import itertools
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from attnlag import __version__
from attnlag.claims import training
from attnlag.corpus.documents import group_by_document
from attnlag.errors import counted, listed
from attnlag.figures import catalogue
from attnlag.quantities.catalogue import OUTCOMES, SITES
from attnlag.regression.covariances import CATALOGUE as COVARIANCES
from attnlag.regression.design.covariates import CATALOGUE
from attnlag.regression.labels import spans
from attnlag.report.regression_tables import RegressionTables
from attnlag.storage import tables

CORRECTIONS = {
    "holm": "corrected over the layers for each term (Holm [@holm1979])",
    "benjamini-hochberg": "corrected over the layers for each term (Benjamini and Hochberg "
    "[@benjamini1995])",
    "none": "not corrected for the number of layers",
}
# Where a model comes from, by the kind of its source.
ORIGINS = {
    "hub": "`{repository}` on the Hugging Face hub at {revision}",
    "package": "`{file}` in the Python package {package} {version}",
    "path": "a copy on disk with the SHA-256 {digest:.12}",
}
PREDICTIVE = (
    "The coefficients are predictive associations, not effects: all tokens of a layer are computed "
    "in parallel from the layer before."
)


def methods(
    regressions: Sequence[RegressionTables],
    models: Mapping[str, dict[str, Any]],
    figures: Collection[str] = (),
) -> str:
    """Return the methods as Markdown, a paragraph for each model and corpus of all regressions.

    ``models`` has the content of the ``source.json`` of each. A last paragraph has the sentence
    that the module of each of the ``figures`` states.
    """
    paragraphs = []
    for _, same_corpus in itertools.groupby(regressions, lambda regression: regression.of_corpus):
        study = list(same_corpus)
        versions = {name: v for one in study for name, v in one.record["versions"].items()}
        packages = ", ".join(map(" ".join, sorted(versions.items())))
        software = f"Software: attnlag {__version__} [@attnlag] with {packages}."
        measured = _measured(study, models[study[0].model])
        paragraphs.append(" ".join([*measured, *_regressed(study), PREDICTIVE, software]))
    paragraphs.append(" ".join(one.method for one in catalogue.figures() if one.name in figures))
    return "\n\n".join(filter(None, paragraphs)) + "\n"


def _measured(study: Sequence[RegressionTables], model: dict[str, Any]) -> Iterable[str]:
    """Yield the model, the corpus with its counts, what was measured, and what was left out."""
    first, record = study[0], study[0].record
    corpus, used = record["corpus"], record.settings("activations")["used"]
    weights = f", {model['bits']}-bit weights" if "bits" in model else ""
    weights += f", {model['quantization']}" if "quantization" in model else ""
    shards = first.files.all_of("tokens", first.of_corpus)
    total = pd.DataFrame(tables.read_provenance(path)["tokens"] for path in shards).sum()
    groups = set(group_by_document(first.corpus_file()).values())
    yield (
        f"We ran `{model['name']}` ({ORIGINS[model['source']].format_map(model)}; "
        f"{model['layers']} layers of width {model['width']}, {model['parameters']:,} parameters"
        f"{weights}) in {used['dtype']} on {used['device'].upper()} over the corpus "
        f"`{corpus['name']}` ({counted(corpus['documents'], 'document')} in "
        f"{counted(len(groups), 'group')}, {corpus['characters']:,} characters, "
        f"{counted(total['tokens'], 'token')}; SHA-256 {corpus['digest'][:12]})."
    )
    limits = [record.settings("tokens")["max_length"], model["context_length"]]
    longest = min((limit for limit in limits if limit), default=0)
    if total["split"]:
        yield (
            f"The {counted(total['split'], 'document')} longer than {longest:,} tokens became "
            f"windows of at most that length; no lag crosses from one into the next."
        )
    if total["truncated"]:
        yield f"{counted(total['truncated'], 'document')} were cut off after {longest:,} tokens."
    if total["bos"]:
        yield "A begin-of-sequence token preceded every sequence."
    sites = [SITES[site] for site in dict.fromkeys(regression.site for regression in study)]
    meanings = ", and of ".join(f"{site.meaning} ({site.label})" for site in sites)
    yield (
        f"For each token and layer we measured the L2 norm of {meanings}; attnlag [@attnlag] "
        "checks on the first batch that a block's input and what its parts add give its output."
    )
    drop = record.settings("design")["drop_first"]
    first_ones = "token" if drop == 1 else f"{drop} tokens"
    left_out = (
        f"The first {first_ones} of each sequence served neither as outcome nor as predictor."
    )
    yield left_out if drop else "No token was left out."


def _regressed(study: Sequence[RegressionTables]) -> Iterable[str]:
    """Yield the terms, the estimator, the errors, the corrections and the controls.

    A sentence that holds for all regressions comes once, at the end.
    """
    names = dict.fromkeys(regression.name for regression in study)
    sentences = [list(_one_regression([one for one in study if one.name == n])) for n in names]
    shared = [text for text in sentences[0] if all(text in texts for texts in sentences)]
    yield from (text for texts in sentences for text in texts if text not in shared)
    yield from shared


def _one_regression(sites: Sequence[RegressionTables]) -> Iterable[str]:
    """Yield what was done in one regression, which is the same at all sites."""
    regression = sites[0]
    design, settings = regression.record.settings("design"), regression.settings
    terms = [spans(design[f"{kind}s"], kind) for kind in ("lag", "lead") if design[f"{kind}s"]]
    others = [CATALOGUE[covariate].description for covariate in design["covariates"]]
    others += ["effects of documents"] * regression.has_effects
    fits = pd.concat([site.fits for site in sites])
    fitted = fits[fits["status"] == "ok"] if (fits["status"] == "ok").any() else fits
    rows, documents = fitted["n_obs"], counted(int(fitted["n_documents"].max()), "document")
    size = f"{rows.max():,}" if rows.min() == rows.max() else f"{rows.min():,} to {rows.max():,}"
    yield (
        f"Regression `{regression.name}`: in each layer, least squares of the "
        f"{OUTCOMES[design['outcome']].label} of a token on its {' and '.join(terms)} "
        f"(in tokens){f', with {listed(others)}' * bool(others)}; {size} rows from {documents}."
    )
    if unfitted := len(fits) - len(fitted):
        yield f"It could not be fitted in {counted(unfitted, 'layer')}."
    if design["position_knots"]:
        knots = ", ".join(map(str, design["position_knots"]))
        yield f"The spline [@durrleman1989] has knots at {knots} tokens."
    if settings["bias_correction"] == "half-panel":
        yield (
            "Coefficients of lags and leads are corrected by the half-panel jackknife "
            "[@dhaene2015] for the bias that effects of documents cause [@nickell1981]."
        )
    unit = "group of documents" if settings["cluster"] == "group" else "document"
    errors = COVARIANCES[settings["covariance"]].method.format(unit, settings["hac_lags"])
    yield (
        f"Standard errors {errors}; intervals cover {100 * (1 - settings['alpha']):g}% for one "
        f"coefficient alone; p-values are {CORRECTIONS[settings['adjust']]}."
    )
    yield from _controls(regression)


def _controls(regression: RegressionTables) -> Iterable[str]:
    """Yield what the coefficients of a regression are compared with."""
    table = regression.controls
    if "permutations" in table:
        used = tables.read_provenance(regression.file("permutations")).settings("permutations")
        class_of = "" if used["within"] == "document" else "of each part of speech "
        yield (
            f"As a control, the tokens {class_of}in each document were put in random order "
            f"{used['draws']:,} times (seed {used['seed']}), with one test per layer of all its "
            "lags and leads jointly."
        )
    if "random_weights" in table:
        path = regression.files.all_of("random_weights", regression.of_site)[0]
        used = tables.read_provenance(path).settings("random_weights")
        documents = counted(int(table["random_weights_documents"].max()), "document")
        before = regression.before_training
        scales = "" if before is None else training.scales_in_words(before)
        yield (
            "As a control, the regression was fitted, without correction of bias, to the same "
            f"architecture before training on {documents}, with initial weights (seed "
            f"{used['seed']}) of the scales: {scales}. It is compared with the trained model on "
            "the same documents, without correction too."
        )


def cited(text: str) -> list[str]:
    """Return the keys of the references that a text cites, each once, in order."""
    return list(dict.fromkeys(re.findall(r"@(\w+)", " ".join(re.findall(r"\[@[^\]]+\]", text)))))


def references(keys: Iterable[str], citation: Mapping[str, Any]) -> str:
    """Return entries of BibTeX for attnlag itself, as in CITATION.cff, and for methods by key."""
    released, entries = str(citation["date-released"]), all_references()
    fields = {
        "author": " and ".join(f"{{{author['name']}}}" for author in citation["authors"]),
        "title": f"{{{citation['title']}}}",
        "note": f"Software, version {citation['version']}, {released}",
        "year": released[:4],
        "howpublished": rf"\url{{{citation['url']}}}" if "url" in citation else None,
    }
    lines = [f"  {name} = {{{value}}}," for name, value in fields.items() if value]
    entries["attnlag"] = "\n".join(["@misc{attnlag,", *lines, "}\n"])
    return "\n".join(entries[key] for key in ("attnlag", *sorted({*keys} - {"attnlag"})))


def all_references() -> dict[str, str]:
    """Return the entries of the methods that a study may cite, by key."""
    text = Path(__file__).with_suffix(".bib").read_text(encoding="utf-8")
    entries = re.findall(r"^(@\w+\{(\w+),\n(?:.+\n)+)", text, re.M)
    return {key: entry for entry, key in entries}
