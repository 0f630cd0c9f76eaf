# Each token's log norm with its predictors, and the sums over these rows, per document and layer,
# which suffice for a regression.

WITH_TOKEN_EFFECTS = [name for name in CONFIG.regressions if CONFIG.regressions[name].token_effects]


use rule program as build_design with:
    input:
        together(**OF_DESIGN),
    output:
        design=f"{RESULTS}/design/{{shard}}.parquet",
        crossproducts=f"{RESULTS}/crossproducts/{{shard}}.parquet",
    log:
        "logs/{model}/{corpus}/{site}/{regression}/design/{shard}.log",
    wildcard_constraints:
        regression=any_of(CONFIG.regressions.keys() - {*WITH_TOKEN_EFFECTS}),
    params:
        **stage("build_design"),


# With effects of tokens, the sums are those of the design without them.
use rule build_design as build_design_alone with:
    output:
        design=f"{RESULTS}/design/{{shard}}.parquet",
    wildcard_constraints:
        regression=any_of(WITH_TOKEN_EFFECTS),


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
        crossproducts=f"{RESULTS}/crossproducts/{{shard}}.parquet",
    log:
        "logs/{model}/{corpus}/{site}/{regression}/within_tokens/{shard}.log",
    wildcard_constraints:
        regression=any_of(WITH_TOKEN_EFFECTS),
    params:
        **stage("take_out_token_effects"),
