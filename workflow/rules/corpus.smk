# One table with the documents from the user's files.


rule prepare_corpus:
    input:
        # These files are on the user's disk even if a storage provider has the results.
        lambda wildcards: list(map(local, CONFIG.files_of(wildcards.corpus))),
    output:
        "results/corpora/{corpus}.parquet",
    log:
        "logs/corpora/{corpus}.log",
    benchmark:
        "logs/corpora/{corpus}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(1000, 8),
        runtime=minutes(30),
        # Used only for a notice about few documents, so that a change reruns nothing.
        covariance=CONFIG.inference.covariance,
    params:
        settings=settings_of("prepare_corpus"),
        code=code("prepare_corpus"),
    message:
        "read the corpus {wildcards.corpus}"
    shell:
        'python "$ATTNLAG"/scripts/prepare_corpus.py --settings {params.settings:q}'
        " --corpus {wildcards.corpus:q} --output {output:q}"
        " --covariance {resources.covariance:q}"
        " --memory {resources.mem_mb} --log {log:q} -- {input:q}"
