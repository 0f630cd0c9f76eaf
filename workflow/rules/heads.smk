# The part of each attention head, measured by the extraction: shares, lags, and the floor.

HEADS = "results/{model}/{corpus}/attention/heads"


if CONFIG.with_heads():

    rule summarize_heads:
        input:
            heads=shards_of(f"{HEADS}/{{shard}}.parquet"),
            norms=shards_of("results/{model}/{corpus}/attention/norms/{shard}.parquet"),
        output:
            table=f"{HEADS}/heads.parquet",
            table_csv=f"{HEADS}/heads.csv",
            findings=f"{HEADS}/findings.txt",
        log:
            "logs/{model}/{corpus}/attention/heads/summarize_heads.log",
        benchmark:
            "logs/{model}/{corpus}/attention/heads/summarize_heads.tsv"
        conda:
            ENVIRONMENT
        threads: 1
        resources:
            mem_mb=memory(2000),
            runtime=minutes(60),
        params:
            settings=settings_of("summarize_heads"),
            code=code("summarize_heads"),
        message:
            "summarise the heads of {wildcards.model}, {wildcards.corpus}"
        shell:
            "OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1"
            ' python "$ATTNLAG"/scripts/summarize_heads.py {input.heads[0]:q} --norms {input.norms[0]:q}'
            " --settings {params.settings:q} --output {output.table:q}"
            " --findings {output.findings:q} --memory {resources.mem_mb} --log {log:q}"

    rule plot_heads:
        input:
            rules.summarize_heads.output.table,
        output:
            figures_of("plot_heads", f"{HEADS}/figures", site="attention", regression="all"),
        log:
            "logs/{model}/{corpus}/attention/heads/plot_heads.log",
        benchmark:
            "logs/{model}/{corpus}/attention/heads/plot_heads.tsv"
        conda:
            ENVIRONMENT
        threads: 1
        resources:
            mem_mb=memory(1000),
            runtime=minutes(30),
        params:
            code=code("plot_heads"),
        message:
            "draw the heads of {wildcards.model}, {wildcards.corpus}"
        shell:
            'python "$ATTNLAG"/scripts/plot_heads.py {input:q} --output {output:q}'
            " --memory {resources.mem_mb} --log {log:q}"
