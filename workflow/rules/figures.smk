# Figures: one job draws all figures that share their inputs.

# What each stage draws from, by the names that scripts/draw_figures.py knows; "beside" are files
# that it finds beside others.
DRAWN_FROM = {
    "plot_norms": {
        "norms": shards_of(f"{SITE}/norms/{{shard}}.parquet"),
        "stream": shards_of("results/{model}/{corpus}/stream/{shard}.parquet"),
        "tokens": shards_of("results/{model}/{corpus}/tokens/{shard}.parquet"),
        "properties": OF_ALL_TOKENS["token_properties"],
        "corpus": "results/corpora/{corpus}.parquet",
    },
    "plot_surprisal": {
        "norms": shards_of(f"{SITE}/norms/{{shard}}.parquet"),
        "surprisal": OF_ALL_TOKENS["surprisal"],
        "properties": OF_ALL_TOKENS["token_properties"],
    },
    "plot_regression": {
        **{
            name: f"{RESULTS}/{name}.parquet"
            for name in ("coefficients", "fits", "influence", "groups", "residuals", "controls")
        },
        "design": shards_of(f"{RESULTS}/design/{{shard}}.parquet"),
    },
    "plot_classes": {name: f"{RESULTS}/{name}.parquet" for name in ("classes", "equal_slopes")},
    "plot_sites": {
        "norms": shards_of(every_site(f"{SITE}/norms/{{shard}}.parquet")),
        "coefficients": every_site(f"{RESULTS}/coefficients.parquet"),
        "fits": every_site(f"{RESULTS}/fits.parquet"),
    },
    "plot_specifications": {
        "coefficients": [f"{SITE}/{name}/coefficients.parquet" for name in CONFIG.regressions],
    },
    "plot_geometry": {"means": f"{SITE}/geometry/means.parquet"},
    "plot_heads": {
        "heads": f"{HEADS}/heads.parquet",
        "coefficients": f"{HEADS}/head_coefficients.parquet",
    },
    "plot_sources": {
        "shares": f"{SOURCES}/shares.parquet",
        "lags": f"{SOURCES}/lags.parquet",
        "readout": every_site(f"{SITE}/readout/means.parquet"),
    },
    "plot_effects": {
        "elasticities": f"{CAUSAL}/elasticities.parquet",
        "beside": [
            f"{CAUSAL}/{name}.parquet" for name in ("total_effects", "prediction_vs_effect")
        ],
    },
    "plot_comparison": {"coefficients": "results/comparison/coefficients.parquet"},
}
# These read tables of all tokens.
OF_TOKENS_DRAWN = ("plot_norms", "plot_surprisal", "plot_regression", "plot_sites")
# These take less time than their submission to a cluster.
QUICK = ("plot_classes", "plot_specifications", "plot_sources", "plot_effects", "plot_comparison")
# Sites, where the paths of figures do not contain them.
SITES_DRAWN = {"plot_heads": "attention", "plot_sources": "attention", "plot_effects": "{pair}"}


# Each program draws the figures of a run, and on request those of a paper, without titles.
for stage_of_rule in [*DRAWN_FROM, *(f"{stage_drawn}_of_paper" for stage_drawn in DRAWN_FROM)]:
    drawing = stage_of_rule.removesuffix("_of_paper")
    titled = stage_of_rule == drawing

    rule:
        name:
            stage_of_rule
        input:
            together(**DRAWN_FROM[drawing]),
        output:
            figures=(
                figures_of(drawing, SITES_DRAWN.get(drawing))
                if titled
                else outputs.figures_of_paper(drawing, CONFIG)
            ),
        log:
            f"{outputs.FOLDERS[drawing]}/{stage_of_rule}.log".replace("results", "logs", 1),
        localrule: drawing in QUICK
        conda:
            ENVIRONMENT
        resources:
            # Samples of tables of all tokens are drawn, for which these are read.
            **needs(1500, 30, per_gb=0.05) if drawing in OF_TOKENS_DRAWN else needs(1000, 30),
        params:
            **stage(drawing, "draw_figures", titled=titled),
        message:
            "{rule} {wildcards}"
        shell:
            COMMAND
