# The part of each attention head, measured by the extraction: shares, lags, and the share of
# attention that first tokens receive.

# Groups of documents, and what their regressions need.
FOR_HEADS = {"corpus"}
if CONFIG.regression_of_heads():
    FOR_HEADS |= CONFIG.files_of_tokens(CONFIG.regression_of_heads())
WITH_UNTRAINED_HEADS = RANDOM_WEIGHTS and CONFIG.regression_of_heads()


use rule program as summarize_heads with:
    input:
        # `corpus`; `token_counts`, `token_properties` and `surprisal` where covariates of the
        # regression need them, else empty (inputs.smk).
        **{name: optional(name in FOR_HEADS, files) for name, files in ALL_TOKEN_FILES.items()},
        heads=shards_of(f"{HEADS}/{{shard}}.parquet"),
        norms=shards_of(f"{STUDY}/attention/norms/{{shard}}.parquet"),
        # The attention to first tokens, from the documents whose sources are traced.
        sinks=optional(WITH_SOURCES, shards_of(f"{STUDY}/attention/sinks/{{shard}}.parquet")),
        # Only for their regressions.
        untrained=optional(WITH_UNTRAINED_HEADS, f"{HEADS}/untrained.parquet"),
        untrained_norms=optional(
            WITH_UNTRAINED_HEADS, f"{STUDY}/attention/untrained_{FIRST_SCALE}.parquet"
        ),
    output:
        # As Parquet, from which tables.write_results makes CSV too.
        **in_both_formats(HEADS, "heads", "head_coefficients"),
    log:
        "logs/{model}/{corpus}/attention/heads/summarize_heads.log",
    resources:
        **needs(2500, 60),
    params:
        **job_params("summarize_heads"),


use rule draw as plot_heads with:
    input:
        heads=f"{HEADS}/heads.parquet",
        head_coefficients=f"{HEADS}/head_coefficients.parquet",
    output:
        figures=figures_of("plot_heads", f"{STUDY}/attention/heads/figures", site="attention"),
    log:
        "logs/{model}/{corpus}/attention/heads/figures/plot_heads.log",
    params:
        **job_params("plot_heads", "draw_figures"),
