"""The methods of a run in words, and the references that they cite.

They are those of the settings that the tables record. The sentences are in ``paper.md.j2``, as
Markdown with Pandoc's citations (``[@holm1979]``).
"""

import itertools
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
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


def methods(
    regressions: Sequence[RegressionTables],
    models: Mapping[str, dict[str, Any]],
    figures: Collection[str] = (),
) -> str:
    """Return the methods as Markdown, a paragraph for each model and corpus of all regressions.

    ``models`` has the ``source.json`` of each. A last paragraph has the sentence that the module of
    each of the ``figures`` states.
    """
    paragraphs = []
    for _, same_corpus in itertools.groupby(regressions, lambda one: one.of_corpus):
        study = list(same_corpus)
        versions = {name: v for one in study for name, v in one.record["versions"].items()}
        software = {"version": __version__, "packages": sorted(versions.items())}
        sentences = _sentences("measured", _measured(study, models[study[0].model]))
        sentences += [*_regressed(study), *_sentences("closing", software)]
        paragraphs.append(" ".join(sentences))
    paragraphs.append(" ".join(one.method for one in catalogue.figures() if one.name in figures))
    return "\n\n".join(filter(None, paragraphs)) + "\n"


def _sentences(macro: str, facts: Mapping[str, Any]) -> list[str]:
    """Return the sentences that a macro makes of some facts."""
    folder = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(loader=folder, undefined=jinja2.StrictUndefined)
    environment.filters |= {"counted": counted, "listed": listed, "thousands": "{:,}".format}
    text = getattr(environment.get_template("paper.md.j2").module, macro)(**facts)
    return [" ".join(sentence.split()) for sentence in text.split("\n\n") if sentence.strip()]


def _measured(study: Sequence[RegressionTables], model: Mapping[str, Any]) -> dict[str, Any]:
    """Return the model, the corpus with its counts, what was measured and left out."""
    first, record = study[0], study[0].record
    limits = [record.settings("tokens")["max_length"], model["context_length"]]
    shards = first.files.all_of("tokens", first.of_corpus)
    counts = pd.DataFrame(tables.read_provenance(path)["tokens"] for path in shards).sum()
    sites = [SITES[name] for name in dict.fromkeys(regression.site for regression in study)]
    return {
        "model": model,
        "used": record.settings("activations")["used"],
        "corpus": record["corpus"],
        "groups": len(set(group_by_document(first.corpus_file()).values())),
        "tokens": counts.to_dict(),
        "longest": min((limit for limit in limits if limit), default=0),
        "sites": [f"{site.meaning} ({site.label})" for site in sites],
        "drop_first": record.settings("design")["drop_first"],
    }


def _regressed(study: Sequence[RegressionTables]) -> Iterator[str]:
    """Yield sentences on each regression; what holds for all comes once, at the end."""
    by_name: dict[str, list[RegressionTables]] = {}
    for regression in study:
        by_name.setdefault(regression.name, []).append(regression)
    sentences = [_sentences("regressed", _fitted(sites)) for sites in by_name.values()]
    shared = [text for text in sentences[0] if all(text in texts for texts in sentences)]
    yield from (text for texts in sentences for text in texts if text not in shared)
    yield from shared


def _fitted(sites: Sequence[RegressionTables]) -> dict[str, Any]:
    """Return what was done in one regression, which is the same at all sites."""
    regression = sites[0]
    design, settings = regression.record.settings("design"), regression.settings
    lags = [spans(design[f"{kind}s"], kind) for kind in ("lag", "lead") if design[f"{kind}s"]]
    others = [CATALOGUE[covariate].description for covariate in design["covariates"]]
    fits = pd.concat([site.fits for site in sites])
    fitted = fits[fits["status"] == "ok"] if (fits["status"] == "ok").any() else fits
    unit = "group of documents" if settings["cluster"] == "group" else "document"
    return {
        "name": regression.name,
        "outcome": OUTCOMES[design["outcome"]].label,
        "lags": " and ".join(lags),
        "others": others + ["effects of documents"] * regression.has_effects,
        "rows": [int(fitted["n_obs"].min()), int(fitted["n_obs"].max())],
        "documents": int(fitted["n_documents"].max()),
        "unfitted": len(fits) - len(fitted),
        "knots": design["position_knots"],
        "half_panel": settings["bias_correction"] == "half-panel",
        "errors": COVARIANCES[settings["covariance"]].method.format(unit, settings["hac_lags"]),
        "alpha": settings["alpha"],
        "adjust": settings["adjust"],
        "permuted": _permuted(regression),
        "untrained": _untrained(regression),
    }


def _permuted(regression: RegressionTables) -> Mapping[str, Any] | None:
    """Return the settings of the control in random order; None without it."""
    if "permutations" not in regression.controls:
        return None
    return tables.read_provenance(regression.file("permutations")).settings("permutations")


def _untrained(regression: RegressionTables) -> dict[str, Any] | None:
    """Return the documents, the seed and the scales of the control before training."""
    if "random_weights" not in regression.controls:
        return None
    path = regression.files.all_of("random_weights", regression.of_site)[0]
    before = regression.before_training
    return {
        "documents": int(regression.controls["random_weights_documents"].max()),
        "seed": tables.read_provenance(path).settings("random_weights")["seed"],
        "scales": "" if before is None else training.scales_in_words(before),
    }


def cited(text: str) -> list[str]:
    """Return the keys of the references that a text cites, each once, in order."""
    return list(dict.fromkeys(re.findall(r"@(\w+)", " ".join(re.findall(r"\[@[^\]]+\]", text)))))


def references(keys: Iterable[str], citation: Mapping[str, Any]) -> str:
    """Return BibTeX for attnlag itself, as in CITATION.cff, and for methods by key."""
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
