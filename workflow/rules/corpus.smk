# Documents from the user's files, in one table.


rule prepare_corpus:
    input:
        lambda wildcards: CONFIG.files_of(wildcards.corpus),
    output:
        "results/corpora/{corpus}.parquet",
    log:
        "logs/corpora/{corpus}.log",
    benchmark:
        "benchmarks/corpora/{corpus}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(1000, 8),
        runtime="30m",
    params:
        settings=settings_of_corpus,
        code=code("prepare_corpus"),
    message:
        "read the corpus {wildcards.corpus}"
    shell:
        "python3 scripts/prepare_corpus.py {input:q} --settings {params.settings:q}"
        " --corpus {wildcards.corpus} --output {output} --log {log}"
