# The norm of every adjustment. With `keep: norms` the extraction makes this file.


if CONFIG.extraction.keep == "vectors":

    rule compute_norms:
        input:
            "results/{model}/{corpus}/{site}/activations/{shard}.parquet",
        output:
            norms="results/{model}/{corpus}/{site}/norms/{shard}.parquet",
            # Sums of the vectors, for their means.
            sums="results/{model}/{corpus}/{site}/sums/{shard}.parquet",
        log:
            "logs/{model}/{corpus}/{site}/norms/{shard}.log",
        benchmark:
            "logs/{model}/{corpus}/{site}/norms/{shard}.tsv"
        conda:
            ENVIRONMENT
        threads: 1
        resources:
            mem_mb=memory(1000),
            runtime=minutes(60),
        params:
            code=code("compute_norms"),
        message:
            "compute the norms of {wildcards.model}, {wildcards.corpus}, {wildcards.site}, shard {wildcards.shard}"
        shell:
            'python "$ATTNLAG"/scripts/compute_norms.py {input:q} --output {output.norms:q}'
            " --sums {output.sums:q} --memory {resources.mem_mb} --log {log:q}"
