# By default (`keep: vectors`) the extraction writes float32 vectors, {site}/activations/, of which
# `compute_norms` makes {site}/norms/, where {site} is attention unless the configuration names
# others. With `keep: norms` it writes norms in their place:
# the same but for rounding, which a GPU and vectors in half precision (`storage_dtype`) cause.


use rule program as extract_activations with:
    input:
        model="data/models/{model}/source.json",  # its folder is the option `folder`
        tokens=f"{STUDY}/tokens/{{shard}}.parquet",
    output:
        # Each under the name of its quantity: `vectors` in {site}/activations/ or `norms` in
        # {site}/norms/, and `stream` in stream/.
        **files_of_quantities("{shard}.parquet", [CONFIG.extraction.keep, "stream"]),
        # What `extraction.quantities` asks for: by default {site}/geometry/ and attention/heads/.
        **files_of_quantities("{shard}.parquet", CONFIG.quantities_measured()),
    log:
        "logs/{model}/{corpus}/activations/{shard}.log",
    priority: 3
    threads: THREADS
    resources:
        **needs(mb=memory_of_extraction, minutes=240, gpu=ON_GPU),
    params:
        **job_params(
            "extract_activations",
            folder=MODEL_FOLDER,
            device=CONFIG.extraction.device,
            batch_tokens=CONFIG.extraction.batch_tokens,
        ),


# The norm of every adjustment, from stored vectors.
use rule program as compute_norms with:
    input:
        activations=f"{SITE}/activations/{{shard}}.parquet",
    output:
        norms=f"{SITE}/norms/{{shard}}.parquet",
        # Sums of the vectors without first tokens, for the mean of each layer.
        sums=f"{SITE}/sums/{{shard}}.parquet",
    log:
        "logs/{model}/{corpus}/{site}/norms/{shard}.log",
    priority: 2
    params:
        **job_params("compute_norms"),


# Where the extraction gives norms, nothing computes them again.
ruleorder: extract_activations > compute_norms
