# Comparison of models and corpora, from the results of each study.

TABLES_COMPARED = ("compare_models", "comparison", "tables")


use rule program as compare_models with:
    input:
        # The program finds these beside the coefficients.
        every(f"{RESULTS}/crossproducts/{{shard}}.parquet"),
        studies=every(f"{RESULTS}/coefficients.parquet"),
    output:
        **in_both_formats("results/comparison", "coefficients", "pairs", "claims", "population"),
        coefficients_html=in_report(
            "results/comparison/coefficients.html", *TABLES_COMPARED, "coefficients"
        ),
        pairs_html=in_report("results/comparison/pairs.html", *TABLES_COMPARED, "pairs of models"),
        findings="results/comparison/findings.txt",
    log:
        "logs/comparison/compare_models.log",
    resources:
        **needs(4000, 60),
    params:
        **stage("compare_models"),
