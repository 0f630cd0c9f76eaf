# Sequences of tokens by shard, their counts over the corpus, and the properties of each token.


use rule program as tokenize_corpus with:
    input:
        model="data/models/{model}/source.json",  # its folder is the option `folder`
        corpus="results/corpora/{corpus}.parquet",
    output:
        tokens=f"{STUDY}/tokens/{{shard}}.parquet",
    log:
        "logs/{model}/{corpus}/tokens/{shard}.log",
    resources:
        **needs(mb=1500, minutes=60, per_mb=4),
    params:
        **job_params("tokenize_corpus", folder=MODEL_FOLDER),


use rule program as summarize_tokens with:
    input:
        tokens=shards_of(f"{STUDY}/tokens/{{shard}}.parquet"),
        corpus="results/corpora/{corpus}.parquet",
    output:
        **in_both_formats(STUDY, "token_summary"),
        token_counts=f"{STUDY}/token_counts.parquet",
    log:
        "logs/{model}/{corpus}/token_summary.log",
    resources:
        **needs(mb=1000, minutes=30, per_mb=12),
    params:
        **job_params("summarize_tokens"),


use rule program as describe_tokens with:
    input:
        model="data/models/{model}/source.json",  # its folder is the option `folder`
        tokens=f"{STUDY}/tokens/{{shard}}.parquet",
        corpus="results/corpora/{corpus}.parquet",
        token_counts=f"{STUDY}/token_counts.parquet",
    output:
        token_properties=f"{STUDY}/token_properties/{{shard}}.parquet",
    log:
        "logs/{model}/{corpus}/token_properties/{shard}.log",
    resources:
        **needs(mb=2000, minutes=120, per_mb=4),
    params:
        **job_params("describe_tokens", folder=MODEL_FOLDER),
