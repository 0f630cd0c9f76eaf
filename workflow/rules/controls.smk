# The controls of the regressions: permuted order and random weights.


rule permute_documents:
    input:
        norms=regressed("{shard}.parquet"),
        # Only for relative norms, or for a common sample with them.
        stream=if_stream(lambda wildcards: "results/{model}/{corpus}/stream/{shard}.parquet"),
        # Only if a covariate needs them.
        token_counts=for_covariates("token_counts", "results/{model}/{corpus}/token_counts.parquet"),
        corpus=for_covariates("corpus", "results/corpora/{corpus}.parquet"),
        # Also if tokens are permuted within their part of speech.
        token_properties=lambda wildcards: (
            "results/{model}/{corpus}/token_properties/{shard}.parquet"
            if CONFIG.controls.permutation.within != "document"
            or "token_properties" in CONFIG.files_of_tokens(wildcards.regression)
            else []
        ),
        surprisal=for_covariates("surprisal", "results/{model}/{corpus}/surprisal/{shard}.parquet"),
    output:
        f"{RESULTS}/permutations/{{shard}}.parquet",
    log:
        "logs/{model}/{corpus}/{site}/{regression}/permutations/{shard}.log",
    benchmark:
        "logs/{model}/{corpus}/{site}/{regression}/permutations/{shard}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=minutes(240),
    params:
        settings=settings_of("permute_documents"),
        code=code("permute_documents"),
    message:
        "permute the documents of {wildcards.regression}, {wildcards.site}, shard {wildcards.shard}"
    shell:
        'python "$ATTNLAG"/scripts/permute_documents.py {input.norms:q} --settings {params.settings:q}'
        " --stream {input.stream:q}"
        " --token-counts {input.token_counts:q} --corpus {input.corpus:q}"
        " --token-properties {input.token_properties:q} --surprisal {input.surprisal:q}"
        " --output {output:q} --memory {resources.mem_mb} --log {log:q}"


# The same architecture before any training, on some documents. It serves all regressions.
rule extract_random_weights:
    input:
        tokens=shards_of("results/{model}/{corpus}/tokens/{shard}.parquet"),
        corpus="results/corpora/{corpus}.parquet",
        model="data/models/{model}/source.json",
    output:
        sites=expand(
            "results/{model}/{corpus}/{site}/random_weights.parquet",
            site=CONFIG.extraction.sites,
            allow_missing=True,
        ),
        # Only if the vectors of the trained model are kept.
        vectors=expand(
            "results/{model}/{corpus}/{site}/random_weights_vectors.parquet",
            site=CONFIG.extraction.sites if CONFIG.extraction.keep == "vectors" else [],
            allow_missing=True,
        ),
        stream="results/{model}/{corpus}/stream/random_weights.parquet",
        # Norms of further draws of the weights, of fewer documents.
        draws=expand(
            "results/{model}/{corpus}/{site}/random_weights_{draw}.parquet",
            site=CONFIG.extraction.sites,
            draw=CONFIG.further_draws(),
            allow_missing=True,
        ),
        draws_stream=expand(
            "results/{model}/{corpus}/stream/random_weights_{draw}.parquet",
            draw=CONFIG.further_draws(),
            allow_missing=True,
        ),
        geometry=if_turns("results/{model}/{corpus}/{site}/geometry/random_weights.parquet"),
        centred=(
            if_turns("results/{model}/{corpus}/{site}/centred/random_weights.parquet")
            if CONFIG.extraction.keep == "vectors"
            else []
        ),
        distances=(
            if_turns("results/{model}/{corpus}/{site}/distances/random_weights.parquet")
            if CONFIG.extraction.keep == "vectors"
            else []
        ),
        heads=(
            "results/{model}/{corpus}/attention/heads/random_weights.parquet"
            if CONFIG.with_heads()
            else []
        ),
    log:
        "logs/{model}/{corpus}/random_weights.log",
    benchmark:
        "logs/{model}/{corpus}/random_weights.tsv"
    conda:
        ENVIRONMENT
    threads: 8
    resources:
        mem_mb=memory_of_extraction,
        runtime=minutes(120),
        gpu=int(CONFIG.extraction.device.startswith("cuda")),
        device=CONFIG.extraction.device,
        batch_tokens=CONFIG.extraction.batch_tokens,
    params:
        settings=settings_of("extract_random_weights"),
        code=code("extract_random_weights"),
    message:
        "run {wildcards.model} with random weights over documents of {wildcards.corpus}"
    shell:
        'python "$ATTNLAG"/scripts/extract_random_weights.py {input.tokens[0]:q}'
        " --corpus {input.corpus:q} --model data/models/{wildcards.model:q}"
        " --settings {params.settings:q} --device {resources.device:q}"
        " --batch-tokens {resources.batch_tokens:q} --threads {threads}"
        " --output {output.sites:q} --vectors {output.vectors:q} --stream {output.stream:q}"
        " --geometry {output.geometry:q} --centred {output.centred:q}"
        " --distances {output.distances:q} --heads {output.heads:q}"
        " --draws {output.draws:q} --draws-stream {output.draws_stream:q}"
        " --memory {resources.mem_mb} --log {log:q}"
