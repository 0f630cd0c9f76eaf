# Directions of adjustments: relative to the stream and to the adjustments of other tokens. The
# extraction measures what needs the stream; the layer's mean is known once vectors are stored.

OF_SITE = "results/{model}/{corpus}/{site}"


if CONFIG.extraction.geometry and CONFIG.extraction.keep == "vectors":

    # If each shard needed the files of all others, the plan would grow with their square.
    rule merge_vector_sums:
        input:
            sums=shards_of(f"{OF_SITE}/sums/{{shard}}.parquet"),
        output:
            f"{OF_SITE}/sums/all.parquet",
        log:
            "logs/{model}/{corpus}/{site}/sums/all.log",
        benchmark:
            "logs/{model}/{corpus}/{site}/sums/all.tsv"
        conda:
            ENVIRONMENT
        threads: 1
        resources:
            mem_mb=memory(1000),
            runtime=minutes(30),
        params:
            code=code("merge_vector_sums"),
        message:
            "add up the vectors of {wildcards.model}, {wildcards.corpus}, {wildcards.site}"
        shell:
            'python "$ATTNLAG"/scripts/merge_vector_sums.py {input.sums[0]:q} --output {output:q}'
            " --memory {resources.mem_mb} --log {log:q}"

    rule compare_directions:
        input:
            activations=f"{OF_SITE}/activations/{{shard}}.parquet",
            sums=rules.merge_vector_sums.output,
        output:
            cosines=f"{OF_SITE}/centred/{{shard}}.parquet",
            distances=f"{OF_SITE}/distances/{{shard}}.parquet",
        log:
            "logs/{model}/{corpus}/{site}/centred/{shard}.log",
        benchmark:
            "logs/{model}/{corpus}/{site}/centred/{shard}.tsv"
        conda:
            ENVIRONMENT
        threads: 1
        resources:
            mem_mb=memory(2000),
            runtime=minutes(120),
        params:
            settings=settings_of("compare_directions"),
            code=code("compare_directions"),
        message:
            "compare the directions of {wildcards.model}, {wildcards.corpus}, {wildcards.site}, shard {wildcards.shard}"
        shell:
            'python "$ATTNLAG"/scripts/compare_directions.py {input.activations:q}'
            " --sums {input.sums:q} --settings {params.settings:q}"
            " --output {output.cosines:q} --distances {output.distances:q}"
            " --memory {resources.mem_mb} --log {log:q}"


if CONFIG.extraction.geometry:

    rule summarize_geometry:
        input:
            geometry=shards_of(f"{OF_SITE}/geometry/{{shard}}.parquet"),
            stream=shards_of("results/{model}/{corpus}/stream/{shard}.parquet"),
            # Only for stored vectors.
            distances=(
                shards_of(f"{OF_SITE}/distances/{{shard}}.parquet")
                if CONFIG.extraction.keep == "vectors"
                else []
            ),
            random_weights=(
                f"{OF_SITE}/geometry/random_weights.parquet"
                if CONFIG.controls.random_weights
                else []
            ),
            random_weights_stream=(
                "results/{model}/{corpus}/stream/random_weights.parquet"
                if CONFIG.controls.random_weights
                else []
            ),
            random_weights_distances=(
                f"{OF_SITE}/distances/random_weights.parquet"
                if CONFIG.controls.random_weights and CONFIG.extraction.keep == "vectors"
                else []
            ),
        output:
            means=f"{OF_SITE}/geometry/means.parquet",
            means_csv=f"{OF_SITE}/geometry/means.csv",
            findings=f"{OF_SITE}/geometry/findings.txt",
        log:
            "logs/{model}/{corpus}/{site}/geometry/summarize_geometry.log",
        benchmark:
            "logs/{model}/{corpus}/{site}/geometry/summarize_geometry.tsv"
        conda:
            ENVIRONMENT
        threads: 1
        resources:
            mem_mb=memory(1000),
            runtime=minutes(60),
        params:
            settings=settings_of("summarize_geometry"),
            distances=lambda wildcards, input: input.distances[:1],
            code=code("summarize_geometry"),
        message:
            "take the means of directions of {wildcards.model}, {wildcards.corpus}, {wildcards.site}"
        shell:
            'python "$ATTNLAG"/scripts/summarize_geometry.py {input.geometry[0]:q}'
            " --stream {input.stream[0]:q} --distances {params.distances:q}"
            " --random-weights {input.random_weights:q}"
            " --random-weights-stream {input.random_weights_stream:q}"
            " --random-weights-distances {input.random_weights_distances:q}"
            " --settings {params.settings:q} --site {wildcards.site:q}"
            " --output {output.means:q} --findings {output.findings:q}"
            " --memory {resources.mem_mb} --log {log:q}"

    rule plot_geometry:
        input:
            rules.summarize_geometry.output.means,
        output:
            figures_of("plot_geometry", f"{OF_SITE}/figures", regression="all"),
        log:
            "logs/{model}/{corpus}/{site}/figures/plot_geometry.log",
        benchmark:
            "logs/{model}/{corpus}/{site}/figures/plot_geometry.tsv"
        conda:
            ENVIRONMENT
        threads: 1
        resources:
            mem_mb=memory(1000),
            runtime=minutes(30),
        params:
            code=code("plot_geometry"),
        message:
            "draw the directions of {wildcards.model}, {wildcards.corpus}, {wildcards.site}"
        shell:
            'python "$ATTNLAG"/scripts/plot_geometry.py {input:q} --output {output:q}'
            " --memory {resources.mem_mb} --log {log:q}"
