# The tokens that write adjustments, and what adjustments say, from passes over some documents.

SOURCES = f"{STUDY}/attention/sources"


use rule program as trace_sources with:
    input:
        model="data/models/{model}/source.json",  # its folder is the option `folder`
        tokens=f"{STUDY}/tokens/{{shard}}.parquet",
        corpus="results/corpora/{corpus}.parquet",
    output:
        # Only attention has sources.
        sources=optional(WITH_SOURCES, f"{SOURCES}/{{shard}}.parquet"),
        # The norms of what a token writes to itself, and of what all earlier ones write to it.
        source_parts=optional(WITH_SOURCES, f"{STUDY}/attention/source_parts/{{shard}}.parquet"),
        # The attention of heads to the first token of a sequence.
        sinks=optional(WITH_SOURCES and WITH_HEADS, f"{STUDY}/attention/sinks/{{shard}}.parquet"),
        readout=study_files(f"{SITE}/readout/{{shard}}.parquet"),
        untrained_sources=optional(
            WITH_SOURCES and RANDOM_WEIGHTS, f"{SOURCES}/untrained/{{shard}}.parquet"
        ),
        untrained_readout=optional(
            RANDOM_WEIGHTS, study_files(f"{SITE}/readout/untrained/{{shard}}.parquet")
        ),
    log:
        "logs/{model}/{corpus}/sources/{shard}.log",
    threads: THREADS
    resources:
        **needs(mb=memory_of_extraction, minutes=60, gpu=ON_GPU),
    params:
        # Sequences run one at a time, so that no option states the tokens of a batch.
        **job_params("trace_sources", folder=MODEL_FOLDER, device=CONFIG.extraction.device),


use rule program as summarize_sources with:
    input:
        readout=shards_of(study_files(f"{SITE}/readout/{{shard}}.parquet")),
        untrained_readout=optional(
            RANDOM_WEIGHTS, shards_of(study_files(f"{SITE}/readout/untrained/{{shard}}.parquet"))
        ),
        sources=optional(WITH_SOURCES, shards_of(f"{SOURCES}/{{shard}}.parquet")),
        untrained_sources=optional(
            WITH_SOURCES and RANDOM_WEIGHTS, shards_of(f"{SOURCES}/untrained/{{shard}}.parquet")
        ),
    output:
        **in_both_formats(SOURCES, *optional(WITH_SOURCES, ["shares", "lags"])),
        # Of the untrained model, whose control is read from one file of all shards; `trace_sources`
        # writes those of the trained one.
        source_parts=optional(
            WITH_SOURCES and RANDOM_WEIGHTS,
            f"{STUDY}/attention/source_parts/untrained.parquet",
        ),
        readout=study_files(f"{SITE}/readout/means.parquet"),
        # `tables.write_results` writes it beside each of these files.
        readout_csv=study_files(f"{SITE}/readout/means.csv"),
    log:
        "logs/{model}/{corpus}/sources/summarize_sources.log",
    resources:
        **needs(mb=1000, minutes=30, per_mb=20),
    params:
        **job_params("summarize_sources"),


use rule draw as plot_sources with:
    input:
        shares=optional(WITH_SOURCES, f"{SOURCES}/shares.parquet"),
        lags=optional(WITH_SOURCES, f"{SOURCES}/lags.parquet"),
        readout=study_files(f"{SITE}/readout/means.parquet"),
    output:
        figures=figures_of("plot_sources", f"{SOURCES}/figures", site="attention"),
    log:
        "logs/{model}/{corpus}/attention/sources/figures/plot_sources.log",
    localrule: True
    params:
        **job_params("plot_sources", "draw_figures"),
