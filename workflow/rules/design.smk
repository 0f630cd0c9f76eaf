# Each token's log norm with its predictors.


use rule program as build_design with:
    input:
        together(**OF_DESIGN),
    output:
        design=f"{RESULTS}/design/{{shard}}.parquet",
    log:
        "logs/{model}/{corpus}/{site}/{regression}/design/{shard}.log",
    params:
        **stage("build_design"),


# Tokens occur in several documents, so their effects are solved over all shards and then removed.
use rule program as solve_token_effects with:
    input:
        design=shards_of(f"{RESULTS}/design/{{shard}}.parquet"),
        norms=shards_of(f"{SITE}/norms/{{shard}}.parquet"),
    output:
        effects=f"{RESULTS}/token_effects.parquet",
    log:
        "logs/{model}/{corpus}/{site}/{regression}/token_effects.log",
    resources:
        **needs(2000, 60),
    params:
        **stage("solve_token_effects"),


use rule program as take_out_token_effects with:
    input:
        design=f"{RESULTS}/design/{{shard}}.parquet",
        norms=f"{SITE}/norms/{{shard}}.parquet",
        effects=f"{RESULTS}/token_effects.parquet",
    output:
        design=f"{RESULTS}/within_tokens/{{shard}}.parquet",
    log:
        "logs/{model}/{corpus}/{site}/{regression}/within_tokens/{shard}.log",
    params:
        **stage("take_out_token_effects"),


# Sums over the rows, per document and layer, which suffice for a regression.
use rule program as accumulate_crossproducts with:
    input:
        design=fitted_design,
    output:
        crossproducts=f"{RESULTS}/crossproducts/{{shard}}.parquet",
    log:
        "logs/{model}/{corpus}/{site}/{regression}/crossproducts/{shard}.log",
    params:
        **stage("accumulate_crossproducts"),
