# One page that shows all studies of a run.


use rule program as build_explorer with:
    input:
        # The program finds these from the paths of the coefficients.
        studies(f"{RESULTS}/fits.parquet"),
        studies(f"{RESULTS}/controls.parquet"),
        studies(f"{RESULTS}/joint.json"),
        *(
            outputs.files_of(CONFIG, name=name)
            for name in (
                *("transmitted.csv", "classes.csv", "heads.csv", "head_coefficients.csv"),
                *("elasticities.csv", "vector_fits.csv", "heads/{shard}.parquet"),
                "sources/{shard}.parquet",
            )
        ),
        every_table(
            f"{RESULTS}/design/{{shard}}.parquet",
            # Outcomes other than norms.
            *(
                f"{SITE}/{folder}/{{shard}}.parquet"
                for folder in ("geometry", "centred", "written")
                if CONFIG.regresses(folder)
            ),
            f"{SITE}/norms/{{shard}}.parquet",
            "results/{model}/{corpus}/stream/{shard}.parquet",
            "results/{model}/{corpus}/tokens/{shard}.parquet",
        ),
        expand("results/corpora/{corpus}.parquet", corpus=CONFIG.corpora),
        coefficients=studies(f"{RESULTS}/coefficients.parquet"),
        findings=outputs.files_of(CONFIG, name="findings.txt"),
        beside=beside_tokens(),
    output:
        answers="results/answers.txt",
        page=in_report(
            "results/explorer.html",
            "explorer",
            "explorer",
            "the whole study",
            shows="page",
        ),
    log:
        "logs/build_explorer.log",
    benchmark:
        "logs/build_explorer.tsv"
    resources:
        **needs(2000, 30),
    params:
        **stage("build_explorer"),
