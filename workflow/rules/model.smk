# A model from any source, as a Hugging Face folder with safetensors. This is the only rule that uses
# the network; it runs on the machine that runs Snakemake, so cluster nodes need no network.


rule fetch_model:
    input:
        source_files,
    output:
        source="data/models/{model}/source.json",
        architecture="data/models/{model}/architecture.txt",
    log:
        "logs/models/{model}.log",
    benchmark:
        "logs/models/{model}.tsv"
    localrule: True
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(4000),
        runtime=minutes(120),
        # Settings that only assert something are passed here, so that a change reruns nothing.
        layers=lambda wildcards: CONFIG.models[wildcards.model].layers or 0,
        width=lambda wildcards: CONFIG.models[wildcards.model].width or 0,
    params:
        settings=settings_of("fetch_model"),
        code=code("fetch_model"),
    message:
        "fetch the model {wildcards.model}"
    shell:
        'python "$ATTNLAG"/scripts/fetch_model.py --settings {params.settings:q} --model {wildcards.model:q}'
        " --layers {resources.layers} --width {resources.width}"
        " --output data/models/{wildcards.model:q} --memory {resources.mem_mb} --log {log:q}"
        # A storage provider takes its own copies of these two.
        ' && for copy in {output:q}; do test -e "$copy"'
        ' || cp data/models/{wildcards.model:q}/"$(basename "$copy")" "$copy"; done'
