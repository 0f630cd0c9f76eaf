# Slopes by class of tokens, for regressions with `slopes_by`.

# The file of a shard that has the property: classes, or a number, whose thirds are classes.
PROPERTY = lambda wildcards: TOKEN_FILES[CONFIG.regressions[wildcards.regression].by_file]


use rule program as cut_into_thirds with:
    input:
        properties=shards_of(PROPERTY),
    output:
        thirds=f"{RESULTS}/thirds.json",
    log:
        "logs/{model}/{corpus}/{site}/{regression}/thirds.log",
    params:
        **job_params("cut_into_thirds"),


use rule program as accumulate_classes with:
    input:
        # The thirds of a number are its classes.
        thirds=lambda wildcards: optional(
            CONFIG.regressions[wildcards.regression].by_number, f"{RESULTS}/thirds.json"
        ),
        design=f"{RESULTS}/design/{{shard}}.parquet",
        properties=PROPERTY,
    output:
        crossproducts=f"{RESULTS}/class_crossproducts/{{shard}}.parquet",
    log:
        "logs/{model}/{corpus}/{site}/{regression}/class_crossproducts/{shard}.log",
    params:
        **job_params("accumulate_classes"),


use rule program as fit_classes with:
    input:
        crossproducts=shards_of(f"{RESULTS}/class_crossproducts/{{shard}}.parquet"),
    output:
        **in_both_formats(RESULTS, "classes", "equal_slopes"),
    log:
        "logs/{model}/{corpus}/{site}/{regression}/fit_classes.log",
    resources:
        # A document takes up to half a MB however many layers there are, and 0.15 MB or more of
        # cross-products in twelve layers; a GB of these takes six CPU minutes.
        **needs(mb=2500, minutes=60, per_mb=4, per_gb=8),
    params:
        **job_params("fit_classes"),


# Nested models: effects of documents, parts of speech and tokens enter one after another.
use rule program as decompose_lags with:
    input:
        design=shards_of(f"{RESULTS}/design/{{shard}}.parquet"),
        token_properties=ALL_TOKEN_FILES["token_properties"],  # of all shards
    output:
        **in_both_formats(RESULTS, "nested_models"),
    log:
        "logs/{model}/{corpus}/{site}/{regression}/decompose_lags.log",
    resources:
        **needs(mb=2000, minutes=60),
    params:
        **job_params("decompose_lags"),


use rule draw as plot_classes with:
    input:
        classes=f"{RESULTS}/classes.parquet",
        equal_slopes=f"{RESULTS}/equal_slopes.parquet",
    output:
        figures=figures_of("plot_classes", f"{RESULTS}/classes/figures"),
    log:
        "logs/{model}/{corpus}/{site}/{regression}/classes/figures/plot_classes.log",
    localrule: True
    params:
        **job_params("plot_classes", "draw_figures"),
