# The outcome of each token, usually its log norm, with its predictors, and the sums over these rows,
# per document and layer, which suffice for a regression.


use rule program as build_design with:
    input:
        unpack(inputs_of_design),
    output:
        design=f"{RESULTS}/design/{{shard}}.parquet",
        crossproducts=f"{RESULTS}/crossproducts/{{shard}}.parquet",
    log:
        "logs/{model}/{corpus}/{site}/{regression}/design/{shard}.log",
    params:
        **job_params("build_design"),
