# Sequences of tokens by shard, their counts over the corpus, and the properties of each token.


rule tokenize_corpus:
    input:
        corpus="results/corpora/{corpus}.parquet",
        model="data/models/{model}/source.json",
    output:
        "results/{model}/{corpus}/tokens/{shard}.parquet",
    log:
        "logs/{model}/{corpus}/tokens/{shard}.log",
    benchmark:
        "logs/{model}/{corpus}/tokens/{shard}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(1500, 4),
        runtime=minutes(60),
    params:
        settings=settings_of("tokenize_corpus"),
        code=code("tokenize_corpus"),
    message:
        "tokenize {wildcards.corpus} for {wildcards.model}, shard {wildcards.shard}"
    shell:
        'python "$ATTNLAG"/scripts/tokenize_corpus.py {input.corpus:q} --model data/models/{wildcards.model:q}'
        " --shard {wildcards.shard:q} --settings {params.settings:q} --output {output:q}"
        " --memory {resources.mem_mb} --log {log:q}"


rule summarize_tokens:
    input:
        tokens=shards_of("results/{model}/{corpus}/tokens/{shard}.parquet"),
        corpus="results/corpora/{corpus}.parquet",
    output:
        parquet="results/{model}/{corpus}/token_summary.parquet",
        csv="results/{model}/{corpus}/token_summary.csv",
        html=in_report(
            "results/{model}/{corpus}/token_summary.html",
            "summarize_tokens",
            "corpus",
            "characters and tokens",
            shows="table",
            site="all",
            regression="all",
        ),
        counts="results/{model}/{corpus}/token_counts.parquet",
    log:
        "logs/{model}/{corpus}/token_summary.log",
    benchmark:
        "logs/{model}/{corpus}/token_summary.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(1000, 12),
        runtime=minutes(30),
    params:
        code=code("summarize_tokens"),
    message:
        "count characters and tokens of {wildcards.corpus} for {wildcards.model}"
    shell:
        'python "$ATTNLAG"/scripts/summarize_tokens.py {input.tokens[0]:q}'
        " --corpus {input.corpus:q} --summary {output.parquet:q} --counts {output.counts:q}"
        " --memory {resources.mem_mb} --log {log:q}"


rule describe_tokens:
    input:
        tokens="results/{model}/{corpus}/tokens/{shard}.parquet",
        counts="results/{model}/{corpus}/token_counts.parquet",
        corpus="results/corpora/{corpus}.parquet",
        model="data/models/{model}/source.json",
        # Only if parts of speech are in a file of their own.
        tags=tag_file,
    output:
        "results/{model}/{corpus}/token_properties/{shard}.parquet",
    log:
        "logs/{model}/{corpus}/token_properties/{shard}.log",
    benchmark:
        "logs/{model}/{corpus}/token_properties/{shard}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(2000, 4),
        runtime=minutes(120),
    params:
        settings=settings_of("describe_tokens"),
        code=code("describe_tokens"),
    message:
        "describe the tokens of {wildcards.model}, {wildcards.corpus}, shard {wildcards.shard}"
    shell:
        'python "$ATTNLAG"/scripts/describe_tokens.py {input.tokens:q} --corpus {input.corpus:q}'
        " --model data/models/{wildcards.model:q} --counts {input.counts:q} --tags {input.tags:q}"
        " --settings {params.settings:q} --output {output:q}"
        " --memory {resources.mem_mb} --log {log:q}"
