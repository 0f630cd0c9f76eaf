# One forward pass over a shard: the model is loaded once and serves all layers and sites. With
# `keep: norms` the vectors are reduced to norms at once, and the norms are this rule's output.

SHOWN["stream"] = [f"{STUDY}/stream/{{shard}}.parquet"]
SHOWN["norms"] = of_study(f"{SITE}/norms/{{shard}}.parquet")
if CONFIG.measures("surprisal"):
    SHOWN["surprisal"] = [f"{STUDY}/surprisal/{{shard}}.parquet"]


use rule program as extract_activations with:
    input:
        model="data/models/{model}/source.json",
        tokens=f"{STUDY}/tokens/{{shard}}.parquet",
    output:
        **as_targets(files_of_quantities("{shard}.parquet")),
        vectors=optional(WITH_VECTORS, of_study(f"{SITE}/activations/{{shard}}.parquet")),
        norms=optional(not WITH_VECTORS, of_study(f"{SITE}/norms/{{shard}}.parquet")),
        stream=f"{STUDY}/stream/{{shard}}.parquet",
    log:
        "logs/{model}/{corpus}/activations/{shard}.log",
    priority: 3
    threads: THREADS
    resources:
        **needs(memory_of_extraction, 240, gpu=ON_GPU),
    params:
        **job_params("extract_activations", **SPEED),


# The norm of every adjustment. With `keep: norms` the extraction makes this file.
if WITH_VECTORS:

    use rule program as compute_norms with:
        input:
            activations=f"{SITE}/activations/{{shard}}.parquet",
        output:
            norms=f"{SITE}/norms/{{shard}}.parquet",
            # Sums of the vectors, for their means.
            sums=f"{SITE}/sums/{{shard}}.parquet",
        log:
            "logs/{model}/{corpus}/{site}/norms/{shard}.log",
        priority: 2
        params:
            **job_params("compute_norms"),
