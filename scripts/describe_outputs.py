"""Write docs/outputs.md: every file that a run makes, and what its columns mean.

The meanings stand below, and nowhere else. With --check nothing is written: a page that is not up
to date is named, and the status is 1. The tests hold the files of real runs against the same
tables, so that a file or a column without a meaning fails.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq

from attnlag.pipeline.generated_pages import write_or_check
from attnlag.regression import covariates

PAGE = "docs/outputs.md"
HEADER = """\
# Files and columns

What a run writes, as `python scripts/describe_outputs.py` writes this page and `make lint` checks
it; the tests hold it against the files of real runs. `{model}`, `{corpus}`, `{site}` and
`{regression}` are names of the configuration, `{shard}` is `0000` and so on, `{format}` svg or png,
`{size}` nothing for a page, `_column` or `_slide` where `figures.sizes` asks for them.
In the names of columns, NN stands for a layer, counted from 0, and TERM for a regressor: `lag_1`,
`lead_1`, a covariate.

Every table that is there as CSV is there as Parquet too, with the same columns and all digits. A
Parquet file has in its metadata, under `attnlag`, a JSON text that says what made it. What no
number could be computed for is empty (NaN). [How to read them](reading.md) has examples.
"""

# Columns that several tables share.
STUDY = {
    "model": ("", "name of the model in the configuration"),
    "corpus": ("", "name of the corpus in the configuration"),
    "site": ("", "what is measured: `attention`, `mlp` or `block`"),
    "regression": ("", "name of the regression in the configuration"),
}
KEYS = {
    "document": ("", "id of the document"),
    "window": ("", "which window of a long document, counted from 0"),
    "position": (
        "tokens",
        "place in the sequence that the model saw, from 0, a begin-of-sequence token included",
    ),
    "token_id": ("", "the token's number in the tokenizer's vocabulary"),
}
COEFFICIENTS = {
    **STUDY,
    "subset": ("", "the documents that were used: `all`, or the group"),
    "layer": ("", "layer of the model, counted from 0"),
    "term": ("", "regressor: `intercept`, `lag_1`, `lead_1`, a covariate"),
    "estimate": (
        "log norm per unit of the term; of a lag none",
        "the coefficient; in a null, what is expected if order means nothing",
    ),
    "std_error": ("as the estimate", "its standard error; in a null, the deviation of the draws"),
    "statistic": ("", "estimate / standard error; in a null, (observed - estimate) / std_error"),
    "df": ("", "degrees of freedom of its t distribution; in a null, the number of draws"),
    "p_value": ("", "two-sided p-value, of this coefficient alone"),
    "p_adjusted": ("", "corrected over the layers for the same term (`inference.adjust`)"),
    "conf_low": ("as the estimate", "lower end of the interval of this coefficient alone"),
    "conf_high": ("as the estimate", "its upper end"),
    "vcov_type": ("", "kind of standard error (`inference.covariance`), or `permutation`"),
    "p_wild": ("", "p-value of the wild cluster bootstrap; with `wild_bootstrap` only"),
    "observed": ("as the estimate", "the coefficient in the real order; in a null only"),
}
LAYERS = "layer_NN"


@dataclass
class Output:
    """A file of a run.

    Attributes
    ----------
    path : str
        With the names of Snakemake's wildcards in braces.
    meaning : str
        What it is, one row of it being what.
    columns : dict
        Unit and meaning by the name of the column, or of the key of a JSON file.
    """

    path: str
    meaning: str
    columns: dict[str, tuple[str, str]] = field(default_factory=dict)


STUDY_FOLDER = "results/{model}/{corpus}/{site}/{regression}"
FIGURES = "results/{model}/{corpus}/{site}/figures"
OUTPUTS = [
    Output(
        "data/models/{model}/source.json",
        "where the model came from, and what is in its folder: the model as transformers reads it "
        "(`config.json`, safetensors, tokenizer)",
        {
            "name": ("", "name of the model in the configuration"),
            "source": ("", "kind of source: `hub`, `path`, `package` or `random`"),
            "revision": ("", "the commit or version that was found"),
            "digest": ("", "SHA-256 over all files of the model"),
            "files": ("", "size in bytes and SHA-256 of each file"),
            "layers": ("", "number of layers"),
            "width": ("", "width of the residual stream"),
            "parameters": ("", "number of parameters"),
            "model_type": ("", "its type in transformers"),
            "license": ("", "what the source states, null if nothing"),
            "repository": ("", "the repository; `hub` only"),
            "package": ("", "the package; `package` only"),
            "version": ("", "its version; `package` only"),
            "file": ("", "the file inside the package; `package` only"),
            "of": ("", "the model whose twin it is; `random` only"),
            "seed": ("", "seed of the weights; `random` only"),
        },
    ),
    Output(
        "data/models/{model}/architecture.txt",
        "the model's tree of modules, with the number of parameters of each",
    ),
    Output(
        "results/corpora/{corpus}.parquet",
        "the documents, one a row, in the order of the files",
        {
            "document": ("", "id of the document, unique in the corpus"),
            "text": ("", "its text"),
            "group": ("", "its genre or source"),
        },
    ),
    Output(
        "results/{model}/{corpus}/tokens/{shard}.parquet",
        "the sequences that the model sees, one a row: a document, or a window of a long one",
        {
            "document": KEYS["document"],
            "window": KEYS["window"],
            "first_position": ("tokens", "where the window begins in the document's tokens"),
            "input_ids": ("", "the tokens' numbers in the vocabulary"),
            "char_start": ("characters", "where each token begins in the document's text"),
            "char_end": ("characters", "where it ends"),
        },
    ),
    Output(
        "results/{model}/{corpus}/token_summary.html",
        "the counts of `token_summary.csv` as a page to sort and filter",
    ),
    Output(
        "results/{model}/{corpus}/token_summary.csv",
        "how many characters a token stands for: a row for the corpus, each group, each document",
        {
            "level": ("", "`corpus`, `group` or `document`"),
            "name": ("", "`all`, the group, or the document's id"),
            "group": ("", "the group"),
            "documents": ("", "number of documents"),
            "sequences": ("", "number of sequences"),
            "characters": ("characters", "that the tokens stand for: not those cut off"),
            "tokens": ("tokens", "of the text, without begin-of-sequence tokens"),
            "characters_per_token": ("characters per token", "the ratio of the two"),
        },
    ),
    Output(
        "results/{model}/{corpus}/token_counts.parquet",
        "how often each token occurs in the corpus; for `log_frequency` only",
        {
            "token_id": KEYS["token_id"],
            "count": ("", "how often it occurs"),
        },
    ),
    Output(
        "results/{model}/{corpus}/{site}/activations/{shard}.parquet",
        "the adjustments, a row per token; with `keep: vectors` only",
        {
            **KEYS,
            LAYERS: (
                "units of the residual stream",
                "the vector that the sublayer of this layer adds, as long as the model is wide",
            ),
        },
    ),
    Output(
        "results/{model}/{corpus}/{site}/norms/{shard}.parquet",
        "their norms, a row per token",
        {
            **KEYS,
            LAYERS: ("units of the residual stream", "L2 norm of the vector; not its logarithm"),
        },
    ),
    Output(
        f"{FIGURES}/norms_by_layer{{size}}.{{format}}",
        "distribution of the log norms in each layer",
    ),
    Output(f"{FIGURES}/norms_by_position{{size}}.{{format}}", "mean log norms along the text"),
    Output(f"{FIGURES}/text.html", "documents, each token shaded by its norm, layer by layer"),
    Output(f"{FIGURES}/text_by_token{{size}}.{{format}}", "one of these documents, in one layer"),
    Output(
        f"{FIGURES}/specifications_by_layer{{size}}.{{format}}",
        "the nearest lag in all regressions, side by side; with more than one",
    ),
    Output(
        f"{STUDY_FOLDER}/design/{{shard}}.parquet",
        "outcome and regressors, a row per token that has them",
        {
            **KEYS,
            f"{LAYERS}.y": (
                "log norm",
                "natural log of the norm; empty where the layer has no row",
            ),
            f"{LAYERS}.TERM": ("as the term", "a regressor that differs between layers"),
            "TERM": ("as the term", "a regressor that is the same in all layers"),
        },
    ),
    Output(
        f"{STUDY_FOLDER}/crossproducts/{{shard}}.parquet",
        "all that least squares needs of the rows: a row per document and layer",
        {
            "document": KEYS["document"],
            "layer": ("", "layer of the model, counted from 0"),
            "half": ("", "0 and 1: the halves of the document; for the half-panel jackknife only"),
            "n": ("", "rows of the design"),
            "products": (
                "products of the columns",
                "upper triangle, row by row, of Σ w w' for w = [1, y, regressors] about the centre "
                "in the metadata",
            ),
        },
    ),
    Output(
        f"{STUDY_FOLDER}/residuals.parquet",
        "sums over the residuals e: a row per layer. x is [1, regressors] without their means; z "
        "is x and the ten residuals before",
        {
            "layer": ("", "layer of the model, counted from 0"),
            "n": ("", "rows of the design"),
            "effects": ("", "documents whose means were taken out"),
            "powers": ("powers of log norm", "Σ e, Σ e², Σ e³, Σ e⁴"),
            "smallest": ("log norm", "the smallest residual"),
            "largest": ("log norm", "the largest"),
            "products": ("", "Σ z z', row by row"),
            "scores": ("", "Σ z e"),
            "squares": ("", "Σ x e²"),
            "meat_hc1": ("", "Σ e² xx'"),
            "meat_hc3": ("", "Σ e²/(1 - h)² xx', h the leverage"),
            "meat_hac": ("", "`meat_hc1` and the weighted products with the scores before"),
            "differences": ("log norm squared", "Σ (e - e before)² over neighbours"),
            "pairs": ("", "pairs of rows at distances 1 to 20"),
            "lagged": ("log norm squared", "Σ of the products of their residuals"),
            "histogram": ("", "counts of e / sigma, on the grid of the figures"),
            "fitted_histogram": ("", "counts of fitted values and e / sigma, on a coarser grid"),
        },
    ),
    Output(
        f"{STUDY_FOLDER}/permutations/{{shard}}.parquet",
        "cross-products under permutation, of a null: a row per draw and layer",
        {
            "draw": ("", "-2: the real order; -1: what is expected; from 0: a draw"),
            "layer": ("", "layer of the model, counted from 0"),
            "products": ("products of the columns", "as in `crossproducts`, over all documents"),
        },
    ),
    Output(
        f"{STUDY_FOLDER}/coefficients.csv",
        "the coefficients: a row per layer and term",
        COEFFICIENTS,
    ),
    Output(
        f"{STUDY_FOLDER}/fits.csv",
        "how well each layer is fitted: a row per layer. A null has fewer columns",
        {
            **STUDY,
            "layer": ("", "layer of the model, counted from 0"),
            "n_obs": ("", "rows of the design"),
            "n_dropped": ("", "rows left out for a norm that is zero or not finite"),
            "n_documents": ("", "documents that give rows"),
            "effective_documents": (
                "",
                "as how many equal documents they count, for the nearest lag",
            ),
            "r_squared": ("", "share of the variance that is explained"),
            "adj_r_squared": ("", "the same, adjusted for the number of terms"),
            "cv_r_squared": ("", "R² of documents that the fit did not see, by folds"),
            "loo_r_squared": ("", "the same, one document at a time"),
            "sigma": ("log norm", "standard deviation of the residuals"),
            "condition_number": ("", "of the regressors, the intercept among them"),
            "f_statistic": ("", "Wald test that all slopes are zero"),
            "f_p_value": ("", "its p-value"),
            "log_likelihood": ("nats", "Gaussian, at the estimates"),
            "skewness": ("", "of the residuals"),
            "kurtosis": ("", "of the residuals, 3 for the normal distribution"),
            "jarque_bera": ("", "test of the residuals' normality"),
            "jarque_bera_p_value": ("", "its p-value"),
            "breusch_pagan": ("", "test that their variance does not depend on the regressors"),
            "breusch_pagan_p_value": ("", "its p-value"),
            "breusch_godfrey": ("", "test that they are not autocorrelated, lags 1 to 10"),
            "breusch_godfrey_p_value": ("", "its p-value"),
            "durbin_watson": ("", "near 2 without autocorrelation; biased by lagged outcomes"),
            "residual_pNN": ("log norm", "percentile NN of the residuals"),
            "draws": ("", "permutations; in a null only"),
            "status": ("", "`ok`, or why the layer was not fitted"),
        },
    ),
    Output(
        f"{STUDY_FOLDER}/influence.csv",
        "the documents that coefficients hang on, at most 100 for each lag or lead and layer",
        {
            **STUDY,
            "layer": ("", "layer of the model, counted from 0"),
            "term": ("", "the lag or lead"),
            "document": KEYS["document"],
            "n_obs": ("", "rows of the document"),
            "change": ("as the estimate", "estimate - estimate without the document"),
            "change_in_se": ("standard errors", "the same, over the standard error"),
        },
    ),
    Output(
        f"{STUDY_FOLDER}/joint.json",
        "what holds for all layers at once, from the bootstrap of documents",
        {
            "alpha": ("", "significance level"),
            "critical_values": ("standard errors", "by term: half of the width of a joint band"),
            "documents": ("", "documents drawn from"),
            "bins": ("", "bins drawn from, where documents share them, else null"),
            "draws": ("", "draws that all fitted layers could be estimated in"),
            "seed": ("", "seed of the draws"),
        },
    ),
    Output(
        f"{STUDY_FOLDER}/groups.csv",
        "the regression of each group of documents by itself: a row per group, layer and term",
        {
            **{name: COEFFICIENTS[name] for name in list(COEFFICIENTS)[:-2]},
            "n_obs": ("", "rows of the group"),
            "n_documents": ("", "documents of the group that give rows"),
            "status": ("", "`ok`, or why the layer was not fitted"),
        },
    ),
    Output(
        f"{STUDY_FOLDER}/coefficients.html",
        "the coefficients as a page to sort and filter, significant rows marked",
    ),
    Output(f"{STUDY_FOLDER}/summary/layer_NN.txt", "the regression table of a layer"),
    Output(f"{STUDY_FOLDER}/findings.txt", "the sentences that a run ends with"),
    Output(
        f"{STUDY_FOLDER}/figures/coefficients_by_layer{{size}}.{{format}}",
        "the coefficients of the lags by layer, with their bands",
    ),
    Output(
        f"{STUDY_FOLDER}/figures/outcome_by_lag{{size}}.{{format}}",
        "outcome against the nearest lag, a panel per layer",
    ),
    Output(
        f"{STUDY_FOLDER}/figures/diagnostics{{size}}.{{format}}",
        "residuals and influential documents",
    ),
    Output(
        f"{STUDY_FOLDER}/figures/groups_by_layer{{size}}.{{format}}",
        "norms and coefficients by group of documents",
    ),
    Output(
        "results/{model}/{corpus}/figures/{regression}/sites_by_layer{size}.{format}",
        "the sites beside each other; with more than one",
    ),
    Output(
        "results/comparison/coefficients.csv",
        "the coefficients of all models, corpora, sites and regressions",
        {
            **COEFFICIENTS,
            "depth": ("", "layer / (layers - 1): 0 for the first layer, 1 for the last"),
            "control": ("", "whether the model has random weights"),
        },
    ),
    Output(
        "results/comparison/pairs.csv",
        "how far two models agree: a row per pair, corpus, site, regression and lag",
        {
            "model_a": ("", "one model"),
            "model_b": ("", "the other"),
            "control_a": ("", "whether the one has random weights"),
            "control_b": ("", "whether the other has"),
            "corpus": STUDY["corpus"],
            "site": STUDY["site"],
            "regression": STUDY["regression"],
            "term": ("", "the lag or lead"),
            "layers_a": ("", "layers of the one"),
            "layers_b": ("", "layers of the other"),
            "points": ("", "depths at which both have a coefficient"),
            "correlation": ("", "Pearson's, of their coefficients over relative depth"),
            "conf_low": ("", "lower end of its bootstrap interval"),
            "conf_high": ("", "its upper end"),
            "draws": ("", "draws of documents that gave a correlation"),
            "documents": ("", "documents that give rows in both"),
            "documents_only_a": ("", "documents left out, of the one only"),
            "documents_only_b": ("", "documents left out, of the other only"),
            "layers_compared": ("", "layers of the deeper model that were held against one"),
            "layers_agreeing": ("", "of these, those that agree in sign and significance"),
            "share_agreeing": ("", "the ratio of the two"),
        },
    ),
    Output("results/comparison/coefficients.html", "the same as a page to sort and filter"),
    Output("results/comparison/pairs.html", "the pairs as a page to sort and filter"),
    Output("results/comparison/findings.txt", "the pairs in words"),
    Output(
        "results/comparison/figures/{site}/{regression}/coefficients_by_depth{size}.{format}",
        "the coefficients over relative depth, a line per model",
    ),
    Output("results/report.zip", "the report that `make report` makes; unpack it and open it"),
    Output("results/layers_fitted.txt", "how many layers each regression was fitted in"),
    Output(
        "results/provenance.json",
        "what made every file",
        {
            "models": ("", "revision and digest of each model"),
            "corpora": ("", "digest of each corpus"),
            "environments": ("", "versions of Python and packages"),
            "jobs": (
                "",
                "for each job its rule, settings, digest of its code, and the SHA-256 of its files",
            ),
        },
    ),
]

# What stands for more than one name, in paths and in names of columns.
PATTERNS = {
    "{size}": "(|_column|_slide)",
    "{format}": "(svg|png)",
    "{shard}": r"\d{4,}",
    "NN": r"\d{2,}",
    "TERM": rf"((lag|lead)_\d+|{covariates.term_pattern()})",
}


def _matches(described: str, found: str) -> bool:
    """Return whether a name or path is one of those that a described one stands for."""
    words = re.split(r"(\{\w+\}|NN|TERM)", described)
    parts = [
        PATTERNS.get(w, r"[^/]+") if w in PATTERNS or "{" in w else re.escape(w) for w in words
    ]
    return re.fullmatch("".join(parts), found) is not None


def columns_of(file: Path) -> list[str]:
    """Return the columns of a table, the keys of a JSON file; nothing of other files."""
    if file.suffix == ".parquet":
        return list(pq.read_schema(file).names)
    if file.suffix == ".csv":
        return list(pd.read_csv(file, nrows=0).columns)
    return list(json.loads(file.read_text(encoding="utf-8"))) if file.suffix == ".json" else []


def undescribed(project: Path) -> Iterator[str]:
    """Yield the files below ``results/`` of a project, and their columns, that have no meaning."""
    for file in sorted(path for path in (project / "results").rglob("*") if path.is_file()):
        path = str(file.relative_to(project))
        # Tables that are there twice are described once.
        names = {path, re.sub(r"\.parquet$", ".csv", path)}
        found = [output for output in OUTPUTS if any(_matches(output.path, n) for n in names)]
        if not found and not file.name.startswith("."):
            yield path
        for column in columns_of(file) if found else []:
            if not any(_matches(name, column) for name in found[0].columns):
                yield f"{path}: {column}"


def page() -> str:
    """Return the page, in Markdown."""
    lines = [HEADER]
    for output in OUTPUTS:
        lines += [f"## `{output.path}`\n", f"{output.meaning[0].upper()}{output.meaning[1:]}.\n"]
        if output.columns:
            kind = "key" if output.path.endswith(".json") else "column"
            lines += [f"| {kind} | unit | meaning |", "|---|---|---|"]
            lines += [f"| `{n}` | {unit} | {said} |" for n, (unit, said) in output.columns.items()]
            lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    write_or_check(__doc__, lambda root: {root / PAGE: page()})
