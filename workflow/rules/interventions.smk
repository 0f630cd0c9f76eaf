# Interventions: the effect of changing one adjustment on the sizes of later ones.

# The regression to compare the effects with: the first regression of norms with lag 1.
BESIDE_EFFECTS = [
    name
    for name, regression in CONFIG.regressions.items()
    if 1 in regression.lags and regression.outcome == "norm"
][:1]


use rule program as estimate_effects with:
    input:
        "data/models/{model}/source.json",
        tokens="results/{model}/{corpus}/tokens/{shard}.parquet",
        corpus="results/corpora/{corpus}.parquet",
        token_properties="results/{model}/{corpus}/token_properties/{shard}.parquet",
    output:
        effects=f"{CAUSAL}/effects/{{shard}}.parquet",
    log:
        "logs/{model}/{corpus}/causal/effects/{shard}.log",
    benchmark:
        "logs/{model}/{corpus}/causal/effects/{shard}.tsv"
    threads: THREADS
    resources:
        **needs(memory_of_effects, 240, gpu=ON_GPU),
    params:
        **stage(
            "estimate_effects",
            **SPEED | {"batch_tokens": CONFIG.causal.batch_tokens if CONFIG.causal else 0},
        ),


use rule program as fit_effects with:
    input:
        effects=shards_of(f"{CAUSAL}/effects/{{shard}}.parquet"),
        norms=shards_of(
            expand(
                f"{SITE}/norms/{{shard}}.parquet", site=CONFIG.sites_changed(), allow_missing=True
            )
        ),
        coefficients=expand(
            f"{RESULTS}/coefficients.parquet",
            site=CONFIG.sites_changed(),
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
        verdicts=f"{CAUSAL}/verdicts.parquet",
        verdicts_csv=f"{CAUSAL}/verdicts.csv",
        findings=f"{CAUSAL}/findings.txt",
    log:
        "logs/{model}/{corpus}/causal/fit_effects.log",
    benchmark:
        "logs/{model}/{corpus}/causal/fit_effects.tsv"
    resources:
        **needs(1000, 60, per_mb=4),
    params:
        **stage("fit_effects"),
