# Sums over the rows, per document and layer, which suffice for a regression.


use rule program as accumulate_crossproducts with:
    input:
        design=fitted_design,
    output:
        crossproducts=f"{RESULTS}/crossproducts/{{shard}}.parquet",
    log:
        "logs/{model}/{corpus}/{site}/{regression}/crossproducts/{shard}.log",
    benchmark:
        "logs/{model}/{corpus}/{site}/{regression}/crossproducts/{shard}.tsv"
    params:
        **stage("accumulate_crossproducts"),
