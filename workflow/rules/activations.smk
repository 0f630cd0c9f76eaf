# By default (`keep: vectors`) the extraction writes float32 vectors, attention/activations/, of
# which `compute_norms` makes attention/norms/. With `keep: norms` it writes norms in their place:
# the same but for rounding, which a GPU and vectors in half precision (`storage_dtype`) cause.


use rule program as extract_activations with:
    input:
        model="data/models/{model}/source.json",  # the program gets its folder as an option
        tokens=f"{STUDY}/tokens/{{shard}}.parquet",
    output:
        # By the name of a quantity: attention/activations/{shard}.parquet for `vectors`; stream/.
        **files_of_quantities("{shard}.parquet", [CONFIG.extraction.keep, "stream"]),
        # attention/geometry/ and attention/heads/, or what else `quantities` names.
        **files_of_quantities("{shard}.parquet", CONFIG.quantities_measured()),
    log:
        "logs/{model}/{corpus}/activations/{shard}.log",
    priority: 3
    threads: THREADS
    resources:
        **needs(memory_of_extraction, 240, gpu=ON_GPU),
    params:
        # The options are the model's folder, the device and the tokens of a batch.
        **job_params("extract_activations", **SPEED),


# The norm of every adjustment, from stored vectors.
use rule program as compute_norms with:
    input:
        activations=f"{SITE}/activations/{{shard}}.parquet",
    output:
        # results/{model}/{corpus}/attention/norms/{shard}.parquet, as for every other site.
        norms=f"{SITE}/norms/{{shard}}.parquet",
        # Sums of the vectors but for first tokens, for the means of layers.
        sums=f"{SITE}/sums/{{shard}}.parquet",
    log:
        "logs/{model}/{corpus}/{site}/norms/{shard}.log",
    priority: 2
    params:
        **job_params("compute_norms"),


# Where the extraction gives norms, nothing computes them again.
ruleorder: extract_activations > compute_norms
