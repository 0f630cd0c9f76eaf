# Comparison of models and corpora, from the results of each study.


rule compare_models:
    input:
        coefficients=studies(f"{RESULTS}/coefficients.parquet"),
        # The script finds these beside the coefficients.
        crossproducts=every_shard(f"{RESULTS}/crossproducts/{{shard}}.parquet"),
    output:
        coefficients="results/comparison/coefficients.parquet",
        coefficients_csv="results/comparison/coefficients.csv",
        coefficients_html=in_report(
            "results/comparison/coefficients.html",
            "compare_models",
            "comparison",
            "tables",
            shows="coefficients",
            **dict.fromkeys(("model", "corpus", "site", "regression"), "all"),
        ),
        pairs="results/comparison/pairs.parquet",
        pairs_csv="results/comparison/pairs.csv",
        pairs_html=in_report(
            "results/comparison/pairs.html",
            "compare_models",
            "comparison",
            "tables",
            shows="pairs of models",
            **dict.fromkeys(("model", "corpus", "site", "regression"), "all"),
        ),
        findings="results/comparison/findings.txt",
    log:
        "logs/comparison/compare_models.log",
    benchmark:
        "logs/comparison/compare_models.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(4000),
        runtime=minutes(60),
    params:
        settings=settings_of("compare_models"),
        code=code("compare_models"),
    message:
        "compare the models"
    shell:
        'python "$ATTNLAG"/scripts/compare_models.py {input.coefficients:q} --settings {params.settings:q}'
        " --coefficients {output.coefficients:q} --pairs {output.pairs:q}"
        " --findings {output.findings:q} --memory {resources.mem_mb} --log {log:q}"


rule plot_comparison:
    input:
        rules.compare_models.output.coefficients,
    output:
        figures_of(
            "plot_comparison",
            "results/comparison/figures/{site}/{regression}",
            model="all",
            corpus="all",
        ),
    log:
        "logs/comparison/figures/{site}/{regression}/plot_comparison.log",
    benchmark:
        "logs/comparison/figures/{site}/{regression}/plot_comparison.tsv"
    localrule: True
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=minutes(30),
    params:
        code=code("plot_comparison"),
    message:
        "draw the models side by side: {wildcards.regression}, {wildcards.site}"
    shell:
        'python "$ATTNLAG"/scripts/plot_comparison.py {input:q} --site {wildcards.site:q}'
        " --regression {wildcards.regression:q} --output {output:q}"
        " --memory {resources.mem_mb} --log {log:q}"
