# The same architecture before any training, on some documents. It serves all regressions.


use rule program as extract_random_weights with:
    input:
        model="data/models/{model}/source.json",
        tokens=shards_of(f"{STUDY}/tokens/{{shard}}.parquet"),
        corpus="results/corpora/{corpus}.parquet",
    output:
        **files_of_quantities("random_weights.parquet", CONFIG.quantities_untrained()),
        norms=study_files(f"{SITE}/random_weights.parquet"),
        stream=f"{STUDY}/stream/random_weights.parquet",
        # Norms alone, at further scales of the weights.
        scales=partly(study_files(f"{SITE}/random_weights{{scale}}.parquet"), scale=SCALES[1:]),
        scales_stream=partly(f"{STUDY}/stream/random_weights{{scale}}.parquet", scale=SCALES[1:]),
        centred_cosines=optional(
            CENTRED, study_files(f"{SITE}/centred_cosines/random_weights.parquet")
        ),
        distances=optional(CENTRED, study_files(f"{SITE}/distances/random_weights.parquet")),
    log:
        "logs/{model}/{corpus}/random_weights.log",
    threads: THREADS
    resources:
        **needs(memory_of_extraction, 120, gpu=ON_GPU),
    params:
        **job_params("extract_random_weights", **SPEED),
