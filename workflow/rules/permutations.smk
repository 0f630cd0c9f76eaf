# The null of a regression: its coefficients when the order of tokens means nothing.


rule permute_documents:
    input:
        norms="results/{model}/{corpus}/{site}/norms/{shard}.parquet",
        # Only if a covariate needs them.
        token_counts=for_covariates("token_counts", "results/{model}/{corpus}/token_counts.parquet"),
        corpus=for_covariates("corpus", "results/corpora/{corpus}.parquet"),
    output:
        f"{RESULTS}/permutations/{{shard}}.parquet",
    log:
        "logs/{model}/{corpus}/{site}/{regression}/permutations/{shard}.log",
    benchmark:
        "logs/{model}/{corpus}/{site}/{regression}/permutations/{shard}.tsv"
    wildcard_constraints:
        regression=PERMUTED,
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=minutes(240),
    params:
        settings=settings_of("permute_documents"),
        code=code("permute_documents"),
    message:
        "permute the documents of {wildcards.regression}, {wildcards.site}, shard {wildcards.shard}"
    shell:
        'python "$ATTNLAG"/scripts/permute_documents.py {input.norms:q} --settings {params.settings:q}'
        " --token-counts {input.token_counts:q} --corpus {input.corpus:q}"
        " --output {output:q} --memory {resources.mem_mb} --log {log:q}"


rule fit_permutations:
    input:
        permutations=shards_of(f"{RESULTS}/permutations/{{shard}}.parquet"),
    output:
        coefficients=f"{RESULTS}/coefficients.parquet",
        coefficients_csv=f"{RESULTS}/coefficients.csv",
        coefficients_html=in_report(
            f"{RESULTS}/coefficients.html",
            "fit_permutations",
            "coefficients",
            "by layer",
            shows="table",
        ),
        fits=f"{RESULTS}/fits.parquet",
        fits_csv=f"{RESULTS}/fits.csv",
        findings=f"{RESULTS}/findings.txt",
    log:
        "logs/{model}/{corpus}/{site}/{regression}/fit_permutations.log",
    benchmark:
        "logs/{model}/{corpus}/{site}/{regression}/fit_permutations.tsv"
    wildcard_constraints:
        regression=PERMUTED,
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(1000, 3),
        runtime=minutes(60),
    params:
        settings=settings_of("fit_permutations"),
        code=code("fit_permutations"),
    message:
        "fit the null {wildcards.regression} to {wildcards.model}, {wildcards.corpus}, {wildcards.site}"
    shell:
        'python "$ATTNLAG"/scripts/fit_permutations.py {input.permutations[0]:q} --settings {params.settings:q}'
        " --site {wildcards.site:q} --regression {wildcards.regression:q}"
        " --coefficients {output.coefficients:q} --fits {output.fits:q}"
        " --findings {output.findings:q} --memory {resources.mem_mb} --log {log:q}"
