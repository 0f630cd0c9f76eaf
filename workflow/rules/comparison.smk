# Comparison of models and corpora, from the results of each study.


use rule program as compare_models with:
    input:
        # The program finds these beside the coefficients.
        every(f"{RESULTS}/crossproducts/{{shard}}.parquet"),
        studies=every(f"{RESULTS}/coefficients.parquet"),
    output:
        **in_both_formats("results/comparison", "coefficients", "pairs", "claims"),
        findings="results/comparison/findings.txt",
    log:
        "logs/comparison/compare_models.log",
    resources:
        **needs(4000, 60),
    params:
        **stage("compare_models"),
