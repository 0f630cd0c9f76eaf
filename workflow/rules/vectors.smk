# Regressions of the vector of a token on those of previous tokens.

SITE = "results/{model}/{corpus}/{site}"


rule accumulate_vectors:
    input:
        activations=f"{SITE}/activations/{{shard}}.parquet",
        # All shards use the coordinates of the first one.
        first=f"{SITE}/activations/0000.parquet",
        corpus="results/corpora/{corpus}.parquet",
    output:
        f"{SITE}/vector_products/{{shard}}.parquet",
    log:
        "logs/{model}/{corpus}/{site}/vector_products/{shard}.log",
    benchmark:
        "logs/{model}/{corpus}/{site}/vector_products/{shard}.tsv"
    conda:
        ENVIRONMENT
    # Layers run in parallel, each on a thread.
    threads: 8
    resources:
        mem_mb=memory(2500),
        runtime=minutes(120),
    params:
        settings=settings_of("accumulate_vectors"),
        code=code("accumulate_vectors"),
    message:
        "multiply the vectors of {wildcards.model}, {wildcards.corpus}, {wildcards.site}, shard {wildcards.shard}"
    shell:
        "OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1"
        ' python "$ATTNLAG"/scripts/accumulate_vectors.py {input.activations:q} --first {input.first:q}'
        " --corpus {input.corpus:q} --settings {params.settings:q} --threads {threads}"
        " --output {output:q} --memory {resources.mem_mb} --log {log:q}"


rule fit_vectors:
    input:
        products=shards_of(f"{SITE}/vector_products/{{shard}}.parquet"),
        activations=shards_of(f"{SITE}/activations/{{shard}}.parquet"),
        corpus="results/corpora/{corpus}.parquet",
        random_weights=if_asked(
            CONFIG.controls.random_weights,
            lambda wildcards: f"{SITE}/random_weights_vectors.parquet",
        ),
    output:
        fits=f"{SITE}/vector_fits.parquet",
        fits_csv=f"{SITE}/vector_fits.csv",
        findings=f"{SITE}/vector_findings.txt",
    log:
        "logs/{model}/{corpus}/{site}/fit_vectors.log",
    benchmark:
        "logs/{model}/{corpus}/{site}/fit_vectors.tsv"
    conda:
        ENVIRONMENT
    threads: 8
    resources:
        mem_mb=memory(3000),
        runtime=minutes(240),
    params:
        settings=settings_of("fit_vectors"),
        code=code("fit_vectors"),
    message:
        "regress vectors on vectors of {wildcards.model}, {wildcards.corpus}, {wildcards.site}"
    shell:
        "OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1"
        ' python "$ATTNLAG"/scripts/fit_vectors.py {input.products[0]:q}'
        " --activations {input.activations[0]:q} --corpus {input.corpus:q}"
        " --random-weights {input.random_weights:q}"
        " --settings {params.settings:q} --site {wildcards.site:q} --threads {threads}"
        " --output {output.fits:q} --findings {output.findings:q}"
        " --memory {resources.mem_mb} --log {log:q}"


rule plot_vectors:
    input:
        rules.fit_vectors.output.fits,
    output:
        figures_of("plot_vectors", f"{SITE}/figures", regression="all"),
    log:
        "logs/{model}/{corpus}/{site}/plot_vectors.log",
    benchmark:
        "logs/{model}/{corpus}/{site}/plot_vectors.tsv"
    localrule: True
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=minutes(30),
    params:
        code=code("plot_vectors"),
    message:
        "draw the regression of vectors of {wildcards.model}, {wildcards.corpus}, {wildcards.site}"
    shell:
        'python "$ATTNLAG"/scripts/plot_vectors.py {input:q} --output {output:q}'
        " --memory {resources.mem_mb} --log {log:q}"
