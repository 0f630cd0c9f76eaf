# The part of each attention head, measured by the extraction: shares, lags, sinks, and the floor.


if CONFIG.with_heads():

    use rule program as summarize_heads with:
        input:
            heads=shards_of(f"{HEADS}/{{shard}}.parquet"),
            norms=shards_of("results/{model}/{corpus}/attention/norms/{shard}.parquet"),
            sinks=shards_of("results/{model}/{corpus}/attention/sinks/{shard}.parquet"),
            corpus="results/corpora/{corpus}.parquet",
            # Only for their regressions.
            random_weights=of_regressed_heads(if_random(f"{HEADS}/random_weights.parquet")),
            random_weights_norms=of_regressed_heads(
                if_random("results/{model}/{corpus}/attention/random_weights.parquet")
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
        resources:
            **needs(1000 + 6 * CONFIG.inference.stack_mb, 60),
        params:
            **stage("summarize_heads"),
