# The tokens that write adjustments, and what adjustments say, from passes over some documents.

SOURCES = "results/{model}/{corpus}/attention/sources"


use rule program as trace_sources with:
    input:
        "data/models/{model}/source.json",
        tokens="results/{model}/{corpus}/tokens/{shard}.parquet",
        corpus="results/corpora/{corpus}.parquet",
    output:
        sources=if_sources(f"{SOURCES}/{{shard}}.parquet"),
        written=if_sources("results/{model}/{corpus}/attention/written/{shard}.parquet"),
        readout=of_sites(f"{SITE}/readout/{{shard}}.parquet"),
        random_sources=if_sources(if_random(f"{SOURCES}/random_weights/{{shard}}.parquet")),
        random_readout=if_random(of_sites(f"{SITE}/readout/random_weights/{{shard}}.parquet")),
    log:
        "logs/{model}/{corpus}/sources/{shard}.log",
    benchmark:
        "logs/{model}/{corpus}/sources/{shard}.tsv"
    threads: THREADS
    resources:
        **needs(memory_of_extraction, 60, gpu=ON_GPU),
    params:
        **stage("trace_sources", **SPEED),


use rule program as summarize_sources with:
    input:
        sources=if_sources(shards_of(f"{SOURCES}/{{shard}}.parquet")),
        random_sources=if_sources(
            if_random(shards_of(f"{SOURCES}/random_weights/{{shard}}.parquet"))
        ),
        readout=shards_of(of_sites(f"{SITE}/readout/{{shard}}.parquet")),
        random_readout=if_random(
            shards_of(of_sites(f"{SITE}/readout/random_weights/{{shard}}.parquet"))
        ),
    output:
        shares=if_sources(f"{SOURCES}/shares.parquet"),
        shares_csv=if_sources(f"{SOURCES}/shares.csv"),
        neighbours=if_sources(f"{SOURCES}/neighbours.parquet"),
        neighbours_csv=if_sources(f"{SOURCES}/neighbours.csv"),
        lags=if_sources(f"{SOURCES}/lags.parquet"),
        lags_csv=if_sources(f"{SOURCES}/lags.csv"),
        written=if_sources(
            if_random("results/{model}/{corpus}/attention/written/random_weights.parquet")
        ),
        findings=if_sources(f"{SOURCES}/findings.txt"),
        readout=of_sites(f"{SITE}/readout/means.parquet"),
        readout_csv=of_sites(f"{SITE}/readout/means.csv"),
        readout_findings=of_sites(f"{SITE}/readout/findings.txt"),
    log:
        "logs/{model}/{corpus}/sources/summarize_sources.log",
    benchmark:
        "logs/{model}/{corpus}/sources/summarize_sources.tsv"
    resources:
        **needs(1000, 30, per_mb=20),
    params:
        **stage("summarize_sources"),
