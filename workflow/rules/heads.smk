# The part of each attention head, measured by the extraction: shares, lags, sinks, and the floor.

HEADS = "results/{model}/{corpus}/attention/heads"
CONTROLLED = bool(CONFIG.regression_of_heads()) and CONFIG.controls.random_weights is not None


if CONFIG.with_heads():

    rule summarize_heads:
        input:
            heads=shards_of(f"{HEADS}/{{shard}}.parquet"),
            norms=shards_of("results/{model}/{corpus}/attention/norms/{shard}.parquet"),
            sinks=shards_of("results/{model}/{corpus}/attention/sinks/{shard}.parquet"),
            corpus="results/corpora/{corpus}.parquet",
            random_weights=f"{HEADS}/random_weights.parquet" if CONTROLLED else [],
            random_weights_norms=(
                "results/{model}/{corpus}/attention/random_weights.parquet" if CONTROLLED else []
            ),
            # Only if a covariate needs them.
            token_counts=for_heads("token_counts", "results/{model}/{corpus}/token_counts.parquet"),
            token_properties=for_heads(
                "token_properties", "results/{model}/{corpus}/token_properties/{shard}.parquet"
            ),
            surprisal=for_heads("surprisal", "results/{model}/{corpus}/surprisal/{shard}.parquet"),
        output:
            table=f"{HEADS}/heads.parquet",
            table_csv=f"{HEADS}/heads.csv",
            coefficients=f"{HEADS}/head_coefficients.parquet",
            coefficients_csv=f"{HEADS}/head_coefficients.csv",
            findings=f"{HEADS}/findings.txt",
        log:
            "logs/{model}/{corpus}/attention/heads/summarize_heads.log",
        benchmark:
            "logs/{model}/{corpus}/attention/heads/summarize_heads.tsv"
        conda:
            ENVIRONMENT
        threads: 1
        resources:
            mem_mb=memory(2000),
            runtime=minutes(60),
        params:
            settings=settings_of("summarize_heads"),
            code=code("summarize_heads"),
            token_properties=lambda wildcards, input: input.token_properties[:1],
            surprisal=lambda wildcards, input: input.surprisal[:1],
        message:
            "summarise the heads of {wildcards.model}, {wildcards.corpus}"
        shell:
            "OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1"
            ' python "$ATTNLAG"/scripts/summarize_heads.py {input.heads[0]:q} --norms {input.norms[0]:q}'
            " --sinks {input.sinks[0]:q} --corpus {input.corpus:q}"
            " --random-weights {input.random_weights:q}"
            " --random-weights-norms {input.random_weights_norms:q}"
            " --token-counts {input.token_counts:q}"
            " --token-properties {params.token_properties:q} --surprisal {params.surprisal:q}"
            " --settings {params.settings:q} --output {output.table:q}"
            " --coefficients {output.coefficients:q}"
            " --findings {output.findings:q} --memory {resources.mem_mb} --log {log:q}"

    rule plot_heads:
        input:
            rules.summarize_heads.output.table,
            rules.summarize_heads.output.coefficients,
        output:
            figures_of("plot_heads", f"{HEADS}/figures", site="attention", regression="all"),
        log:
            "logs/{model}/{corpus}/attention/heads/plot_heads.log",
        benchmark:
            "logs/{model}/{corpus}/attention/heads/plot_heads.tsv"
        conda:
            ENVIRONMENT
        threads: 1
        resources:
            mem_mb=memory(1000),
            runtime=minutes(30),
        params:
            code=code("plot_heads"),
        message:
            "draw the heads of {wildcards.model}, {wildcards.corpus}"
        shell:
            'python "$ATTNLAG"/scripts/plot_heads.py {input:q} --output {output:q}'
            " --memory {resources.mem_mb} --log {log:q}"
