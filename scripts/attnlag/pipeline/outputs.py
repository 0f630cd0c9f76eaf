"""The catalogue of outputs: every file of a run, its meaning, and the condition for it.

The targets of the workflow, the page docs/outputs.md and the files that tests expect derive from
it. The rules also state the paths, so that the flow can be read in them; a test compares the two.
"""

import itertools
import re
from collections.abc import Callable, Iterator

from attnlag.config.schema import Config
from attnlag.figures import catalogue
from attnlag.figures.sizes import SIZES, suffix_of
from attnlag.pipeline.entries import beyond_the_norm, regressions, tokens
from attnlag.pipeline.entries.output import (
    COEFFICIENTS,
    HEADS_FOLDER,
    SITE_FOLDER,
    STUDY,
    Output,
    always,
    by_class,
    causal,
    compared,
    never,
    on_several_tokens,
    several_regressions,
    several_sites,
    with_geometry,
    with_groups,
    with_heads,
    with_parts_of_speech,
    with_surprisal,
    with_vector_regression,
)
from attnlag.regression.design import covariates

OUTPUTS = [
    *tokens.OUTPUTS,
    *regressions.OUTPUTS,
    *beyond_the_norm.OUTPUTS,
    Output(
        "results/comparison/coefficients.csv",
        "the coefficients of all models, corpora, sites and regressions",
        {
            **COEFFICIENTS,
            "depth": ("", "layer / (layers - 1): 0 for the first layer, 1 for the last"),
            "control": ("", "whether the model has random weights"),
        },
        when=compared,
    ),
    Output(
        "results/comparison/pairs.csv",
        "similarity of two models: a row per pair, corpus, site, regression and lag",
        {
            "model_a": ("", "one model"),
            "model_b": ("", "the other"),
            "control_a": ("", "whether the first model has random weights"),
            "control_b": ("", "whether the second model has random weights"),
            "corpus": STUDY["corpus"],
            "site": STUDY["site"],
            "regression": STUDY["regression"],
            "term": ("", "the lag or lead"),
            "layers_a": ("", "number of layers of the first model"),
            "layers_b": ("", "number of layers of the second model"),
            "median_a": ("", "median coefficient over the layers of the first, in these documents"),
            "median_b": ("", "the same for the second model"),
            "points": ("", "depths at which both have a coefficient"),
            "correlation": (
                "",
                "Pearson's, of coefficients over relative depth, corrected for their errors",
            ),
            "correlation_observed": ("", "the same, not corrected"),
            "conf_low": ("", "lower end of the bootstrap interval of `correlation`"),
            "conf_high": ("", "its upper end"),
            "draws": ("", "draws of documents that gave a correlation"),
            "documents": ("", "documents with rows in both"),
            "documents_only_a": ("", "documents left out, with rows only in the first"),
            "documents_only_b": ("", "documents left out, with rows only in the second"),
            "layers_compared": ("", "layers of the deeper model that were compared with another"),
            "layers_differing": (
                "",
                "number of these whose difference is shown to be beyond ± `negligible`",
            ),
            "layers_alike": ("", "number of these whose difference is shown to be within"),
            "median_difference": ("", "median over these layers of the first minus the second"),
        },
        when=compared,
    ),
    Output(
        "results/comparison/coefficients.html",
        "the same as a page to sort and filter",
        when=compared,
        wanted=True,
    ),
    Output(
        "results/comparison/pairs.html",
        "the pairs as a page to sort and filter",
        when=compared,
        wanted=True,
    ),
    Output("results/comparison/findings.txt", "the pairs in words", when=compared),
    Output(
        "results/answers.txt",
        "the answers in a dozen lines for each model, corpus and site, which a run prints last",
        wanted=True,
    ),
    Output(
        "results/explorer.html",
        "all studies in one page, for a browser: findings, coefficients by layer, tokens shaded "
        "and as points",
        wanted=True,
    ),
    Output(
        "results/report.zip",
        "the report that `make report` makes; unpack it and open it",
        when=never,
    ),
    Output(
        "results/paper/coefficients.tex",
        "coefficients of lags by layer, a table of LaTeX per regression (`make paper`)",
        when=never,
    ),
    Output("results/paper/methods.md", "the methods, a paragraph per model and corpus", when=never),
    Output("results/paper/methods.tex", "the same in LaTeX", when=never),
    Output("results/paper/references.bib", "what the methods cite, in BibTeX", when=never),
    Output("results/paper/config.yaml", "the configuration with all defaults", when=never),
    Output("results/layers_fitted.txt", "number of layers in which each regression was fitted"),
    Output(
        "results/provenance.json",
        "the provenance of every file",
        {
            "configuration": ("", "that of the last run which made everything"),
            "environment": ("", "versions of Python and packages"),
            "files": ("", "SHA-256 and size of each file, and the provenance in a Parquet file"),
            "inputs": ("", "SHA-256 of each file of yours that they were made from"),
        },
    ),
]

# Folder of the figures of each program, and the condition for them. No regression or site may be
# called figures, because these folders lie beside theirs.
FIGURES: dict[str, tuple[str, Callable[[Config, str], bool]]] = {
    "plot_norms": ("results/{model}/{corpus}/{site}/figures", always),
    "plot_surprisal": ("results/{model}/{corpus}/{site}/figures", with_surprisal),
    "plot_geometry": (f"{SITE_FOLDER}/figures", with_geometry),
    "plot_heads": (f"{HEADS_FOLDER}/figures", with_heads),
    "plot_specifications": ("results/{model}/{corpus}/{site}/figures", several_regressions),
    "plot_regression": (f"{regressions.STUDY_FOLDER}/figures", always),
    "plot_classes": (f"{regressions.STUDY_FOLDER}/figures", by_class),
    "plot_effects": (f"{beyond_the_norm.CAUSAL_FOLDER}/figures/{{pair}}", causal),
    "plot_vectors": ("results/{model}/{corpus}/{site}/figures", with_vector_regression),
    "plot_sites": ("results/{model}/{corpus}/figures/{regression}", several_sites),
    "plot_comparison": ("results/comparison/figures/{site}/{regression}", compared),
}

# Figures that not every run of their program draws.
DRAWN_WHEN: dict[str, Callable[[Config, str], bool]] = {
    "finite_effects_by_part_of_speech": on_several_tokens,
    "norms_by_part_of_speech": with_parts_of_speech,
    "groups_by_layer": with_groups,
}


def _of_figures() -> Iterator[Output]:
    """Yield the outputs of each figure in the catalogue of figures."""
    for program, (folder, when) in FIGURES.items():
        for figure in catalogue.drawn_by(program):
            shows = figure.shows.rstrip(".")
            path = f"{folder}/{figure.name}{{size}}.{{format}}"
            yield Output(path, shows, when=drawn_when(figure, when), wanted=True)


def drawn_when(
    figure: catalogue.Figure, when: Callable[[Config, str], bool] = always
) -> Callable[[Config, str], bool]:
    """Return the condition for a figure, given that of its program."""

    def drawn(config: Config, regression: str) -> bool:
        asked = not figure.on_request or figure.name in config.figures.also
        own = DRAWN_WHEN.get(figure.name, always)
        return asked and own(config, regression) and when(config, regression)

    return drawn


def figures_drawn(program: str, config: Config) -> list[catalogue.Figure]:
    """Return the figures that a program draws if it runs."""
    return [figure for figure in catalogue.drawn_by(program) if drawn_when(figure)(config, "")]


OUTPUTS += _of_figures()


def figures_of_paper(program: str, config: Config) -> list[str]:
    """Return the paths, with wildcards, of the figures of a program that `make paper` draws."""
    folder = FIGURES[program][0].removeprefix("results/").replace("/figures", "")
    return [
        f"results/paper/figures/{folder}/{figure.name}_column.pdf"
        for figure in figures_drawn(program, config)
    ]


def paper(config: Config) -> list[str]:
    """Return the figures that `make paper` draws."""
    return [
        path
        for program, (_, when) in FIGURES.items()
        for pattern in figures_of_paper(program, config)
        for path in expanded(Output(pattern, "", when=when), config)
    ]


def shards(config: Config, corpus: str) -> list[str]:
    """Return the names of the shards of a corpus."""
    return [f"{shard:04d}" for shard in range(config.corpora[corpus].shards)]


def endings(config: Config) -> list[str]:
    """Return the endings of the names of figures before the format, one per size."""
    return [suffix_of(name) for name in SIZES if name in config.figures.sizes]


def expanded(output: Output, config: Config) -> Iterator[str]:
    """Yield the paths of an output for all names in a configuration that have it."""
    values: dict[str, list[str]] = {
        "model": list(config.models),
        "corpus": list(config.corpora),
        "site": list(config.extraction.sites),
        "regression": list(config.regressions),
        "pair": list(config.pairs_changed()),
        "draw": [str(draw) for draw in config.further_draws()],
        "size": endings(config),
        "format": list(config.figures.formats),
    }
    asked = [name for name in values if f"{{{name}}}" in output.path]
    for chosen in itertools.product(*(values[name] for name in asked)):
        names = dict(zip(asked, chosen, strict=True))
        if output.when(config, names.get("regression", next(iter(config.regressions)))):
            every = shards(config, names["corpus"]) if "{shard}" in output.path else [""]
            yield from (output.path.format(**names, shard=shard) for shard in every)


def targets(config: Config) -> list[str]:
    """Return the target files of a run."""
    return files_of(config, wanted=True)


def one_of_each_job(config: Config) -> list[str]:
    """Return the targets of a run, with one file for all figures of a job.

    Who waits for every job need not name every file, of which a plan takes time.
    """
    ending = f"{endings(config)[0]}.{config.figures.formats[0]}"
    first = [
        path
        for program, (folder, when) in FIGURES.items()
        for figure in figures_drawn(program, config)[:1]
        for path in expanded(Output(f"{folder}/{figure.name}{ending}", "", when=when), config)
    ]
    return [*(path for path in targets(config) if "/figures/" not in path), *first]


def files_of(config: Config, name: str = "", wanted: bool = False) -> list[str]:
    """Return the files that a run makes, in the order of the catalogue.

    Parameters
    ----------
    config : Config
    name : str
        Only files of this name; by default all.
    wanted : bool
        Only target files.
    """
    chosen = [
        output for output in OUTPUTS if output.path.endswith(name) and (output.wanted or not wanted)
    ]
    paths = [path for output in chosen for path in expanded(output, config)]
    # Every table in CSV also exists in Parquet.
    tables = [path.replace(".csv", ".parquet") for path in paths if path.endswith(".csv")]
    return list(dict.fromkeys([*paths, *tables]))


# Placeholders for several names, in paths and in names of columns.
PATTERNS = {
    "{size}": "(|_column|_slide)",
    "{format}": "(svg|png|pdf)",
    "{shard}": r"\d{4,}",
    "{draw}": r"[1-9]\d*",
    "NN": r"\d{2,}",
    "TERM": rf"((lag|lead)_\d+|{covariates.term_pattern()})",
}


def matches(described: str, found: str) -> bool:
    """Return whether a name or path matches a described one with placeholders."""
    words = re.split(r"(\{\w+\}|NN|TERM)", described)
    parts = [
        PATTERNS.get(w, r"[^/]+") if w in PATTERNS or "{" in w else re.escape(w) for w in words
    ]
    return re.fullmatch("".join(parts), found) is not None
