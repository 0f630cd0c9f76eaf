# Comparison of models and corpora, from the results of each study.


use rule program as compare_models with:
    input:
        coefficients=every(f"{RESULTS}/coefficients.parquet"),
        controls=every(f"{RESULTS}/controls.parquet"),
        before_training=when(UNTRAINED, every(f"{RESULTS}/before_training.parquet")),
        crossproducts=every(f"{RESULTS}/crossproducts/{{shard}}.parquet"),
    output:
        **in_both_formats("results/comparison", "coefficients", "pairs", "claims"),
    log:
        "logs/comparison/compare_models.log",
    resources:
        **needs(4000, 60),
    params:
        **stage("compare_models"),
