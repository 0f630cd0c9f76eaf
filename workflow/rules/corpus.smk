# One table with the documents from the user's files.


use rule program as prepare_corpus with:
    input:
        # These files are on the user's disk even if a storage provider has the results.
        files=on_disk(FILES_OF_CORPUS),
    output:
        corpus="results/corpora/{corpus}.parquet",
    log:
        "logs/corpora/{corpus}.log",
    resources:
        **needs(1000, 30, per_mb=8),
    params:
        # The kind of errors is used only for a notice about few documents.
        **stage("prepare_corpus", given=FILES_OF_CORPUS, covariance=CONFIG.inference.covariance),
