# A control of the regressions: the tokens of each document in permuted order.


use rule program as permute_documents with:
    input:
        # `outcome`, `stream` for relative norms, files of tokens that covariates need (inputs.smk),
        # and `token_properties` if tokens are permuted within classes.
        unpack(inputs_of_permutations),
    output:
        permutations=f"{RESULTS}/permutations/{{shard}}.parquet",
    log:
        "logs/{model}/{corpus}/{site}/{regression}/permutations/{shard}.log",
    resources:
        # A document of 300,000 tokens takes 850 MB in 30 layers, whatever the draws.
        **needs(mb=2000, minutes=240),
    params:
        **job_params("permute_documents"),
