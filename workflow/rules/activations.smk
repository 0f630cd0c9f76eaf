# One forward pass over a shard: the model is loaded once and serves all layers and sites. With
# `keep: norms` the vectors are reduced to norms at once, and the norms are this rule's output.

KEPT = "activations" if CONFIG.extraction.keep == "vectors" else "norms"


use rule program as extract_activations with:
    input:
        "data/models/{model}/source.json",
        tokens="results/{model}/{corpus}/tokens/{shard}.parquet",
    output:
        sites=of_sites(f"{SITE}/{KEPT}/{{shard}}.parquet"),
        stream="results/{model}/{corpus}/stream/{shard}.parquet",
        # The surprisal and the entropies of the model's predictions.
        surprisal=["results/{model}/{corpus}/surprisal/{shard}.parquet"] * CONFIG.with_surprisal(),
        geometry=if_turns(f"{SITE}/geometry/{{shard}}.parquet"),
        heads=if_heads(f"{HEADS}/{{shard}}.parquet"),
        sinks=if_heads("results/{model}/{corpus}/attention/sinks/{shard}.parquet"),
    log:
        f"logs/{{model}}/{{corpus}}/{KEPT}/{{shard}}.log",
    benchmark:
        f"logs/{{model}}/{{corpus}}/{KEPT}/{{shard}}.tsv"
    priority: 2
    threads: THREADS
    resources:
        **needs(memory_of_extraction, 240, gpu=ON_GPU),
    params:
        **stage("extract_activations", **SPEED),
