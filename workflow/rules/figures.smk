# Figures: one job draws all figures that share their inputs.

# What each stage draws from, by the names that scripts/draw_figures.py knows; "beside" are files
# that it finds beside others.
DRAWN_FROM = {
    "plot_norms": {
        "norms": shards_of(f"{SITE}/norms/{{shard}}.parquet"),
        "stream": shards_of("results/{model}/{corpus}/stream/{shard}.parquet"),
        "tokens": shards_of("results/{model}/{corpus}/tokens/{shard}.parquet"),
        "properties": shards_of("results/{model}/{corpus}/token_properties/{shard}.parquet"),
        "corpus": "results/corpora/{corpus}.parquet",
    },
    "plot_surprisal": {
        "norms": shards_of(f"{SITE}/norms/{{shard}}.parquet"),
        "surprisal": shards_of("results/{model}/{corpus}/surprisal/{shard}.parquet"),
        "properties": shards_of("results/{model}/{corpus}/token_properties/{shard}.parquet"),
    },
    "plot_regression": {
        **{
            name: f"{RESULTS}/{name}.parquet"
            for name in ("coefficients", "fits", "influence", "groups", "residuals", "controls")
        },
        "design": shards_of(fitted_design),
        "joint": f"{RESULTS}/joint.json" if CONFIG.figures.bands == "joint" else [],
        # For the caption in the report.
        "beside": [f"{RESULTS}/findings.txt"],
    },
    "plot_classes": {
        name: f"{RESULTS}/{name}.parquet" for name in ("classes", "equal_slopes", "steps", "parts")
    },
    "plot_sites": {
        "norms": shards_of(of_sites(f"{SITE}/norms/{{shard}}.parquet")),
        "coefficients": of_sites(f"{RESULTS}/coefficients.parquet"),
        "fits": of_sites(f"{RESULTS}/fits.parquet"),
    },
    "plot_specifications": {
        "coefficients": expand(
            f"{RESULTS}/coefficients.parquet", regression=CONFIG.regressions, allow_missing=True
        ),
    },
    "plot_geometry": {"means": f"{SITE}/geometry/means.parquet"},
    "plot_heads": {
        "heads": f"{HEADS}/heads.parquet",
        "coefficients": f"{HEADS}/head_coefficients.parquet",
    },
    "plot_sources": {
        "shares": f"{SOURCES}/shares.parquet",
        "lags": f"{SOURCES}/lags.parquet",
        "readout": of_sites(f"{SITE}/readout/means.parquet"),
    },
    "plot_effects": {
        "elasticities": f"{CAUSAL}/elasticities.parquet",
        "beside": [
            f"{CAUSAL}/{name}.parquet" for name in ("transmitted", "by_part_of_speech", "verdicts")
        ],
    },
    "plot_vectors": {"fits": f"{SITE}/vector_fits.parquet"},
    "plot_comparison": {"coefficients": "results/comparison/coefficients.parquet"},
}
# These read tables of all tokens.
OF_TOKENS = ("plot_norms", "plot_surprisal", "plot_regression", "plot_sites")
# These take less time than their submission to a cluster.
QUICK = (
    "plot_classes",
    "plot_specifications",
    "plot_sources",
    "plot_effects",
    "plot_vectors",
    "plot_comparison",
)
# Labels that the paths of figures do not contain.
LABELS = dict.fromkeys(("plot_heads", "plot_sources"), {"site": "attention"})
LABELS |= {"plot_effects": {"site": "{pair}"}}


# Each program draws the figures of a run, and on request those of a paper, without titles.
for drawing, paper in itertools.product(DRAWN_FROM, ("", "_of_paper")):
    folder = outputs.FOLDERS[drawing].replace("results", "logs", 1)

    rule:
        name:
            drawing + paper
        input:
            together(**DRAWN_FROM[drawing]),
        output:
            figures=(
                outputs.figures_of_paper(drawing, CONFIG)
                if paper
                else figures_of(drawing, **LABELS.get(drawing, {}))
            ),
        log:
            f"{folder}/{drawing}{paper}.log",
        benchmark:
            f"{folder}/{drawing}{paper}.tsv"
        localrule: drawing in QUICK
        conda:
            ENVIRONMENT
        threads: 1
        resources:
            # Samples of tables of all tokens are drawn, for which these are read.
            **needs(1500, 30, per_gb=0.05) if drawing in OF_TOKENS else needs(1000, 30),
        params:
            **stage(drawing, "draw_figures", titled=not paper),
        message:
            "{rule} {wildcards}"
        shell:
            COMMAND
