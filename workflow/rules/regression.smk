# A regression: the rows of each shard with their cross-products, then least squares in every layer.


# The outcome of each token, usually its log norm, with its predictors (design), and the sums of
# their products by document and layer (crossproducts), which suffice for estimates and errors.
use rule program as build_design with:
    input:
        # `outcome`, such as norms; `stream` for relative norms; where covariates need them,
        # `token_counts`, `corpus`, `token_properties` and `surprisal`.
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
        # `corpus`, with the groups of documents; `untrained` and `untrained_stream`, where the
        # control is asked for; where covariates need them, `token_counts`, `token_properties` and
        # `surprisal`.
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
        # Memory: documents with effects of their own take a tenth of the size of the inputs.
        # Time: a minute of a CPU for each GB of designs, which are read for the residuals.
        **needs(mb=2000, minutes=60, per_mb=0.1, per_gb=1),
    params:
        **job_params("fit_regression"),
