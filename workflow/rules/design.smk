# Each token's log norm beside those of the tokens before it.


rule build_design:
    input:
        "results/{model}/{corpus}/{site}/norms/{shard}.parquet",
    output:
        "results/{model}/{corpus}/{site}/{regression}/design/{shard}.parquet",
    log:
        "logs/{model}/{corpus}/{site}/{regression}/design/{shard}.log",
    benchmark:
        "benchmarks/{model}/{corpus}/{site}/{regression}/design/{shard}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=1000,
        runtime="1h",
    params:
        settings=settings_of_design,
        code=code("build_design"),
    message:
        "build the design of {wildcards.regression}, {wildcards.site}, shard {wildcards.shard}"
    shell:
        "python3 scripts/build_design.py {input} --settings {params.settings:q}"
        " --output {output} --log {log}"
