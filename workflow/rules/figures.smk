# Figures of sites and regressions; other analyses draw their own. One job draws all figures of a
# folder, which is its output. Figures of finished tables take less time than their submission to a
# cluster.
# Titles are claims.


SEVERAL_REGRESSIONS = len(CONFIG.regressions) > 1
OWN_CLAIMS = partly(f"{RESULTS}/claims.parquet", regression=CONFIG.regressions)


use rule draw as plot_adjustments with:
    input:
        claims=[f"{SITE}/claims.parquet", *optional(SEVERAL_REGRESSIONS, OWN_CLAIMS)],
        norms=shards_of(f"{SITE}/norms/{{shard}}.parquet"),
        stream=shards_of(f"{STUDY}/stream/{{shard}}.parquet"),
        properties=shards_of(f"{STUDY}/token_properties/{{shard}}.parquet"),
        corpus="results/corpora/{corpus}.parquet",
        # Each for figures of its own.
        surprisal=optional(CONFIG.measures("surprisal"), ALL_TOKEN_FILES["surprisal"]),
        means=optional(DIRECTED, f"{SITE}/geometry/means.parquet"),
        coefficients=optional(
            SEVERAL_REGRESSIONS,
            partly(f"{RESULTS}/coefficients.parquet", regression=CONFIG.regressions),
        ),
    output:
        figures=figures_of("plot_adjustments", f"{STUDY}/{{site}}/figures"),
    log:
        "logs/{model}/{corpus}/{site}/figures/plot_adjustments.log",
    params:
        **job_params("plot_adjustments", "draw_figures"),


use rule draw as plot_regression with:
    input:
        claims=f"{RESULTS}/claims.parquet",
        coefficients=f"{RESULTS}/coefficients.parquet",
        fits=f"{RESULTS}/fits.parquet",
        influence=f"{RESULTS}/influence.parquet",
        groups=f"{RESULTS}/groups.parquet",
        residuals=f"{RESULTS}/residuals.parquet",
        controls=f"{RESULTS}/controls.parquet",
        medians=f"{RESULTS}/medians.parquet",
        design=shards_of(f"{RESULTS}/design/{{shard}}.parquet"),
    output:
        figures=figures_of("plot_regression", f"{STUDY}/{{site}}/{{regression}}/figures"),
    log:
        "logs/{model}/{corpus}/{site}/{regression}/figures/plot_regression.log",
    params:
        **job_params("plot_regression", "draw_figures"),


use rule draw as plot_sites with:
    input:
        claims=partly(f"{RESULTS}/claims.parquet", site=CONFIG.extraction.sites),
        norms=shards_of(study_files(f"{SITE}/norms/{{shard}}.parquet")),
        coefficients=partly(f"{RESULTS}/coefficients.parquet", site=CONFIG.extraction.sites),
        fits=partly(f"{RESULTS}/fits.parquet", site=CONFIG.extraction.sites),
    output:
        figures=figures_of("plot_sites", f"{STUDY}/figures/{{regression}}"),
    log:
        "logs/{model}/{corpus}/figures/{regression}/plot_sites.log",
    params:
        **job_params("plot_sites", "draw_figures"),
