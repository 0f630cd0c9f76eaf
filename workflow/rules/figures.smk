# Figures, each in every format of the configuration.

SITES = CONFIG.extraction.sites
LAYER_OF_TEXT = "middle" if CONFIG.figures.text_layer is None else f"{CONFIG.figures.text_layer}"


rule plot_norms:
    input:
        norms=shards_of("results/{model}/{corpus}/{site}/norms/{shard}.parquet"),
    output:
        figure(
            "results/{model}/{corpus}/{site}/figures/norms_by_layer{size}.{format}",
            "plot_norms",
            "norms",
            "by layer",
            regression="all",
        ),
    log:
        "logs/{model}/{corpus}/{site}/figures/plot_norms.log",
    benchmark:
        "logs/{model}/{corpus}/{site}/figures/plot_norms.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(1000, 2),
        runtime=minutes(30),
    params:
        settings=settings_of("plot_norms"),
        code=code("plot_norms"),
    message:
        "draw the norms of {wildcards.model}, {wildcards.corpus}, {wildcards.site}"
    shell:
        "python3 scripts/plot_norms.py {input.norms[0]:q} --settings {params.settings:q} --site {wildcards.site:q} --output {output:q}"
        " --memory {resources.mem_mb} --log {log:q}"


rule plot_text:
    input:
        norms=shards_of("results/{model}/{corpus}/{site}/norms/{shard}.parquet"),
        tokens=shards_of("results/{model}/{corpus}/tokens/{shard}.parquet"),
        corpus="results/corpora/{corpus}.parquet",
    output:
        page=in_report(
            "results/{model}/{corpus}/{site}/figures/text.html",
            "plot_text",
            "norms",
            "the text itself",
            shows="page",
            regression="all",
        ),
        figures=figure(
            "results/{model}/{corpus}/{site}/figures/text_by_token{size}.{format}",
            "plot_text",
            "norms",
            "the text itself",
            regression="all",
            layer=LAYER_OF_TEXT,
        ),
    log:
        "logs/{model}/{corpus}/{site}/figures/plot_text.log",
    benchmark:
        "logs/{model}/{corpus}/{site}/figures/plot_text.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(1000, 2),
        runtime=minutes(30),
    params:
        settings=settings_of("plot_norms"),
        code=code("plot_text"),
    message:
        "shade the tokens of {wildcards.model}, {wildcards.corpus}, {wildcards.site}"
    shell:
        "python3 scripts/plot_text.py {input.norms[0]:q} --tokens {input.tokens[0]:q}"
        " --corpus {input.corpus:q} --settings {params.settings:q} --site {wildcards.site:q}"
        " --page {output.page:q} --output {output.figures:q}"
        " --memory {resources.mem_mb} --log {log:q}"


rule plot_positions:
    input:
        norms=shards_of("results/{model}/{corpus}/{site}/norms/{shard}.parquet"),
    output:
        figure(
            "results/{model}/{corpus}/{site}/figures/norms_by_position{size}.{format}",
            "plot_positions",
            "norms",
            "along the text",
            regression="all",
        ),
    log:
        "logs/{model}/{corpus}/{site}/figures/plot_positions.log",
    benchmark:
        "logs/{model}/{corpus}/{site}/figures/plot_positions.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(1000, 2),
        runtime=minutes(30),
    params:
        settings=settings_of("plot_norms"),
        code=code("plot_positions"),
    message:
        "draw the norms along the text of {wildcards.model}, {wildcards.corpus}, {wildcards.site}"
    shell:
        "python3 scripts/plot_positions.py {input.norms[0]:q} --settings {params.settings:q}"
        " --site {wildcards.site:q} --output {output:q} --memory {resources.mem_mb} --log {log:q}"


rule plot_groups:
    input:
        norms=shards_of("results/{model}/{corpus}/{site}/norms/{shard}.parquet"),
        corpus="results/corpora/{corpus}.parquet",
        coefficients=f"{RESULTS}/groups.parquet",
    output:
        figure(
            f"{RESULTS}/figures/groups_by_layer{{size}}.{{format}}",
            "plot_groups",
            "coefficients",
            "by group of documents",
        ),
    log:
        "logs/{model}/{corpus}/{site}/{regression}/figures/plot_groups.log",
    benchmark:
        "logs/{model}/{corpus}/{site}/{regression}/figures/plot_groups.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(1000, 2),
        runtime=minutes(30),
    params:
        code=code("plot_groups"),
    message:
        "draw the groups of {wildcards.regression}, {wildcards.model}, {wildcards.corpus}"
    shell:
        "python3 scripts/plot_groups.py {input.norms[0]:q} --corpus {input.corpus:q}"
        " --coefficients {input.coefficients:q} --output {output:q}"
        " --memory {resources.mem_mb} --log {log:q}"


rule plot_coefficients:
    input:
        coefficients=f"{RESULTS}/coefficients.parquet",
        fits=f"{RESULTS}/fits.parquet",
        # For the caption in the report.
        findings=f"{RESULTS}/findings.txt",
        joint=joint_of,
        # Drawn behind the coefficients, where one is declared.
        null=null_of,
    output:
        figure(
            f"{RESULTS}/figures/coefficients_by_layer{{size}}.{{format}}",
            "plot_coefficients",
            "coefficients",
            "by layer",
        ),
    log:
        "logs/{model}/{corpus}/{site}/{regression}/figures/plot_coefficients.log",
    benchmark:
        "logs/{model}/{corpus}/{site}/{regression}/figures/plot_coefficients.tsv"
    localrule: True
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=minutes(30),
    params:
        code=code("plot_coefficients"),
    message:
        "draw the coefficients of {wildcards.regression}, {wildcards.model}, {wildcards.corpus}"
    shell:
        "python3 scripts/plot_coefficients.py --coefficients {input.coefficients:q}"
        " --fits {input.fits:q} --joint {input.joint:q} --null {input.null:q} --output {output:q}"
        " --memory {resources.mem_mb} --log {log:q}"


rule plot_lags:
    input:
        design=shards_of(f"{RESULTS}/design/{{shard}}.parquet"),
        coefficients=rules.fit_regression.output.coefficients,
        fits=rules.fit_regression.output.fits,
    output:
        figure(
            f"{RESULTS}/figures/outcome_by_lag{{size}}.{{format}}",
            "plot_lags",
            "coefficients",
            "outcome by lag",
        ),
    log:
        "logs/{model}/{corpus}/{site}/{regression}/figures/plot_lags.log",
    benchmark:
        "logs/{model}/{corpus}/{site}/{regression}/figures/plot_lags.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(1000, 2),
        runtime=minutes(30),
    params:
        settings=settings_of("plot_panels"),
        code=code("plot_lags"),
    message:
        "draw outcome by lag of {wildcards.regression}, {wildcards.model}, {wildcards.corpus}"
    shell:
        "python3 scripts/plot_lags.py {input.design[0]:q} --settings {params.settings:q}"
        " --coefficients {input.coefficients:q} --fits {input.fits:q} --output {output:q}"
        " --memory {resources.mem_mb} --log {log:q}"


rule plot_diagnostics:
    input:
        residuals=rules.fit_regression.output.residuals,
        fits=rules.fit_regression.output.fits,
        influence=rules.fit_regression.output.influence,
    output:
        figure(
            f"{RESULTS}/figures/diagnostics{{size}}.{{format}}",
            "plot_diagnostics",
            "diagnostics",
            "residuals and influence",
        ),
    log:
        "logs/{model}/{corpus}/{site}/{regression}/figures/plot_diagnostics.log",
    benchmark:
        "logs/{model}/{corpus}/{site}/{regression}/figures/plot_diagnostics.tsv"
    wildcard_constraints:
        regression=FITTED,
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(1000, 2),
        runtime=minutes(30),
    params:
        settings=settings_of("plot_panels"),
        code=code("plot_diagnostics"),
    message:
        "draw the residuals of {wildcards.regression}, {wildcards.model}, {wildcards.corpus}"
    shell:
        "python3 scripts/plot_diagnostics.py {input.residuals:q} --settings {params.settings:q}"
        " --fits {input.fits:q} --influence {input.influence:q} --output {output:q}"
        " --memory {resources.mem_mb} --log {log:q}"


rule plot_sites:
    input:
        norms=lambda wildcards: expand(
            "results/{model}/{corpus}/{site}/norms/{shard}.parquet",
            site=SITES,
            shard=shards(wildcards.corpus),
            allow_missing=True,
        ),
        coefficients=expand(f"{RESULTS}/coefficients.parquet", site=SITES, allow_missing=True),
        fits=expand(f"{RESULTS}/fits.parquet", site=SITES, allow_missing=True),
    output:
        figure(
            f"{BESIDE_SITES}/sites_by_layer{{size}}.{{format}}",
            "plot_sites",
            "coefficients",
            "sites side by side",
            site="all",
        ),
    log:
        "logs/{model}/{corpus}/figures/{regression}/plot_sites.log",
    benchmark:
        "logs/{model}/{corpus}/figures/{regression}/plot_sites.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(1000, 2),
        runtime=minutes(30),
    params:
        sites=SITES,
        norms=lambda wildcards, input: input.norms[:: len(shards(wildcards.corpus))],
        code=code("plot_sites"),
    message:
        "draw the sites side by side, {wildcards.regression}, {wildcards.model}, {wildcards.corpus}"
    shell:
        "python3 scripts/plot_sites.py --sites {params.sites:q} --norms {params.norms:q}"
        " --coefficients {input.coefficients:q} --fits {input.fits:q}"
        " --output {output:q} --memory {resources.mem_mb} --log {log:q}"


rule plot_specifications:
    input:
        expand(
            f"{RESULTS}/coefficients.parquet",
            regression=CONFIG.regressions,
            allow_missing=True,
        ),
    output:
        figure(
            "results/{model}/{corpus}/{site}/figures/specifications_by_layer{size}.{format}",
            "plot_specifications",
            "coefficients",
            "regressions side by side",
            regression="all",
        ),
    log:
        "logs/{model}/{corpus}/{site}/figures/plot_specifications.log",
    benchmark:
        "logs/{model}/{corpus}/{site}/figures/plot_specifications.tsv"
    localrule: True
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=minutes(30),
    params:
        regressions=" ".join(CONFIG.regressions),
        code=code("plot_specifications"),
    message:
        "draw the regressions of {wildcards.model}, {wildcards.corpus}, {wildcards.site}"
    shell:
        "python3 scripts/plot_specifications.py --coefficients {input:q} --output {output:q}"
        " --memory {resources.mem_mb} --log {log:q}"
