# The norm of every adjustment. With `keep: norms` the extraction makes this file.


if CONFIG.extraction.keep == "vectors":

    use rule program as compute_norms with:
        input:
            activations=f"{SITE}/activations/{{shard}}.parquet",
        output:
            norms=f"{SITE}/norms/{{shard}}.parquet",
            # Sums of the vectors, for their means.
            sums=f"{SITE}/sums/{{shard}}.parquet",
        log:
            "logs/{model}/{corpus}/{site}/norms/{shard}.log",
        benchmark:
            "logs/{model}/{corpus}/{site}/norms/{shard}.tsv"
        priority: 1
        params:
            **stage("compute_norms"),
