# Directions of adjustments. The extraction measures those relative to the stream and cosines of
# neighbours; centred cosines need the layer's mean, known once vectors are stored.


# If each shard needed the files of all others, the plan would grow with their square.
use rule program as merge_vector_sums with:
    input:
        sums=shards_of(f"{SITE}/sums/{{shard}}.parquet"),
    output:
        sums=f"{SITE}/sums/all.parquet",
    log:
        "logs/{model}/{corpus}/{site}/sums/all.log",
    params:
        **job_params("merge_vector_sums"),


use rule program as compute_centred_cosines with:
    input:
        activations=f"{SITE}/activations/{{shard}}.parquet",
        sums=f"{SITE}/sums/all.parquet",
    output:
        centred_cosines=f"{SITE}/centred_cosines/{{shard}}.parquet",
        distances=f"{SITE}/distances/{{shard}}.parquet",
    log:
        "logs/{model}/{corpus}/{site}/centred_cosines/{shard}.log",
    resources:
        **needs(mb=2000, minutes=120),
    params:
        **job_params("compute_centred_cosines"),


use rule program as summarize_geometry with:
    input:
        geometry=shards_of(f"{SITE}/geometry/{{shard}}.parquet"),
        stream=shards_of(f"{STUDY}/stream/{{shard}}.parquet"),
        # Only where vectors are stored.
        distances=optional(CENTRED, shards_of(f"{SITE}/distances/{{shard}}.parquet")),
        untrained_geometry=optional(RANDOM_WEIGHTS, [f"{SITE}/geometry/untrained.parquet"]),
        # The trained model, for its cosines in the documents of the untrained one.
        centred_cosines=optional(
            CENTRED and RANDOM_WEIGHTS, shards_of(f"{SITE}/centred_cosines/{{shard}}.parquet")
        ),
        untrained_stream=optional(
            RANDOM_WEIGHTS, [f"{STUDY}/stream/untrained_{FIRST_SCALE}.parquet"]
        ),
        untrained_distances=optional(
            CENTRED and RANDOM_WEIGHTS, [f"{SITE}/distances/untrained.parquet"]
        ),
    output:
        **in_both_formats(f"{SITE}/geometry", "means"),
    log:
        "logs/{model}/{corpus}/{site}/geometry/summarize_geometry.log",
    params:
        **job_params("summarize_geometry"),
