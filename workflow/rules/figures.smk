# Figures: one rule for each set of inputs draws all figures made from them.


rule plot_norms:
    input:
        norms=shards_of("results/{model}/{corpus}/{site}/norms/{shard}.parquet"),
        stream=shards_of("results/{model}/{corpus}/stream/{shard}.parquet"),
        tokens=shards_of("results/{model}/{corpus}/tokens/{shard}.parquet"),
        properties=shards_of("results/{model}/{corpus}/token_properties/{shard}.parquet"),
        corpus="results/corpora/{corpus}.parquet",
    output:
        figures_of("plot_norms", "results/{model}/{corpus}/{site}/figures", regression="all"),
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
        'python "$ATTNLAG"/scripts/plot_norms.py {input.norms[0]:q} --stream {input.stream[0]:q}'
        " --tokens {input.tokens[0]:q} --properties {input.properties[0]:q}"
        " --corpus {input.corpus:q} --settings {params.settings:q} --site {wildcards.site:q}"
        " --output {output:q} --memory {resources.mem_mb} --log {log:q}"


rule plot_surprisal:
    input:
        norms=shards_of("results/{model}/{corpus}/{site}/norms/{shard}.parquet"),
        surprisal=shards_of("results/{model}/{corpus}/surprisal/{shard}.parquet"),
        properties=shards_of("results/{model}/{corpus}/token_properties/{shard}.parquet"),
    output:
        figures_of("plot_surprisal", "results/{model}/{corpus}/{site}/figures", regression="all"),
    log:
        "logs/{model}/{corpus}/{site}/figures/plot_surprisal.log",
    benchmark:
        "logs/{model}/{corpus}/{site}/figures/plot_surprisal.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(1000, 2),
        runtime=minutes(30),
    params:
        settings=settings_of("plot_surprisal"),
        code=code("plot_surprisal"),
    message:
        "draw the norms of {wildcards.model}, {wildcards.corpus}, {wildcards.site} against surprisal"
    shell:
        'python "$ATTNLAG"/scripts/plot_surprisal.py {input.norms[0]:q}'
        " --surprisal {input.surprisal[0]:q} --properties {input.properties[0]:q}"
        " --settings {params.settings:q} --site {wildcards.site:q}"
        " --output {output:q} --memory {resources.mem_mb} --log {log:q}"


rule plot_regression:
    input:
        coefficients=rules.fit_regression.output.coefficients,
        fits=rules.fit_regression.output.fits,
        influence=rules.fit_regression.output.influence,
        groups=f"{RESULTS}/groups.parquet",
        residuals=rules.fit_regression.output.residuals,
        design=fitted_designs,
        # For joint bands.
        joint=f"{RESULTS}/joint.json" if CONFIG.figures.bands == "joint" else [],
        controls=f"{RESULTS}/controls.parquet",
        # For the caption in the report.
        findings=f"{RESULTS}/findings.txt",
    output:
        figures_of("plot_regression", f"{RESULTS}/figures"),
    log:
        "logs/{model}/{corpus}/{site}/{regression}/figures/plot_regression.log",
    benchmark:
        "logs/{model}/{corpus}/{site}/{regression}/figures/plot_regression.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(1000, 2),
        runtime=minutes(30),
    params:
        settings=settings_of("plot_regression"),
        code=code("plot_regression"),
    message:
        "draw {wildcards.regression}, {wildcards.model}, {wildcards.corpus}, {wildcards.site}"
    shell:
        'python "$ATTNLAG"/scripts/plot_regression.py --settings {params.settings:q}'
        " --coefficients {input.coefficients:q} --fits {input.fits:q} --groups {input.groups:q}"
        " --influence {input.influence:q} --residuals {input.residuals:q}"
        " --design {input.design[0]:q}"
        " --joint {input.joint:q} --controls {input.controls:q} --output {output:q}"
        " --memory {resources.mem_mb} --log {log:q}"


rule plot_classes:
    input:
        classes=f"{RESULTS}/classes.parquet",
        equal_slopes=f"{RESULTS}/equal_slopes.parquet",
        steps=f"{RESULTS}/steps.parquet",
        parts=f"{RESULTS}/parts.parquet",
    output:
        figures_of("plot_classes", f"{RESULTS}/figures"),
    log:
        "logs/{model}/{corpus}/{site}/{regression}/figures/plot_classes.log",
    benchmark:
        "logs/{model}/{corpus}/{site}/{regression}/figures/plot_classes.tsv"
    localrule: True
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=minutes(30),
    params:
        code=code("plot_classes"),
    message:
        "draw slopes of {wildcards.regression} by class of tokens, {wildcards.model}, {wildcards.corpus}, {wildcards.site}"
    shell:
        'python "$ATTNLAG"/scripts/plot_classes.py --classes {input.classes:q}'
        " --equal-slopes {input.equal_slopes:q} --steps {input.steps:q} --parts {input.parts:q}"
        " --output {output:q}"
        " --memory {resources.mem_mb} --log {log:q}"


rule plot_sites:
    input:
        norms=lambda wildcards: expand(
            "results/{model}/{corpus}/{site}/norms/{shard}.parquet",
            site=CONFIG.extraction.sites,
            shard=shards(wildcards.corpus),
            allow_missing=True,
        ),
        coefficients=expand(
            f"{RESULTS}/coefficients.parquet", site=CONFIG.extraction.sites, allow_missing=True
        ),
        fits=expand(f"{RESULTS}/fits.parquet", site=CONFIG.extraction.sites, allow_missing=True),
    output:
        figures_of("plot_sites", BESIDE_SITES, site="all"),
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
        sites=CONFIG.extraction.sites,
        norms=lambda wildcards, input: input.norms[:: len(shards(wildcards.corpus))],
        code=code("plot_sites"),
    message:
        "draw the sites side by side, {wildcards.regression}, {wildcards.model}, {wildcards.corpus}"
    shell:
        'python "$ATTNLAG"/scripts/plot_sites.py --sites {params.sites:q} --norms {params.norms:q}'
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
        figures_of(
            "plot_specifications",
            "results/{model}/{corpus}/{site}/figures",
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
        'python "$ATTNLAG"/scripts/plot_specifications.py --coefficients {input:q} --output {output:q}'
        " --memory {resources.mem_mb} --log {log:q}"
