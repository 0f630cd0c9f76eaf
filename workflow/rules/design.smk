# Each token's log norm with its predictors.


rule build_design:
    input:
        norms=regressed("{shard}.parquet"),
        # Only for relative norms, or for a common sample with them.
        stream=if_stream(lambda wildcards: "results/{model}/{corpus}/stream/{shard}.parquet"),
        # Only if a covariate needs them.
        token_counts=for_covariates("token_counts", "results/{model}/{corpus}/token_counts.parquet"),
        corpus=for_covariates("corpus", "results/corpora/{corpus}.parquet"),
        token_properties=for_covariates(
            "token_properties", "results/{model}/{corpus}/token_properties/{shard}.parquet"
        ),
        surprisal=for_covariates("surprisal", "results/{model}/{corpus}/surprisal/{shard}.parquet"),
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
        " --token-properties {input.token_properties:q} --surprisal {input.surprisal:q}"
        " --output {output:q} --memory {resources.mem_mb} --log {log:q}"


# Tokens occur in several documents, so their effects are solved over all shards and then removed.
rule solve_token_effects:
    input:
        design=shards_of(f"{RESULTS}/design/{{shard}}.parquet"),
        norms=shards_of("results/{model}/{corpus}/{site}/norms/{shard}.parquet"),
    output:
        f"{RESULTS}/token_effects.parquet",
    log:
        "logs/{model}/{corpus}/{site}/{regression}/token_effects.log",
    benchmark:
        "logs/{model}/{corpus}/{site}/{regression}/token_effects.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(2000, 4),
        runtime=minutes(60),
    params:
        settings=settings_of("solve_token_effects"),
        code=code("solve_token_effects"),
    message:
        "solve the effects of tokens of {wildcards.regression}, {wildcards.site}"
    shell:
        "OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1"
        ' python "$ATTNLAG"/scripts/solve_token_effects.py {input.design[0]:q}'
        " --norms {input.norms[0]:q} --settings {params.settings:q} --output {output:q}"
        " --memory {resources.mem_mb} --log {log:q}"


rule take_out_token_effects:
    input:
        design="results/{model}/{corpus}/{site}/{regression}/design/{shard}.parquet",
        norms="results/{model}/{corpus}/{site}/norms/{shard}.parquet",
        effects=f"{RESULTS}/token_effects.parquet",
    output:
        f"{RESULTS}/within_tokens/{{shard}}.parquet",
    log:
        "logs/{model}/{corpus}/{site}/{regression}/within_tokens/{shard}.log",
    benchmark:
        "logs/{model}/{corpus}/{site}/{regression}/within_tokens/{shard}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=minutes(60),
    params:
        code=code("take_out_token_effects"),
    message:
        "take the effects of tokens out of {wildcards.regression}, {wildcards.site}, shard {wildcards.shard}"
    shell:
        'python "$ATTNLAG"/scripts/take_out_token_effects.py {input.design:q} --norms {input.norms:q}'
        " --effects {input.effects:q} --output {output:q}"
        " --memory {resources.mem_mb} --log {log:q}"
