# Least squares in every layer, from the cross-products and designs of all shards.


use rule program as fit_regression with:
    input:
        together(
            crossproducts=shards_of(f"{RESULTS}/crossproducts/{{shard}}.parquet"),
            # Read in a second pass, for the residuals.
            design=shards_of(fitted_design),
            corpus="results/corpora/{corpus}.parquet",
            # The controls in the configuration.
            permutations=if_permuted(shards_of(f"{RESULTS}/permutations/{{shard}}.parquet")),
            # A file for each draw of the weights.
            random_weights=if_random(random_weights_of),
            random_weights_stream=if_random(
                if_stream(every_draw("results/{model}/{corpus}/stream/random_weights.parquet"))
            ),
            # Only if a covariate needs them.
            token_counts=for_covariates(
                "token_counts", "results/{model}/{corpus}/token_counts.parquet"
            ),
            token_properties=for_covariates(
                "token_properties",
                shards_of("results/{model}/{corpus}/token_properties/{shard}.parquet"),
            ),
            surprisal=for_covariates(
                "surprisal", shards_of("results/{model}/{corpus}/surprisal/{shard}.parquet")
            ),
            # For the findings.
            classes=if_by_class(f"{RESULTS}/classes.parquet"),
            equal_slopes=if_by_class(f"{RESULTS}/equal_slopes.parquet"),
            steps=if_by_class(f"{RESULTS}/steps.parquet"),
        ),
    output:
        coefficients=f"{RESULTS}/coefficients.parquet",
        coefficients_csv=f"{RESULTS}/coefficients.csv",
        coefficients_html=in_report(
            f"{RESULTS}/coefficients.html",
            "fit_regression",
            "coefficients",
            "by layer",
            shows="table",
        ),
        fits=f"{RESULTS}/fits.parquet",
        fits_csv=f"{RESULTS}/fits.csv",
        influence=f"{RESULTS}/influence.parquet",
        influence_csv=f"{RESULTS}/influence.csv",
        controls=f"{RESULTS}/controls.parquet",
        controls_csv=f"{RESULTS}/controls.csv",
        groups=f"{RESULTS}/groups.parquet",
        groups_csv=f"{RESULTS}/groups.csv",
        residuals=f"{RESULTS}/residuals.parquet",
        joint=f"{RESULTS}/joint.json",
        summary=directory(f"{RESULTS}/summary"),
        findings=f"{RESULTS}/findings.txt",
    log:
        "logs/{model}/{corpus}/{site}/{regression}/fit_regression.log",
    benchmark:
        "logs/{model}/{corpus}/{site}/{regression}/fit_regression.tsv"
    # Shards are read in parallel.
    threads: lambda wildcards: min(8, CONFIG.corpora[wildcards.corpus].shards)
    resources:
        # A GB of designs, read for the residuals, takes up to a CPU minute.
        **needs(1000 + 6 * CONFIG.inference.stack_mb, 60, per_gb=1),
    params:
        **stage("fit_regression"),


# The last job of a run; its status states whether every layer was fitted.
use rule program as check_fits with:
    input:
        outputs.one_of_each_job(CONFIG),
        fits=studies(f"{RESULTS}/fits.parquet"),
    output:
        text="results/layers_fitted.txt",
    log:
        "logs/check_fits.log",
    benchmark:
        "logs/check_fits.tsv"
    localrule: True
    resources:
        **needs(1000, 10),
    params:
        **stage("check_fits"),
