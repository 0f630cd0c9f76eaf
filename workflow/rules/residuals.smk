# A second reading of the design, now that the estimates are known: what residuals say.


rule solve_regression:
    input:
        crossproducts=shards_of(f"{RESULTS}/crossproducts/{{shard}}.parquet"),
    output:
        f"{RESULTS}/solution.json",
    log:
        "logs/{model}/{corpus}/{site}/{regression}/solve_regression.log",
    benchmark:
        "logs/{model}/{corpus}/{site}/{regression}/solve_regression.tsv"
    wildcard_constraints:
        regression=FITTED,
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=minutes(60),
    params:
        settings=settings_of("accumulate_residuals"),
        code=code("solve_regression"),
    message:
        "solve {wildcards.regression} for {wildcards.model}, {wildcards.corpus}, {wildcards.site}"
    shell:
        'python "$ATTNLAG"/scripts/solve_regression.py {input.crossproducts[0]:q} --settings {params.settings:q}'
        " --output {output:q} --memory {resources.mem_mb} --log {log:q}"


rule accumulate_residuals:
    input:
        design=f"{RESULTS}/design/{{shard}}.parquet",
        crossproducts=f"{RESULTS}/crossproducts/{{shard}}.parquet",
        # Of all shards, once: a shard's job that named the files of all others would make their
        # number grow with its square.
        solution=f"{RESULTS}/solution.json",
    output:
        f"{RESULTS}/residuals/{{shard}}.parquet",
    log:
        "logs/{model}/{corpus}/{site}/{regression}/residuals/{shard}.log",
    benchmark:
        "logs/{model}/{corpus}/{site}/{regression}/residuals/{shard}.tsv"
    wildcard_constraints:
        regression=FITTED,
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=minutes(60),
    params:
        settings=settings_of("accumulate_residuals"),
        code=code("accumulate_residuals"),
    message:
        "read the residuals of {wildcards.regression}, {wildcards.site}, shard {wildcards.shard}"
    shell:
        'python "$ATTNLAG"/scripts/accumulate_residuals.py {input.design:q}'
        " --crossproducts {input.crossproducts:q} --solution {input.solution:q}"
        " --settings {params.settings:q} --output {output:q}"
        " --memory {resources.mem_mb} --log {log:q}"
