# A second reading of the design, now that the estimates are known: what residuals say.


rule accumulate_residuals:
    input:
        design=f"{RESULTS}/design/{{shard}}.parquet",
        crossproducts=shards_of(f"{RESULTS}/crossproducts/{{shard}}.parquet"),
    output:
        f"{RESULTS}/residuals/{{shard}}.parquet",
    log:
        "logs/{model}/{corpus}/{site}/{regression}/residuals/{shard}.log",
    benchmark:
        "benchmarks/{model}/{corpus}/{site}/{regression}/residuals/{shard}.tsv"
    wildcard_constraints:
        regression=FITTED,
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime="1h",
    params:
        settings=settings_of_residuals,
        code=code("accumulate_residuals"),
        place=lambda wildcards: int(wildcards.shard),
    message:
        "read the residuals of {wildcards.regression}, {wildcards.site}, shard {wildcards.shard}"
    shell:
        "python3 scripts/accumulate_residuals.py {input.design} --crossproducts"
        " {input.crossproducts} --shard {params.place} --settings {params.settings:q}"
        " --output {output} --log {log}"
