# Comparison of models and corpora, from the results of each study.


use rule program as compare_models with:
    input:
        coefficients=every(f"{RESULTS}/coefficients.parquet"),
        controls=every(f"{RESULTS}/controls.parquet"),
        untrained_scales=optional(RANDOM_WEIGHTS, every(f"{RESULTS}/untrained_scales.parquet")),
        crossproducts=every(f"{RESULTS}/crossproducts/{{shard}}.parquet"),
    output:
        **in_both_formats("results/comparison", "coefficients", "pairs", "claims"),
    log:
        "logs/comparison/compare_models.log",
    resources:
        **needs(mb=4000, minutes=60),
    params:
        **job_params("compare_models"),


use rule program as write_comparison with:
    input:
        claims="results/claims.parquet",
    output:
        findings="results/comparison/findings.txt",
    log:
        "logs/comparison/findings.log",
    localrule: True
    params:
        **job_params("write_comparison"),


use rule draw as plot_comparison with:
    input:
        **fitted_of(model=CONFIG.models, corpus=CONFIG.corpora),
        compared="results/comparison/coefficients.parquet",
    output:
        figures=figures_of("plot_comparison", "results/comparison/figures/{site}/{regression}"),
    log:
        "logs/comparison/figures/{site}/{regression}/plot_comparison.log",
    localrule: True
    params:
        **job_params("plot_comparison", "draw_figures"),
