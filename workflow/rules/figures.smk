# Figures of sites and regressions; other analyses draw their own. One job draws all figures of a
# folder, which is its output; `make paper` asks for folders without titles. Figures of finished tables
# take less time than their submission to a cluster.

from attnlag.figures.sizes import SIZES, suffix_of

# Categories of the report in the order of the flow; the report sorts them by name.
CATEGORIES = "explorer norms coefficients diagnostics interventions comparison directions".split()
IN_ORDER = {name: f"{at} {name.capitalize()}" for at, name in enumerate(CATEGORIES)}
# Folders of figures are below those of studies, and in the same way below that of a paper.
DRAWN = "results{paper}/{model}/{corpus}"
LABELS = dict.fromkeys(("model", "corpus", "site", "regression", "layer"), "all")


def figures_of(stage, folder, condition=True, **labels):
    """Return the folder of the figures of a stage as an output, with their labels in the report.

    A run draws them where a condition holds, as that of `of_study`. The report has them once, in the
    best size and format.
    """
    figures = {figure.name: figure for figure in CONFIG.figures_drawn(stage)}
    of_run, of_paper = partly(folder, paper=["", "/paper"])
    OF_PAPER.update(dict.fromkeys(of_study(of_paper, condition), list(figures)))
    # In the explorer, other regressions have the same.
    if all(figure.first_regression for figure in figures.values()):
        condition = lambda regression: regression == next(iter(CONFIG.regressions))
    wanted(of_run, condition)
    size = next(size for size in SIZES if size in CONFIG.figures.sizes)
    named = {name: f"{{{name}}}" for name in LABELS if f"{{{name}}}" in folder}
    return report(
        directory(folder),
        patterns=[f"{{figure,{any_of(figures)}}}{suffix_of(size)}.{max(CONFIG.figures.formats)}"],
        caption="../report/figure.rst",
        category=lambda wildcards: IN_ORDER[figures[wildcards.figure].category],
        subcategory=lambda wildcards: figures[wildcards.figure].subcategory,
        labels={**LABELS, **named, **labels, "shows": "figure"},
    )


# What others wait for comes first.
use rule program as draw with:
    priority: 0
    resources:
        # Samples of tables of all tokens are drawn, for which these are read.
        **needs(1500, 30, per_gb=0.05),


use rule draw as plot_adjustments with:
    input:
        norms=shards_of(f"{SITE}/norms/{{shard}}.parquet"),
        stream=shards_of(f"{STUDY}/stream/{{shard}}.parquet"),
        tokens=shards_of(f"{STUDY}/tokens/{{shard}}.parquet"),
        properties=shards_of(f"{STUDY}/token_properties/{{shard}}.parquet"),
        corpus="results/corpora/{corpus}.parquet",
        # Each for figures of its own.
        surprisal=optional(CONFIG.measures("surprisal"), OF_ALL_TOKENS["surprisal"]),
        means=optional(DIRECTED, f"{SITE}/geometry/means.parquet"),
        coefficients=optional(
            len(CONFIG.regressions) > 1,
            partly(f"{RESULTS}/coefficients.parquet", regression=CONFIG.regressions),
        ),
    output:
        figures=figures_of("plot_adjustments", f"{DRAWN}/{{site}}/figures"),
    log:
        "logs{paper}/{model}/{corpus}/{site}/figures/plot_adjustments.log",
    params:
        **job_params("plot_adjustments", "draw_figures"),


use rule draw as plot_regression with:
    input:
        coefficients=f"{RESULTS}/coefficients.parquet",
        fits=f"{RESULTS}/fits.parquet",
        influence=f"{RESULTS}/influence.parquet",
        groups=f"{RESULTS}/groups.parquet",
        residuals=f"{RESULTS}/residuals.parquet",
        controls=f"{RESULTS}/controls.parquet",
        design=shards_of(f"{RESULTS}/design/{{shard}}.parquet"),
    output:
        figures=figures_of("plot_regression", f"{DRAWN}/{{site}}/{{regression}}/figures"),
    log:
        "logs{paper}/{model}/{corpus}/{site}/{regression}/figures/plot_regression.log",
    params:
        **job_params("plot_regression", "draw_figures"),


use rule draw as plot_sites with:
    input:
        norms=shards_of(of_study(f"{SITE}/norms/{{shard}}.parquet")),
        coefficients=partly(f"{RESULTS}/coefficients.parquet", site=CONFIG.extraction.sites),
        fits=partly(f"{RESULTS}/fits.parquet", site=CONFIG.extraction.sites),
    output:
        figures=figures_of(
            "plot_sites", f"{DRAWN}/figures/{{regression}}", len(CONFIG.extraction.sites) > 1
        ),
    log:
        "logs{paper}/{model}/{corpus}/figures/{regression}/plot_sites.log",
    params:
        **job_params("plot_sites", "draw_figures"),
