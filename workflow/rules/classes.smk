# Slopes by class of tokens, for regressions with `by`.


use rule program as scale_number with:
    input:
        tokens=shards_of(classes_of_tokens),
    output:
        scale=f"{RESULTS}/scale.json",
    log:
        "logs/{model}/{corpus}/{site}/{regression}/scale.log",
    benchmark:
        "logs/{model}/{corpus}/{site}/{regression}/scale.tsv"
    params:
        **stage("scale_number"),


use rule program as accumulate_classes with:
    input:
        together(
            design=fitted_design,
            token_properties=classes_of_tokens,
            scale=if_by_number(f"{RESULTS}/scale.json"),
        ),
    output:
        crossproducts=f"{RESULTS}/class_crossproducts/{{shard}}.parquet",
    log:
        "logs/{model}/{corpus}/{site}/{regression}/class_crossproducts/{shard}.log",
    benchmark:
        "logs/{model}/{corpus}/{site}/{regression}/class_crossproducts/{shard}.tsv"
    params:
        **stage("accumulate_classes"),


use rule program as fit_classes with:
    input:
        crossproducts=shards_of(f"{RESULTS}/class_crossproducts/{{shard}}.parquet"),
    output:
        classes=f"{RESULTS}/classes.parquet",
        classes_csv=f"{RESULTS}/classes.csv",
        equal_slopes=f"{RESULTS}/equal_slopes.parquet",
        equal_slopes_csv=f"{RESULTS}/equal_slopes.csv",
    log:
        "logs/{model}/{corpus}/{site}/{regression}/fit_classes.log",
    benchmark:
        "logs/{model}/{corpus}/{site}/{regression}/fit_classes.tsv"
    resources:
        # A GB of cross-products takes six CPU minutes.
        **needs(1000 + 6 * CONFIG.inference.stack_mb, 60, per_gb=8),
    params:
        **stage("fit_classes"),


use rule program as decompose_lags with:
    input:
        design=shards_of(f"{RESULTS}/design/{{shard}}.parquet"),
        token_properties=shards_of("results/{model}/{corpus}/token_properties/{shard}.parquet"),
    output:
        steps=f"{RESULTS}/steps.parquet",
        steps_csv=f"{RESULTS}/steps.csv",
        parts=f"{RESULTS}/parts.parquet",
        parts_csv=f"{RESULTS}/parts.csv",
    log:
        "logs/{model}/{corpus}/{site}/{regression}/decompose_lags.log",
    benchmark:
        "logs/{model}/{corpus}/{site}/{regression}/decompose_lags.tsv"
    resources:
        **needs(2000, 60),
    params:
        **stage("decompose_lags"),
