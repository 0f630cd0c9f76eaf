# Least squares in every layer, from the cross-products and designs of all shards.


rule fit_regression:
    input:
        crossproducts=shards_of(f"{RESULTS}/crossproducts/{{shard}}.parquet"),
        # Read in a second pass, for the residuals.
        design=fitted_designs,
        corpus="results/corpora/{corpus}.parquet",
        # The controls in the configuration.
        permutations=lambda wildcards: (
            shards_of(f"{RESULTS}/permutations/{{shard}}.parquet")(wildcards)
            if permuted(CONFIG, wildcards.regression)
            else []
        ),
        random_weights=if_asked(
            CONFIG.controls.random_weights,
            random_weights_of,
        ),
        random_weights_stream=if_asked(
            CONFIG.controls.random_weights,
            if_stream(
                lambda wildcards: every_draw(
                    "results/{model}/{corpus}/stream/random_weights.parquet"
                )
            ),
        ),
        token_counts=for_covariates("token_counts", "results/{model}/{corpus}/token_counts.parquet"),
        token_properties=for_covariates(
            "token_properties",
            shards_of("results/{model}/{corpus}/token_properties/{shard}.parquet"),
        ),
        surprisal=for_covariates(
            "surprisal", shards_of("results/{model}/{corpus}/surprisal/{shard}.parquet")
        ),
        # For the findings.
        classes=if_by_class(f"{RESULTS}/classes.parquet"),
        equal_slopes=if_by_class(f"{RESULTS}/equal_slopes.parquet"),
        steps=if_by_class(f"{RESULTS}/steps.parquet"),
    output:
        coefficients=f"{RESULTS}/coefficients.parquet",
        coefficients_csv=f"{RESULTS}/coefficients.csv",
        coefficients_html=in_report(
            f"{RESULTS}/coefficients.html",
            "fit_regression",
            "coefficients",
            "by layer",
            shows="table",
        ),
        fits=f"{RESULTS}/fits.parquet",
        fits_csv=f"{RESULTS}/fits.csv",
        influence=f"{RESULTS}/influence.parquet",
        influence_csv=f"{RESULTS}/influence.csv",
        controls=f"{RESULTS}/controls.parquet",
        controls_csv=f"{RESULTS}/controls.csv",
        groups=f"{RESULTS}/groups.parquet",
        groups_csv=f"{RESULTS}/groups.csv",
        residuals=f"{RESULTS}/residuals.parquet",
        joint=f"{RESULTS}/joint.json",
        summary=directory(f"{RESULTS}/summary"),
        findings=f"{RESULTS}/findings.txt",
    log:
        "logs/{model}/{corpus}/{site}/{regression}/fit_regression.log",
    benchmark:
        "logs/{model}/{corpus}/{site}/{regression}/fit_regression.tsv"
    conda:
        ENVIRONMENT
    threads: lambda wildcards: min(8, CONFIG.corpora[wildcards.corpus].shards)
    resources:
        mem_mb=memory(1000 + 6 * CONFIG.inference.stack_mb),
        runtime=minutes(60),
    params:
        settings=settings_of("fit_regression"),
        code=code("fit_regression"),
        permutations=lambda wildcards, input: input.permutations[:1],
        token_properties=lambda wildcards, input: input.token_properties[:1],
        surprisal=lambda wildcards, input: input.surprisal[:1],
    message:
        "fit {wildcards.regression} to {wildcards.model}, {wildcards.corpus}, {wildcards.site}"
    # Shards are read in parallel. Threads in matrix products would change their last digits.
    shell:
        "OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1"
        ' python "$ATTNLAG"/scripts/fit_regression.py {input.crossproducts[0]:q} --design {input.design[0]:q}'
        " --permutations {params.permutations:q} --random-weights {input.random_weights:q}"
        " --random-weights-stream {input.random_weights_stream:q}"
        " --token-counts {input.token_counts:q}"
        " --token-properties {params.token_properties:q} --surprisal {params.surprisal:q}"
        " --classes {input.classes:q} --equal-slopes {input.equal_slopes:q}"
        " --steps {input.steps:q}"
        " --corpus {input.corpus:q} --settings {params.settings:q} --threads {threads}"
        " --site {wildcards.site:q} --regression {wildcards.regression:q}"
        " --coefficients {output.coefficients:q} --fits {output.fits:q}"
        " --influence {output.influence:q} --groups {output.groups:q}"
        " --controls {output.controls:q}"
        " --residuals {output.residuals:q} --joint {output.joint:q}"
        " --summary {output.summary:q} --findings {output.findings:q}"
        " --memory {resources.mem_mb} --log {log:q}"


# The last job of a run; its status states whether every layer was fitted.
rule check_fits:
    input:
        fits=studies(f"{RESULTS}/fits.parquet"),
        everything=outputs.targets(CONFIG),
    output:
        "results/layers_fitted.txt",
    log:
        "logs/check_fits.log",
    benchmark:
        "logs/check_fits.tsv"
    localrule: True
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=minutes(10),
    params:
        code=code("check_fits"),
    message:
        "check that every layer was fitted"
    shell:
        'python "$ATTNLAG"/scripts/check_fits.py {input.fits:q} --output {output:q}'
        " --memory {resources.mem_mb} --log {log:q}"
