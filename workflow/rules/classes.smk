# Slopes by class of tokens, for regressions with `by`.


rule scale_number:
    input:
        tokens=classes_of_all_tokens,
    output:
        f"{RESULTS}/scale.json",
    log:
        "logs/{model}/{corpus}/{site}/{regression}/scale.log",
    benchmark:
        "logs/{model}/{corpus}/{site}/{regression}/scale.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=minutes(60),
    params:
        number=lambda wildcards: CONFIG.regressions[wildcards.regression].classes[0],
        code=code("scale_number"),
    message:
        "describe the number by which slopes of {wildcards.regression} differ, {wildcards.model}, {wildcards.corpus}"
    shell:
        'python "$ATTNLAG"/scripts/scale_number.py {input.tokens[0]:q} --number {params.number:q}'
        " --output {output:q} --memory {resources.mem_mb} --log {log:q}"


rule accumulate_classes:
    input:
        design=fitted_design,
        token_properties=classes_of_tokens,
        scale=if_by_number(f"{RESULTS}/scale.json"),
    output:
        "results/{model}/{corpus}/{site}/{regression}/class_crossproducts/{shard}.parquet",
    log:
        "logs/{model}/{corpus}/{site}/{regression}/class_crossproducts/{shard}.log",
    benchmark:
        "logs/{model}/{corpus}/{site}/{regression}/class_crossproducts/{shard}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=minutes(60),
    params:
        settings=settings_of("accumulate_classes"),
        code=code("accumulate_classes"),
    message:
        "sum the cross-products of {wildcards.regression} by class of tokens, {wildcards.site}, shard {wildcards.shard}"
    shell:
        'python "$ATTNLAG"/scripts/accumulate_classes.py {input.design:q}'
        " --token-properties {input.token_properties:q} --scale {input.scale:q}"
        " --settings {params.settings:q}"
        " --output {output:q} --memory {resources.mem_mb} --log {log:q}"


rule fit_classes:
    input:
        crossproducts=shards_of(f"{RESULTS}/class_crossproducts/{{shard}}.parquet"),
    output:
        classes=f"{RESULTS}/classes.parquet",
        classes_csv=f"{RESULTS}/classes.csv",
        equal_slopes=f"{RESULTS}/equal_slopes.parquet",
        equal_slopes_csv=f"{RESULTS}/equal_slopes.csv",
    log:
        "logs/{model}/{corpus}/{site}/{regression}/fit_classes.log",
    benchmark:
        "logs/{model}/{corpus}/{site}/{regression}/fit_classes.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(1000 + 6 * CONFIG.inference.stack_mb),
        runtime=minutes(60),
    params:
        settings=settings_of("fit_classes"),
        code=code("fit_classes"),
    message:
        "fit slopes of {wildcards.regression} by class of tokens to {wildcards.model}, {wildcards.corpus}, {wildcards.site}"
    shell:
        "OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1"
        ' python "$ATTNLAG"/scripts/fit_classes.py {input.crossproducts[0]:q} --settings {params.settings:q}'
        " --site {wildcards.site:q} --regression {wildcards.regression:q}"
        " --classes {output.classes:q} --equal-slopes {output.equal_slopes:q}"
        " --memory {resources.mem_mb} --log {log:q}"


rule decompose_lags:
    input:
        design=shards_of(f"{RESULTS}/design/{{shard}}.parquet"),
        token_properties=shards_of("results/{model}/{corpus}/token_properties/{shard}.parquet"),
    output:
        steps=f"{RESULTS}/steps.parquet",
        steps_csv=f"{RESULTS}/steps.csv",
        parts=f"{RESULTS}/parts.parquet",
        parts_csv=f"{RESULTS}/parts.csv",
    log:
        "logs/{model}/{corpus}/{site}/{regression}/decompose_lags.log",
    benchmark:
        "logs/{model}/{corpus}/{site}/{regression}/decompose_lags.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(2000, 4),
        runtime=minutes(60),
    params:
        settings=settings_of("decompose_lags"),
        code=code("decompose_lags"),
    message:
        "decompose the lags of {wildcards.regression}, {wildcards.model}, {wildcards.corpus}, {wildcards.site}"
    shell:
        "OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1"
        ' python "$ATTNLAG"/scripts/decompose_lags.py {input.design[0]:q}'
        " --token-properties {input.token_properties[0]:q} --settings {params.settings:q}"
        " --site {wildcards.site:q} --regression {wildcards.regression:q}"
        " --steps {output.steps:q} --parts {output.parts:q}"
        " --memory {resources.mem_mb} --log {log:q}"
