# Figures: one rule for each set of inputs draws all figures made from them.


use rule figures as plot_norms with:
    input:
        together(
            norms=shards_of(f"{SITE}/norms/{{shard}}.parquet"),
            stream=shards_of("results/{model}/{corpus}/stream/{shard}.parquet"),
            tokens=shards_of("results/{model}/{corpus}/tokens/{shard}.parquet"),
            properties=shards_of("results/{model}/{corpus}/token_properties/{shard}.parquet"),
            corpus="results/corpora/{corpus}.parquet",
        ),
    output:
        figures=figures_of("plot_norms"),
    log:
        "logs/{model}/{corpus}/{site}/figures/plot_norms.log",
    benchmark:
        "logs/{model}/{corpus}/{site}/figures/plot_norms.tsv"
    resources:
        **needs(1000, 30, per_mb=2),
    params:
        **stage("plot_norms", "draw_figures"),


use rule figures as plot_surprisal with:
    input:
        together(
            norms=shards_of(f"{SITE}/norms/{{shard}}.parquet"),
            surprisal=shards_of("results/{model}/{corpus}/surprisal/{shard}.parquet"),
            properties=shards_of("results/{model}/{corpus}/token_properties/{shard}.parquet"),
        ),
    output:
        figures=figures_of("plot_surprisal"),
    log:
        "logs/{model}/{corpus}/{site}/figures/plot_surprisal.log",
    benchmark:
        "logs/{model}/{corpus}/{site}/figures/plot_surprisal.tsv"
    resources:
        **needs(1000, 30, per_mb=2),
    params:
        **stage("plot_surprisal", "draw_figures"),


use rule figures as plot_regression with:
    input:
        # For the caption in the report.
        f"{RESULTS}/findings.txt",
        coefficients=f"{RESULTS}/coefficients.parquet",
        fits=f"{RESULTS}/fits.parquet",
        influence=f"{RESULTS}/influence.parquet",
        groups=f"{RESULTS}/groups.parquet",
        residuals=f"{RESULTS}/residuals.parquet",
        design=fitted_designs,
        # For joint bands.
        joint=f"{RESULTS}/joint.json" if CONFIG.figures.bands == "joint" else [],
        controls=f"{RESULTS}/controls.parquet",
    output:
        figures=figures_of("plot_regression"),
    log:
        "logs/{model}/{corpus}/{site}/{regression}/figures/plot_regression.log",
    benchmark:
        "logs/{model}/{corpus}/{site}/{regression}/figures/plot_regression.tsv"
    resources:
        **needs(1000, 30, per_mb=2),
    params:
        **stage("plot_regression", "draw_figures"),


use rule figures as plot_classes with:
    input:
        classes=f"{RESULTS}/classes.parquet",
        equal_slopes=f"{RESULTS}/equal_slopes.parquet",
        steps=f"{RESULTS}/steps.parquet",
        parts=f"{RESULTS}/parts.parquet",
    output:
        figures=figures_of("plot_classes"),
    log:
        "logs/{model}/{corpus}/{site}/{regression}/figures/plot_classes.log",
    benchmark:
        "logs/{model}/{corpus}/{site}/{regression}/figures/plot_classes.tsv"
    localrule: True
    params:
        **stage("plot_classes", "draw_figures"),


use rule figures as plot_sites with:
    input:
        norms=lambda wildcards: expand(
            f"{SITE}/norms/{{shard}}.parquet",
            site=CONFIG.extraction.sites,
            shard=shards(wildcards.corpus),
            allow_missing=True,
        ),
        coefficients=of_sites(f"{RESULTS}/coefficients.parquet"),
        fits=of_sites(f"{RESULTS}/fits.parquet"),
    output:
        figures=figures_of("plot_sites"),
    log:
        "logs/{model}/{corpus}/figures/{regression}/plot_sites.log",
    benchmark:
        "logs/{model}/{corpus}/figures/{regression}/plot_sites.tsv"
    resources:
        **needs(1000, 30, per_mb=2),
    params:
        **stage("plot_sites", "draw_figures"),


use rule figures as plot_specifications with:
    input:
        coefficients=expand(
            f"{RESULTS}/coefficients.parquet", regression=CONFIG.regressions, allow_missing=True
        ),
    output:
        figures=figures_of("plot_specifications"),
    log:
        "logs/{model}/{corpus}/{site}/figures/plot_specifications.log",
    benchmark:
        "logs/{model}/{corpus}/{site}/figures/plot_specifications.tsv"
    localrule: True
    params:
        **stage("plot_specifications", "draw_figures"),


use rule figures as plot_geometry with:
    input:
        means=f"{SITE}/geometry/means.parquet",
    output:
        figures=figures_of("plot_geometry"),
    log:
        "logs/{model}/{corpus}/{site}/figures/plot_geometry.log",
    benchmark:
        "logs/{model}/{corpus}/{site}/figures/plot_geometry.tsv"
    params:
        **stage("plot_geometry", "draw_figures"),


use rule figures as plot_heads with:
    input:
        heads=f"{HEADS}/heads.parquet",
        coefficients=f"{HEADS}/head_coefficients.parquet",
    output:
        figures=figures_of("plot_heads", site="attention"),
    log:
        "logs/{model}/{corpus}/attention/heads/plot_heads.log",
    benchmark:
        "logs/{model}/{corpus}/attention/heads/plot_heads.tsv"
    params:
        **stage("plot_heads", "draw_figures"),


use rule figures as plot_effects with:
    input:
        # The program finds these beside the first table.
        f"{CAUSAL}/transmitted.parquet",
        f"{CAUSAL}/by_part_of_speech.parquet",
        elasticities=f"{CAUSAL}/elasticities.parquet",
    output:
        figures=figures_of("plot_effects", site="{pair}"),
    log:
        "logs/{model}/{corpus}/causal/figures/{pair}.log",
    benchmark:
        "logs/{model}/{corpus}/causal/figures/{pair}.tsv"
    localrule: True
    params:
        **stage("plot_effects", "draw_figures"),


use rule figures as plot_vectors with:
    input:
        fits=f"{SITE}/vector_fits.parquet",
    output:
        figures=figures_of("plot_vectors"),
    log:
        "logs/{model}/{corpus}/{site}/plot_vectors.log",
    benchmark:
        "logs/{model}/{corpus}/{site}/plot_vectors.tsv"
    localrule: True
    params:
        **stage("plot_vectors", "draw_figures"),


use rule figures as plot_comparison with:
    input:
        coefficients="results/comparison/coefficients.parquet",
    output:
        figures=figures_of("plot_comparison"),
    log:
        "logs/comparison/figures/{site}/{regression}/plot_comparison.log",
    benchmark:
        "logs/comparison/figures/{site}/{regression}/plot_comparison.tsv"
    localrule: True
    params:
        **stage("plot_comparison", "draw_figures"),
