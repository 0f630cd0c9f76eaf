# Least squares in every layer, from the cross-products and designs of all shards.

for table in ("coefficients", "medians", "fits", "controls", "groups", "residuals"):
    TOLD[table] = of_study(f"{RESULTS}/{table}.parquet")
if UNTRAINED:
    TOLD["before_training"] = of_study(f"{RESULTS}/before_training.parquet")
SHOWN["design"] = of_study(f"{RESULTS}/design/{{shard}}.parquet")
FINDINGS["regressions"] = of_study(f"{RESULTS}/findings.txt")


use rule program as fit_regression with:
    input:
        lazy_inputs(
            crossproducts=shards_of(f"{RESULTS}/crossproducts/{{shard}}.parquet"),
            # Read in a second pass, for the residuals.
            design=shards_of(f"{RESULTS}/design/{{shard}}.parquet"),
            # The controls in the configuration.
            permutations=optional(
                CONFIG.controls.permutation, shards_of(f"{RESULTS}/permutations/{{shard}}.parquet")
            ),
            # A file for each scale of the weights.
            random_weights=optional(UNTRAINED, outcome_before_training),
            random_weights_stream=optional(
                CONFIG.needs_stream if UNTRAINED else None,
                partly(
                    "results/{model}/{corpus}/stream/random_weights{scale}.parquet", scale=SCALES
                ),
            ),
            # The files of covariates, and the corpus in any case, for the groups of documents.
            **for_covariates(OF_ALL_TOKENS) | {"corpus": OF_ALL_TOKENS["corpus"]},
        ),
    output:
        **wanted(
            in_both_formats(
                *(RESULTS, "coefficients", "medians", "fits", "influence", "controls", "groups"),
                *["before_training"] * bool(UNTRAINED),
            )
        ),
        residuals=f"{RESULTS}/residuals.parquet",
    log:
        "logs/{model}/{corpus}/{site}/{regression}/fit_regression.log",
    # Shards are read in parallel.
    threads: lambda wildcards: min(8, CONFIG.corpora[wildcards.corpus].shards)
    resources:
        # A GB of designs, read for the residuals, takes up to a CPU minute.
        **needs(1000 + 6 * CONFIG.inference.stack_mb, 60, per_gb=1),
    params:
        **job_params("fit_regression"),
