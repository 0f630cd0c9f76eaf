# The part of each attention head: its share and the regression of its log norm on lags, from what
# the extraction measured; from traced documents, the share of its attention that first tokens get.

WITH_UNTRAINED_HEADS = RANDOM_WEIGHTS and CONFIG.regression_of_heads()


use rule program as summarize_heads with:
    input:
        # `corpus`, with the groups of documents; where covariates need them, `token_counts`,
        # `token_properties` and `surprisal`.
        unpack(lambda wildcards: token_files_of_all_shards(CONFIG.files_of_heads(), wildcards)),
        heads=shards_of(f"{HEADS}/{{shard}}.parquet"),
        # Norms of the whole adjustment, whose parts heads are.
        norms=shards_of(f"{STUDY}/attention/norms/{{shard}}.parquet"),
        # The attention to first tokens, from the documents whose sources are traced.
        sinks=optional(WITH_SOURCES, shards_of(f"{STUDY}/attention/sinks/{{shard}}.parquet")),
        # Heads and norms before training, for the regression of heads.
        untrained=optional(WITH_UNTRAINED_HEADS, f"{HEADS}/untrained.parquet"),
        untrained_norms=optional(
            WITH_UNTRAINED_HEADS, f"{STUDY}/attention/untrained_{FIRST_SCALE}.parquet"
        ),
    output:
        **in_both_formats(HEADS, "heads", "head_coefficients"),
    log:
        "logs/{model}/{corpus}/attention/heads/summarize_heads.log",
    resources:
        **needs(mb=2500, minutes=60),
    params:
        **job_params("summarize_heads"),


use rule draw as plot_heads with:
    input:
        heads=f"{HEADS}/heads.parquet",
        head_coefficients=f"{HEADS}/head_coefficients.parquet",
    output:
        figures=figures_of("plot_heads", f"{HEADS}/figures", site="attention"),
    log:
        "logs/{model}/{corpus}/attention/heads/figures/plot_heads.log",
    localrule: True
    params:
        **job_params("plot_heads", "draw_figures"),
