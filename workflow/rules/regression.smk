# Least squares in every layer, from the cross-products and residuals of all shards.


rule fit_regression:
    input:
        crossproducts=shards_of(f"{RESULTS}/crossproducts/{{shard}}.parquet"),
        residuals=shards_of(f"{RESULTS}/residuals/{{shard}}.parquet"),
    output:
        coefficients=f"{RESULTS}/coefficients.parquet",
        coefficients_csv=f"{RESULTS}/coefficients.csv",
        fits=f"{RESULTS}/fits.parquet",
        fits_csv=f"{RESULTS}/fits.csv",
        influence=f"{RESULTS}/influence.parquet",
        influence_csv=f"{RESULTS}/influence.csv",
        joint=f"{RESULTS}/joint.json",
        summary=directory(f"{RESULTS}/summary"),
        findings=f"{RESULTS}/findings.txt",
    log:
        "logs/{model}/{corpus}/{site}/{regression}/fit_regression.log",
    benchmark:
        "logs/{model}/{corpus}/{site}/{regression}/fit_regression.tsv"
    wildcard_constraints:
        regression=FITTED,
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(1000 + 6 * CONFIG.inference.stack_mb),
        runtime=minutes(60),
    params:
        settings=settings_of("fit_regression"),
        code=code("fit_regression"),
    message:
        "fit {wildcards.regression} to {wildcards.model}, {wildcards.corpus}, {wildcards.site}"
    shell:
        'python "$ATTNLAG"/scripts/fit_regression.py {input.crossproducts[0]:q} --residuals {input.residuals[0]:q}'
        " --settings {params.settings:q}"
        " --site {wildcards.site:q} --regression {wildcards.regression:q}"
        " --coefficients {output.coefficients:q} --fits {output.fits:q}"
        " --influence {output.influence:q} --joint {output.joint:q}"
        " --summary {output.summary:q} --findings {output.findings:q}"
        " --memory {resources.mem_mb} --log {log:q}"


rule fit_groups:
    input:
        crossproducts=shards_of(f"{RESULTS}/crossproducts/{{shard}}.parquet"),
        corpus="results/corpora/{corpus}.parquet",
    output:
        parquet=f"{RESULTS}/groups.parquet",
        csv=f"{RESULTS}/groups.csv",
    log:
        "logs/{model}/{corpus}/{site}/{regression}/fit_groups.log",
    benchmark:
        "logs/{model}/{corpus}/{site}/{regression}/fit_groups.tsv"
    wildcard_constraints:
        regression=FITTED,
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(1000 + 6 * CONFIG.inference.stack_mb),
        runtime=minutes(60),
    params:
        settings=settings_of("fit_groups"),
        code=code("fit_groups"),
    message:
        "fit {wildcards.regression} to each group of {wildcards.corpus}, {wildcards.model}, {wildcards.site}"
    shell:
        'python "$ATTNLAG"/scripts/fit_groups.py {input.crossproducts[0]:q} --corpus {input.corpus:q}'
        " --settings {params.settings:q}"
        " --site {wildcards.site:q} --regression {wildcards.regression:q}"
        " --coefficients {output.parquet:q} --memory {resources.mem_mb} --log {log:q}"


rule tabulate_coefficients:
    input:
        coefficients=f"{RESULTS}/coefficients.parquet",
        # For the caption in the report.
        findings=f"{RESULTS}/findings.txt",
    output:
        in_report(
            f"{RESULTS}/coefficients.html",
            "tabulate_coefficients",
            "coefficients",
            "by layer",
            shows="table",
        ),
    log:
        "logs/{model}/{corpus}/{site}/{regression}/tabulate_coefficients.log",
    benchmark:
        "logs/{model}/{corpus}/{site}/{regression}/tabulate_coefficients.tsv"
    localrule: True
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=minutes(10),
    params:
        # For the caption in the report; the page takes them from the table.
        settings=settings_of("tabulate_coefficients"),
        code=code("tabulate_coefficients"),
    message:
        "make a page of the coefficients of {wildcards.regression}, {wildcards.model}, {wildcards.corpus}"
    shell:
        'python "$ATTNLAG"/scripts/tabulate_coefficients.py {input.coefficients:q} --output {output:q}'
        " --memory {resources.mem_mb} --log {log:q}"


# The last job of a run: its status tells whether every layer was fitted.
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
