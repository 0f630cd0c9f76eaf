# A regression: the rows of each shard with their cross-products, then least squares in every layer.


# The outcome of each token, usually its log norm, with its predictors (design), and the sums of
# their products by document and layer (crossproducts), which suffice for estimates and errors.
use rule program as build_design with:
    input:
        # `outcome`, such as norms; `stream` for relative norms; the files of tokens that covariates
        # need (inputs.smk).
        unpack(inputs_of_design),
    output:
        design=f"{RESULTS}/design/{{shard}}.parquet",
        crossproducts=f"{RESULTS}/crossproducts/{{shard}}.parquet",
    log:
        "logs/{model}/{corpus}/{site}/{regression}/design/{shard}.log",
    params:
        **job_params("build_design"),


# The estimates of all layers with their errors, from the cross-products of all shards.
use rule program as fit_regression with:
    input:
        # `untrained` and `untrained_stream`, where the control is asked for; `corpus`, and other
        # files of tokens that the regression needs (inputs.smk).
        unpack(inputs_of_fit),
        crossproducts=shards_of(f"{RESULTS}/crossproducts/{{shard}}.parquet"),
        # For the residuals.
        design=shards_of(f"{RESULTS}/design/{{shard}}.parquet"),
        permutations=optional(PERMUTED, shards_of(f"{RESULTS}/permutations/{{shard}}.parquet")),
    output:
        # coefficients, fits, medians, influence, groups, controls and, with random weights,
        # untrained_scales, as Parquet and CSV.
        **in_both_formats(RESULTS, *targets.fitted_tables(CONFIG)),
        residuals=f"{RESULTS}/residuals.parquet",
    log:
        "logs/{model}/{corpus}/{site}/{regression}/fit_regression.log",
    # Shards are read in parallel.
    threads: lambda wildcards: min(8, CONFIG.corpora[wildcards.corpus].shards)
    resources:
        # A document under document effects takes 9 KB in 30 layers, a tenth of its design and its
        # cross-products. A GB of designs, read for the residuals, takes up to a CPU minute.
        **needs(mb=2000, minutes=60, per_mb=0.1, per_gb=1),
    params:
        **job_params("fit_regression"),
