# The same architecture before any training, on some documents. It serves all regressions.


use rule program as extract_untrained with:
    input:
        model="data/models/{model}/source.json",  # its folder is the option `folder`
        tokens=shards_of(f"{STUDY}/tokens/{{shard}}.parquet"),
        corpus="results/corpora/{corpus}.parquet",
    output:
        # Only at the first scale of the weights: what is measured of the trained model (heads/,
        # {site}/geometry/ by default), but for predictions.
        **files_of_quantities("untrained.parquet", CONFIG.quantities_untrained()),
        centred_cosines=optional(CENTRED, study_files(f"{SITE}/centred_cosines/untrained.parquet")),
        distances=optional(CENTRED, study_files(f"{SITE}/distances/untrained.parquet")),
        # At each scale; the program finds the files of a scale by their names.
        norms=partly(study_files(f"{SITE}/untrained_{{scale}}.parquet"), scale=SCALES),
        stream=partly(f"{STUDY}/stream/untrained_{{scale}}.parquet", scale=SCALES),
    log:
        "logs/{model}/{corpus}/untrained.log",
    threads: THREADS
    resources:
        **needs(mb=memory_of_extraction, minutes=120, gpu=ON_GPU),
    params:
        **job_params(
            "extract_untrained",
            folder=MODEL_FOLDER,
            device=CONFIG.extraction.device,
            batch_tokens=CONFIG.extraction.batch_tokens,
        ),
