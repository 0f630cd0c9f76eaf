# Figures, each in every format of the configuration.

FORMATS = CONFIG.figures.formats
SITES = CONFIG.extraction.sites


rule plot_norms:
    input:
        norms=shards_of("results/{model}/{corpus}/{site}/norms/{shard}.parquet"),
    output:
        report(
            expand(
                "results/{{model}}/{{corpus}}/{{site}}/figures/norms_by_layer.{format}",
                format=FORMATS,
            ),
            caption="../report/plot_norms.rst",
            category="{model}",
            subcategory="{corpus}",
            labels={"site": "{site}", "regression": "all", "shows": "norms by layer"},
        ),
    log:
        "logs/{model}/{corpus}/{site}/figures/plot_norms.log",
    benchmark:
        "benchmarks/{model}/{corpus}/{site}/figures/plot_norms.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(1000, 2),
        runtime=minutes(30),
    params:
        settings=settings_of_norms,
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
        page=report(
            "results/{model}/{corpus}/{site}/figures/text.html",
            caption="../report/plot_text.rst",
            category="{model}",
            subcategory="{corpus}",
            labels={"site": "{site}", "regression": "all", "shows": "the text itself"},
        ),
        figures=expand(
            "results/{{model}}/{{corpus}}/{{site}}/figures/text_by_token.{format}",
            format=FORMATS,
        ),
    log:
        "logs/{model}/{corpus}/{site}/figures/plot_text.log",
    benchmark:
        "benchmarks/{model}/{corpus}/{site}/figures/plot_text.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(1000, 2),
        runtime=minutes(30),
    params:
        settings=settings_of_text,
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
        report(
            expand(
                "results/{{model}}/{{corpus}}/{{site}}/figures/norms_by_position.{format}",
                format=FORMATS,
            ),
            caption="../report/plot_positions.rst",
            category="{model}",
            subcategory="{corpus}",
            labels={"site": "{site}", "regression": "all", "shows": "norms along the text"},
        ),
    log:
        "logs/{model}/{corpus}/{site}/figures/plot_positions.log",
    benchmark:
        "benchmarks/{model}/{corpus}/{site}/figures/plot_positions.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(1000, 2),
        runtime=minutes(30),
    params:
        settings=settings_of_norms,
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
        report(
            expand(
                f"{RESULTS}/figures/groups_by_layer.{{format}}",
                format=FORMATS,
                allow_missing=True,
            ),
            caption="../report/plot_groups.rst",
            category="{model}",
            subcategory="{corpus}",
            labels={
                "site": "{site}",
                "regression": "{regression}",
                "shows": "groups of documents",
            },
        ),
    log:
        "logs/{model}/{corpus}/{site}/{regression}/figures/plot_groups.log",
    benchmark:
        "benchmarks/{model}/{corpus}/{site}/{regression}/figures/plot_groups.tsv"
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
        joint=joint_of,
        # Drawn behind the coefficients, where one is declared.
        null=null_of,
    output:
        report(
            expand(
                f"{RESULTS}/figures/coefficients_by_layer.{{format}}",
                format=FORMATS,
                allow_missing=True,
            ),
            caption="../report/plot_coefficients.rst",
            category="{model}",
            subcategory="{corpus}",
            labels={
                "site": "{site}",
                "regression": "{regression}",
                "shows": "coefficients by layer",
            },
        ),
    log:
        "logs/{model}/{corpus}/{site}/{regression}/figures/plot_coefficients.log",
    benchmark:
        "benchmarks/{model}/{corpus}/{site}/{regression}/figures/plot_coefficients.tsv"
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
        report(
            expand(
                f"{RESULTS}/figures/outcome_by_lag.{{format}}",
                format=FORMATS,
                allow_missing=True,
            ),
            caption="../report/plot_lags.rst",
            category="{model}",
            subcategory="{corpus}",
            labels={
                "site": "{site}",
                "regression": "{regression}",
                "shows": "outcome by lag",
            },
        ),
    log:
        "logs/{model}/{corpus}/{site}/{regression}/figures/plot_lags.log",
    benchmark:
        "benchmarks/{model}/{corpus}/{site}/{regression}/figures/plot_lags.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(1000, 2),
        runtime=minutes(30),
    params:
        settings=settings_of_panels,
        code=code("plot_lags"),
    message:
        "draw outcome by lag of {wildcards.regression}, {wildcards.model}, {wildcards.corpus}"
    shell:
        "python3 scripts/plot_lags.py {input.design[0]:q} --settings {params.settings:q}"
        " --coefficients {input.coefficients:q} --fits {input.fits:q} --output {output:q}"
        " --memory {resources.mem_mb} --log {log:q}"


rule plot_diagnostics:
    input:
        residuals=shards_of(f"{RESULTS}/residuals/{{shard}}.parquet"),
        fits=rules.fit_regression.output.fits,
        influence=rules.fit_regression.output.influence,
    output:
        report(
            expand(
                f"{RESULTS}/figures/diagnostics.{{format}}",
                format=FORMATS,
                allow_missing=True,
            ),
            caption="../report/plot_diagnostics.rst",
            category="{model}",
            subcategory="{corpus}",
            labels={
                "site": "{site}",
                "regression": "{regression}",
                "shows": "diagnostics",
            },
        ),
    log:
        "logs/{model}/{corpus}/{site}/{regression}/figures/plot_diagnostics.log",
    benchmark:
        "benchmarks/{model}/{corpus}/{site}/{regression}/figures/plot_diagnostics.tsv"
    wildcard_constraints:
        regression=FITTED,
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(1000, 2),
        runtime=minutes(30),
    params:
        settings=settings_of_panels,
        code=code("plot_diagnostics"),
    message:
        "draw the residuals of {wildcards.regression}, {wildcards.model}, {wildcards.corpus}"
    shell:
        "python3 scripts/plot_diagnostics.py {input.residuals[0]:q} --settings {params.settings:q}"
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
        report(
            expand(
                f"{BESIDE_SITES}/sites_by_layer.{{format}}",
                format=FORMATS,
                allow_missing=True,
            ),
            caption="../report/plot_sites.rst",
            category="{model}",
            subcategory="{corpus}",
            labels={
                "site": "all",
                "regression": "{regression}",
                "shows": "sites by layer",
            },
        ),
    log:
        "logs/{model}/{corpus}/figures/{regression}/plot_sites.log",
    benchmark:
        "benchmarks/{model}/{corpus}/figures/{regression}/plot_sites.tsv"
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
        report(
            expand(
                "results/{{model}}/{{corpus}}/{{site}}/figures/specifications_by_layer.{format}",
                format=FORMATS,
            ),
            caption="../report/plot_specifications.rst",
            category="{model}",
            subcategory="{corpus}",
            labels={
                "site": "{site}",
                "regression": "all",
                "shows": "specifications by layer",
            },
        ),
    log:
        "logs/{model}/{corpus}/{site}/figures/plot_specifications.log",
    benchmark:
        "benchmarks/{model}/{corpus}/{site}/figures/plot_specifications.tsv"
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
