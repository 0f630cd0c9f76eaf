# One page that shows all studies of a run.


rule build_explorer:
    input:
        coefficients=studies(f"{RESULTS}/coefficients.parquet"),
        findings=outputs.files_of(CONFIG, name="findings.txt"),
        beside=beside_tokens(),
        # The script finds these from the paths of the coefficients.
        tables=studies(f"{RESULTS}/fits.parquet") + studies(f"{RESULTS}/controls.parquet"),
        design=every_table(f"{RESULTS}/design/{{shard}}.parquet"),
        # Outcomes other than norms.
        regressed=every_table(
            *(
                f"results/{{model}}/{{corpus}}/{{site}}/{folder}/{{shard}}.parquet"
                for folder in ("geometry", "centred")
                if CONFIG.regresses(folder)
            )
        ),
        tokens=every_table(
            "results/{model}/{corpus}/{site}/norms/{shard}.parquet",
            "results/{model}/{corpus}/stream/{shard}.parquet",
            "results/{model}/{corpus}/tokens/{shard}.parquet",
        ),
        corpora=expand("results/corpora/{corpus}.parquet", corpus=CONFIG.corpora),
    output:
        in_report(
            "results/explorer.html",
            "explorer",
            "explorer",
            "the whole study",
            shows="page",
            **dict.fromkeys(("model", "corpus", "site", "regression"), "all"),
        ),
    log:
        "logs/build_explorer.log",
    benchmark:
        "logs/build_explorer.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=minutes(30),
    params:
        beside=sorted({Path(path).parent.name for path in beside_tokens()}),
        code=code("build_explorer"),
    message:
        "build the explorer"
    shell:
        'python "$ATTNLAG"/scripts/build_explorer.py {input.coefficients:q}'
        " --findings {input.findings:q} --beside {params.beside:q} --output {output:q}"
        " --memory {resources.mem_mb} --log {log:q}"
