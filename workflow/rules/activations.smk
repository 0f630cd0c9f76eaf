# One forward pass over a shard: the model is loaded once and serves all layers and sites. With
# `keep: norms` the vectors are reduced to norms at once, and the norms are this rule's output.

GEOMETRY = "results/{model}/{corpus}/{site}/geometry/{shard}.parquet"
KEPT = "activations" if CONFIG.extraction.keep == "vectors" else "norms"
# Surprisal and entropies of the model's predictions, on request.
PREDICTED = ["results/{model}/{corpus}/surprisal/{shard}.parquet"] * CONFIG.with_surprisal()


rule extract_activations:
    input:
        tokens="results/{model}/{corpus}/tokens/{shard}.parquet",
        model="data/models/{model}/source.json",
    output:
        sites=expand(
            f"results/{{model}}/{{corpus}}/{{site}}/{KEPT}/{{shard}}.parquet",
            site=CONFIG.extraction.sites,
            allow_missing=True,
        ),
        stream="results/{model}/{corpus}/stream/{shard}.parquet",
        surprisal=PREDICTED,
        geometry=if_turns(GEOMETRY),
        heads=(
            "results/{model}/{corpus}/attention/heads/{shard}.parquet"
            if CONFIG.with_heads()
            else []
        ),
        sinks=(
            "results/{model}/{corpus}/attention/sinks/{shard}.parquet"
            if CONFIG.with_heads()
            else []
        ),
    log:
        f"logs/{{model}}/{{corpus}}/{KEPT}/{{shard}}.log",
    benchmark:
        f"logs/{{model}}/{{corpus}}/{KEPT}/{{shard}}.tsv"
    conda:
        ENVIRONMENT
    threads: 8
    resources:
        mem_mb=memory_of_extraction,
        runtime=minutes(240),
        gpu=int(CONFIG.extraction.device.startswith("cuda")),
        # Settings that only change speed are passed here, so that a change reruns nothing.
        device=CONFIG.extraction.device,
        batch_tokens=CONFIG.extraction.batch_tokens,
    params:
        settings=settings_of("extract_activations"),
        code=code("extract_activations"),
    message:
        "run {wildcards.model} over {wildcards.corpus}, shard {wildcards.shard}"
    shell:
        'python "$ATTNLAG"/scripts/extract_activations.py {input.tokens:q}'
        " --model data/models/{wildcards.model:q} --settings {params.settings:q}"
        " --device {resources.device:q} --batch-tokens {resources.batch_tokens:q}"
        " --threads {threads} --output {output.sites:q}"
        " --stream {output.stream:q} --surprisal {output.surprisal:q}"
        " --geometry {output.geometry:q} --heads {output.heads:q} --sinks {output.sinks:q}"
        " --memory {resources.mem_mb} --log {log:q}"
