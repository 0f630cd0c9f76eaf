# Figures of sites and regressions; other analyses draw their own. One job draws all of a folder; on
# request, they are drawn for a paper too, without titles. Figures of finished tables take less time
# than their submission to a cluster.


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
        figures=figures_of("plot_adjustments", f"{SITE}/figures"),
    log:
        "logs/{model}/{corpus}/{site}/figures/plot_adjustments.log",
    params:
        **job_params("plot_adjustments", "draw_figures"),


use rule plot_adjustments as plot_adjustments_of_paper with:
    output:
        untitled=figures_of_paper("plot_adjustments", "{model}/{corpus}/{site}"),
    log:
        "logs/{model}/{corpus}/{site}/figures/plot_adjustments_of_paper.log",


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
        figures=figures_of("plot_regression", f"{RESULTS}/figures"),
    log:
        "logs/{model}/{corpus}/{site}/{regression}/figures/plot_regression.log",
    params:
        **job_params("plot_regression", "draw_figures"),


use rule plot_regression as plot_regression_of_paper with:
    output:
        untitled=figures_of_paper("plot_regression", "{model}/{corpus}/{site}/{regression}"),
    log:
        "logs/{model}/{corpus}/{site}/{regression}/figures/plot_regression_of_paper.log",


use rule draw as plot_sites with:
    input:
        norms=shards_of(every_site(f"{SITE}/norms/{{shard}}.parquet")),
        coefficients=every_site(f"{RESULTS}/coefficients.parquet"),
        fits=every_site(f"{RESULTS}/fits.parquet"),
    output:
        figures=figures_of(
            "plot_sites",
            f"{STUDY}/figures/{{regression}}",
            len(CONFIG.extraction.sites) > 1,
        ),
    log:
        "logs/{model}/{corpus}/figures/{regression}/plot_sites.log",
    params:
        **job_params("plot_sites", "draw_figures"),


use rule plot_sites as plot_sites_of_paper with:
    output:
        untitled=figures_of_paper(
            "plot_sites", "{model}/{corpus}/{regression}", len(CONFIG.extraction.sites) > 1
        ),
    log:
        "logs/{model}/{corpus}/figures/{regression}/plot_sites_of_paper.log",
