# Sums over the rows, per document and layer, which suffice for a regression.


rule accumulate_crossproducts:
    input:
        fitted_design,
    output:
        "results/{model}/{corpus}/{site}/{regression}/crossproducts/{shard}.parquet",
    log:
        "logs/{model}/{corpus}/{site}/{regression}/crossproducts/{shard}.log",
    benchmark:
        "logs/{model}/{corpus}/{site}/{regression}/crossproducts/{shard}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=minutes(60),
    params:
        settings=settings_of("accumulate_crossproducts"),
        code=code("accumulate_crossproducts"),
    message:
        "sum the cross-products of {wildcards.regression}, {wildcards.site}, shard {wildcards.shard}"
    shell:
        'python "$ATTNLAG"/scripts/accumulate_crossproducts.py {input:q} --settings {params.settings:q}'
        " --output {output:q} --memory {resources.mem_mb} --log {log:q}"
