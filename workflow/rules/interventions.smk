# Interventions: the effect of changing one adjustment on the sizes of later ones.

CAUSAL = "results/{model}/{corpus}/causal"
SITES_CHANGED = CONFIG.sites_changed()
PAIRS_CHANGED = CONFIG.pairs_changed()
# The regression to compare the effects with: the first regression of norms with lag 1.
BESIDE_EFFECTS = [
    name
    for name, regression in CONFIG.regressions.items()
    if 1 in regression.lags and regression.outcome == "norm"
][:1]


rule estimate_effects:
    input:
        tokens="results/{model}/{corpus}/tokens/{shard}.parquet",
        model="data/models/{model}/source.json",
        corpus="results/corpora/{corpus}.parquet",
        token_properties="results/{model}/{corpus}/token_properties/{shard}.parquet",
    output:
        f"{CAUSAL}/effects/{{shard}}.parquet",
    log:
        "logs/{model}/{corpus}/causal/effects/{shard}.log",
    benchmark:
        "logs/{model}/{corpus}/causal/effects/{shard}.tsv"
    conda:
        ENVIRONMENT
    threads: 8
    resources:
        mem_mb=memory_of_effects,
        runtime=minutes(240),
        gpu=int(CONFIG.extraction.device.startswith("cuda")),
        # Settings that only change speed are passed here, so that a change reruns nothing.
        device=CONFIG.extraction.device,
        batch_tokens=CONFIG.causal.batch_tokens if CONFIG.causal else 0,
    params:
        settings=settings_of("estimate_effects"),
        code=code("estimate_effects"),
    message:
        "intervene on {wildcards.model}, {wildcards.corpus}, shard {wildcards.shard}"
    shell:
        'python "$ATTNLAG"/scripts/estimate_effects.py {input.tokens:q}'
        " --model data/models/{wildcards.model:q} --corpus {input.corpus:q}"
        " --token-properties {input.token_properties:q}"
        " --settings {params.settings:q} --device {resources.device:q}"
        " --batch-tokens {resources.batch_tokens:q} --threads {threads} --output {output:q}"
        " --memory {resources.mem_mb} --log {log:q}"


rule fit_effects:
    input:
        effects=shards_of(f"{CAUSAL}/effects/{{shard}}.parquet"),
        # The script finds these beside the first shard of each site.
        norms=lambda wildcards: expand(
            "results/{model}/{corpus}/{site}/norms/{shard}.parquet",
            site=SITES_CHANGED,
            shard=shards(wildcards.corpus),
            allow_missing=True,
        ),
        coefficients=expand(
            f"{RESULTS}/coefficients.parquet",
            site=SITES_CHANGED,
            regression=BESIDE_EFFECTS,
            allow_missing=True,
        ),
    output:
        elasticities=f"{CAUSAL}/elasticities.parquet",
        elasticities_csv=f"{CAUSAL}/elasticities.csv",
        transmitted=f"{CAUSAL}/transmitted.parquet",
        transmitted_csv=f"{CAUSAL}/transmitted.csv",
        by_part_of_speech=f"{CAUSAL}/by_part_of_speech.parquet",
        by_part_of_speech_csv=f"{CAUSAL}/by_part_of_speech.csv",
        findings=f"{CAUSAL}/findings.txt",
    log:
        "logs/{model}/{corpus}/causal/fit_effects.log",
    benchmark:
        "logs/{model}/{corpus}/causal/fit_effects.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(1000, 4),
        runtime=minutes(60),
    params:
        settings=settings_of("fit_effects"),
        sites=SITES_CHANGED,
        norms=lambda wildcards, input: input.norms[:: len(shards(wildcards.corpus))],
        code=code("fit_effects"),
    message:
        "fit the effects of interventions on {wildcards.model}, {wildcards.corpus}"
    shell:
        "OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1"
        ' python "$ATTNLAG"/scripts/fit_effects.py {input.effects[0]:q} --settings {params.settings:q}'
        " --sites {params.sites:q} --norms {params.norms:q} --coefficients {input.coefficients:q}"
        " --elasticities {output.elasticities:q} --transmitted {output.transmitted:q}"
        " --by-part-of-speech {output.by_part_of_speech:q}"
        " --findings {output.findings:q} --memory {resources.mem_mb} --log {log:q}"


rule plot_effects:
    input:
        elasticities=rules.fit_effects.output.elasticities,
        # The script finds these beside the first table.
        transmitted=rules.fit_effects.output.transmitted,
        by_part_of_speech=rules.fit_effects.output.by_part_of_speech,
    output:
        figures_of("plot_effects", f"{CAUSAL}/figures/{{pair}}", site="{pair}", regression="all"),
    log:
        "logs/{model}/{corpus}/causal/figures/{pair}.log",
    benchmark:
        "logs/{model}/{corpus}/causal/figures/{pair}.tsv"
    localrule: True
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=minutes(30),
    params:
        source=lambda wildcards: PAIRS_CHANGED[wildcards.pair][0],
        target=lambda wildcards: PAIRS_CHANGED[wildcards.pair][1],
        code=code("plot_effects"),
    message:
        "draw the effects of interventions on {wildcards.model}, {wildcards.corpus}, {wildcards.pair}"
    shell:
        'python "$ATTNLAG"/scripts/plot_effects.py {input.elasticities:q}'
        " --source {params.source:q} --target {params.target:q}"
        " --output {output:q}"
        " --memory {resources.mem_mb} --log {log:q}"
