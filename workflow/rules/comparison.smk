# Comparison of models and corpora, from the results of each study.


use rule program as compare_models with:
    input:
        # The program finds these beside the coefficients.
        every_shard(f"{RESULTS}/crossproducts/{{shard}}.parquet"),
        studies=studies(f"{RESULTS}/coefficients.parquet"),
    output:
        coefficients="results/comparison/coefficients.parquet",
        coefficients_csv="results/comparison/coefficients.csv",
        coefficients_html=in_report(
            "results/comparison/coefficients.html",
            "compare_models",
            "comparison",
            "tables",
            shows="coefficients",
        ),
        pairs="results/comparison/pairs.parquet",
        pairs_csv="results/comparison/pairs.csv",
        pairs_html=in_report(
            "results/comparison/pairs.html",
            "compare_models",
            "comparison",
            "tables",
            shows="pairs of models",
        ),
        claims="results/comparison/claims.parquet",
        claims_csv="results/comparison/claims.csv",
        population="results/comparison/population.parquet",
        population_csv="results/comparison/population.csv",
        findings="results/comparison/findings.txt",
    log:
        "logs/comparison/compare_models.log",
    benchmark:
        "logs/comparison/compare_models.tsv"
    resources:
        **needs(4000, 60),
    params:
        **stage("compare_models"),
