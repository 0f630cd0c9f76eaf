# One forward pass over a shard: the model is loaded once and serves all layers and sites. It stores
# vectors, or with `keep: norms` their norms, which the same function computes.


use rule program as extract_activations with:
    input:
        model="data/models/{model}/source.json",
        tokens=f"{STUDY}/tokens/{{shard}}.parquet",
    output:
        **files_of_quantities("{shard}.parquet", CONFIG.quantities_measured()),
        **files_of_quantities("{shard}.parquet", [CONFIG.extraction.keep, "stream"]),
    log:
        "logs/{model}/{corpus}/activations/{shard}.log",
    priority: 3
    threads: THREADS
    resources:
        **needs(memory_of_extraction, 240, gpu=ON_GPU),
    params:
        **job_params("extract_activations", **SPEED),


# The norm of every adjustment, from stored vectors.
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


# Where the extraction gives norms, nothing computes them again.
ruleorder: extract_activations > compute_norms
