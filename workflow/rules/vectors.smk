# Regressions of the vector of a token on those of previous tokens.


use rule program as accumulate_vectors with:
    input:
        activations=f"{SITE}/activations/{{shard}}.parquet",
        # All shards use the coordinates of the first one.
        first=f"{SITE}/activations/0000.parquet",
        corpus="results/corpora/{corpus}.parquet",
    output:
        products=f"{SITE}/vector_products/{{shard}}.parquet",
    log:
        "logs/{model}/{corpus}/{site}/vector_products/{shard}.log",
    priority: 2
    # Layers run in parallel, each on a thread.
    threads: THREADS
    resources:
        **needs(2500, 120),
    params:
        **stage("accumulate_vectors"),


use rule program as fit_vectors with:
    input:
        products=shards_of(f"{SITE}/vector_products/{{shard}}.parquet"),
        activations=shards_of(f"{SITE}/activations/{{shard}}.parquet"),
        corpus="results/corpora/{corpus}.parquet",
        random_weights=when(UNTRAINED, f"{SITE}/random_weights_vectors.parquet"),
    output:
        **in_both_formats(SITE, "vector_fits"),
        findings=f"{SITE}/vector_findings.txt",
    log:
        "logs/{model}/{corpus}/{site}/fit_vectors.log",
    priority: 2
    threads: THREADS
    resources:
        **needs(3000, 240),
    params:
        **stage("fit_vectors"),
