# Models and corpora side by side, from what each study has made by itself.


rule compare_models:
    input:
        coefficients=studies(f"{RESULTS}/coefficients.parquet", REGRESSIONS),
        # Found by the script beside the coefficients.
        crossproducts=every_shard(f"{RESULTS}/crossproducts/{{shard}}.parquet"),
    output:
        coefficients="results/comparison/coefficients.parquet",
        coefficients_csv=report(
            "results/comparison/coefficients.csv",
            caption="../report/compare_models.rst",
            category="comparison",
            subcategory="all sites",
            labels={"regression": "all", "shows": "coefficients"},
        ),
        pairs="results/comparison/pairs.parquet",
        pairs_csv=report(
            "results/comparison/pairs.csv",
            caption="../report/compare_models.rst",
            category="comparison",
            subcategory="all sites",
            labels={"regression": "all", "shows": "pairs of models"},
        ),
        findings="results/comparison/findings.txt",
    log:
        "logs/comparison/compare_models.log",
    benchmark:
        "benchmarks/comparison/compare_models.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(4000),
        runtime=minutes(60),
    params:
        settings=settings_of_comparison,
        code=code("compare_models"),
    message:
        "compare the models"
    shell:
        "python3 scripts/compare_models.py {input.coefficients:q} --settings {params.settings:q}"
        " --coefficients {output.coefficients:q} --pairs {output.pairs:q}"
        " --findings {output.findings:q} --memory {resources.mem_mb} --log {log:q}"


rule plot_comparison:
    input:
        rules.compare_models.output.coefficients,
    output:
        report(
            expand(
                f"{COMPARISON_FIGURE}.{{format}}",
                format=CONFIG.figures.formats,
                allow_missing=True,
            ),
            caption="../report/plot_comparison.rst",
            category="comparison",
            subcategory="{site}",
            labels={"regression": "{regression}", "shows": "coefficients by depth"},
        ),
    log:
        "logs/comparison/figures/{site}/{regression}/plot_comparison.log",
    benchmark:
        "benchmarks/comparison/figures/{site}/{regression}/plot_comparison.tsv"
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
        "python3 scripts/plot_comparison.py {input:q} --site {wildcards.site:q}"
        " --regression {wildcards.regression:q} --output {output:q}"
        " --memory {resources.mem_mb} --log {log:q}"
