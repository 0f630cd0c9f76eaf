# The controls of the regressions: permuted order and random weights.


use rule program as permute_documents with:
    input:
        together(**OF_DESIGN | {"token_properties": for_permutations}),
    output:
        products=f"{RESULTS}/permutations/{{shard}}.parquet",
    log:
        "logs/{model}/{corpus}/{site}/{regression}/permutations/{shard}.log",
    benchmark:
        "logs/{model}/{corpus}/{site}/{regression}/permutations/{shard}.tsv"
    resources:
        **needs(2000, 240),
    params:
        **stage("permute_documents"),


# The same architecture before any training, on some documents. It serves all regressions.
use rule program as extract_random_weights with:
    input:
        "data/models/{model}/source.json",
        tokens=shards_of("results/{model}/{corpus}/tokens/{shard}.parquet"),
        corpus="results/corpora/{corpus}.parquet",
    output:
        sites=of_sites(f"{SITE}/random_weights.parquet"),
        # Only if the vectors of the trained model are kept.
        vectors=if_vectors(of_sites(f"{SITE}/random_weights_vectors.parquet")),
        stream="results/{model}/{corpus}/stream/random_weights.parquet",
        # Norms of further draws of the weights, of fewer documents.
        draws=further_draws(of_sites(f"{SITE}/random_weights.parquet")),
        draws_stream=further_draws(["results/{model}/{corpus}/stream/random_weights.parquet"]),
        geometry=if_turns(f"{SITE}/geometry/random_weights.parquet"),
        centred=if_vectors(if_turns(f"{SITE}/centred/random_weights.parquet")),
        distances=if_vectors(if_turns(f"{SITE}/distances/random_weights.parquet")),
        heads=if_heads(f"{HEADS}/random_weights.parquet"),
    log:
        "logs/{model}/{corpus}/random_weights.log",
    benchmark:
        "logs/{model}/{corpus}/random_weights.tsv"
    threads: THREADS
    resources:
        **needs(memory_of_extraction, 120, gpu=ON_GPU),
    params:
        **stage("extract_random_weights", **SPEED),
