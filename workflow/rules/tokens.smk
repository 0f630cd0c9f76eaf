# Sequences of tokens, shard by shard; how many characters a token stands for, how often each occurs.


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
        'python "$ATTNLAG"/scripts/summarize_tokens.py {input.tokens[0]:q} --corpus {input.corpus:q}'
        " --parquet {output.parquet:q} --csv {output.csv:q}"
        " --memory {resources.mem_mb} --log {log:q}"


rule tabulate_tokens:
    input:
        rules.summarize_tokens.output.parquet,
    output:
        in_report(
            "results/{model}/{corpus}/token_summary.html",
            "tabulate_tokens",
            "corpus",
            "characters and tokens",
            shows="table",
            site="all",
            regression="all",
        ),
    log:
        "logs/{model}/{corpus}/tabulate_tokens.log",
    benchmark:
        "logs/{model}/{corpus}/tabulate_tokens.tsv"
    localrule: True
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=minutes(10),
    params:
        code=code("tabulate_tokens"),
    message:
        "make a page of the tokens of {wildcards.corpus} for {wildcards.model}"
    shell:
        'python "$ATTNLAG"/scripts/tabulate_tokens.py {input:q} --output {output:q}'
        " --memory {resources.mem_mb} --log {log:q}"


rule count_tokens:
    input:
        tokens=shards_of("results/{model}/{corpus}/tokens/{shard}.parquet"),
    output:
        "results/{model}/{corpus}/token_counts.parquet",
    log:
        "logs/{model}/{corpus}/token_counts.log",
    benchmark:
        "logs/{model}/{corpus}/token_counts.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=minutes(30),
    params:
        code=code("count_tokens"),
    message:
        "count how often each token of {wildcards.model} occurs in {wildcards.corpus}"
    shell:
        'python "$ATTNLAG"/scripts/count_tokens.py {input.tokens[0]:q} --output {output:q}'
        " --memory {resources.mem_mb} --log {log:q}"
