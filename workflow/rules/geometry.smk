# Directions of adjustments: relative to the stream and to the adjustments of other tokens. The
# extraction measures what needs the stream; the layer's mean is known once vectors are stored.


if CONFIG.extraction.geometry and CONFIG.extraction.keep == "vectors":

    # If each shard needed the files of all others, the plan would grow with their square.
    use rule program as merge_vector_sums with:
        input:
            sums=shards_of(f"{SITE}/sums/{{shard}}.parquet"),
        output:
            sums=f"{SITE}/sums/all.parquet",
        log:
            "logs/{model}/{corpus}/{site}/sums/all.log",
        benchmark:
            "logs/{model}/{corpus}/{site}/sums/all.tsv"
        resources:
            **needs(1000, 30),
        params:
            **stage("merge_vector_sums"),

    use rule program as compare_directions with:
        input:
            activations=f"{SITE}/activations/{{shard}}.parquet",
            sums=f"{SITE}/sums/all.parquet",
        output:
            cosines=f"{SITE}/centred/{{shard}}.parquet",
            distances=f"{SITE}/distances/{{shard}}.parquet",
        log:
            "logs/{model}/{corpus}/{site}/centred/{shard}.log",
        benchmark:
            "logs/{model}/{corpus}/{site}/centred/{shard}.tsv"
        resources:
            **needs(2000, 120),
        params:
            **stage("compare_directions"),


if CONFIG.extraction.geometry:

    use rule program as summarize_geometry with:
        input:
            geometry=shards_of(f"{SITE}/geometry/{{shard}}.parquet"),
            stream=shards_of("results/{model}/{corpus}/stream/{shard}.parquet"),
            # Only for stored vectors.
            distances=if_vectors(shards_of(f"{SITE}/distances/{{shard}}.parquet")),
            random_weights=if_random(f"{SITE}/geometry/random_weights.parquet"),
            random_weights_stream=if_random(
                "results/{model}/{corpus}/stream/random_weights.parquet"
            ),
            random_weights_distances=if_vectors(
                if_random(f"{SITE}/distances/random_weights.parquet")
            ),
        output:
            means=f"{SITE}/geometry/means.parquet",
            means_csv=f"{SITE}/geometry/means.csv",
            findings=f"{SITE}/geometry/findings.txt",
        log:
            "logs/{model}/{corpus}/{site}/geometry/summarize_geometry.log",
        benchmark:
            "logs/{model}/{corpus}/{site}/geometry/summarize_geometry.tsv"
        params:
            **stage("summarize_geometry"),
