# Figures of sites and regressions; other analyses draw their own. One job draws all figures of a
# folder, which is its output.
# Titles are claims, which a job makes from the tables that it draws, as `write_claims` makes them:
# were their table an input, one more regression would draw the figures of all others again.

# With several regressions, a figure compares them.
SIDE_BY_SIDE = list(CONFIG.regressions) if len(CONFIG.regressions) > 1 else []


use rule draw as plot_adjustments with:
    input:
        **fitted_of(regression=SIDE_BY_SIDE),
        norms=shards_of(f"{SITE}/norms/{{shard}}.parquet"),
        stream=shards_of(f"{STUDY}/stream/{{shard}}.parquet"),
        token_properties=shards_of(f"{STUDY}/token_properties/{{shard}}.parquet"),
        corpus="results/corpora/{corpus}.parquet",
        # Each for figures of its own.
        surprisal=optional(CONFIG.measures("surprisal"), ALL_TOKEN_FILES["surprisal"]),
        directions=optional(DIRECTED, f"{SITE}/geometry/means.parquet"),
    output:
        figures=figures_of("plot_adjustments", f"{SITE}/figures"),
    log:
        "logs/{model}/{corpus}/{site}/figures/plot_adjustments.log",
    params:
        **job_params("plot_adjustments", "draw_figures"),


use rule draw as plot_regression with:
    input:
        **fitted_of(),
        residuals=f"{RESULTS}/residuals.parquet",
        design=shards_of(f"{RESULTS}/design/{{shard}}.parquet"),
    output:
        figures=figures_of("plot_regression", f"{RESULTS}/figures"),
    log:
        "logs/{model}/{corpus}/{site}/{regression}/figures/plot_regression.log",
    params:
        **job_params("plot_regression", "draw_figures"),


use rule draw as plot_sites with:
    input:
        **fitted_of(site=CONFIG.extraction.sites),
        norms=shards_of(study_files(f"{SITE}/norms/{{shard}}.parquet")),
    output:
        figures=figures_of("plot_sites", f"{STUDY}/figures/{{regression}}"),
    log:
        "logs/{model}/{corpus}/figures/{regression}/plot_sites.log",
    params:
        **job_params("plot_sites", "draw_figures"),
