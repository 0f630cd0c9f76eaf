# Each token's log norm beside what may predict it.


rule build_design:
    input:
        norms=regressed("{shard}.parquet"),
        # Only for relative norms.
        stream=if_relative(lambda wildcards: "results/{model}/{corpus}/stream/{shard}.parquet"),
        # Only if a covariate needs them.
        token_counts=for_covariates("token_counts", "results/{model}/{corpus}/token_counts.parquet"),
        corpus=for_covariates("corpus", "results/corpora/{corpus}.parquet"),
    output:
        "results/{model}/{corpus}/{site}/{regression}/design/{shard}.parquet",
    log:
        "logs/{model}/{corpus}/{site}/{regression}/design/{shard}.log",
    benchmark:
        "logs/{model}/{corpus}/{site}/{regression}/design/{shard}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=minutes(60),
    params:
        settings=settings_of("build_design"),
        code=code("build_design"),
    message:
        "build the design of {wildcards.regression}, {wildcards.site}, shard {wildcards.shard}"
    shell:
        'python "$ATTNLAG"/scripts/build_design.py {input.norms:q} --settings {params.settings:q}'
        " --stream {input.stream:q}"
        " --token-counts {input.token_counts:q} --corpus {input.corpus:q}"
        " --output {output:q} --memory {resources.mem_mb} --log {log:q}"
