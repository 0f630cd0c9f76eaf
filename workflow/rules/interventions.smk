# Interventions: how a change of one adjustment moves the norms of later ones.

from attnlag.pipeline.analyses import EFFECT_TABLES


use rule program as estimate_effects with:
    input:
        model="data/models/{model}/source.json",  # its folder is the option `folder`
        tokens=f"{STUDY}/tokens/{{shard}}.parquet",
        corpus="results/corpora/{corpus}.parquet",
    output:
        effects=f"{CAUSAL}/effects/{{shard}}.parquet",
    log:
        "logs/{model}/{corpus}/causal/effects/{shard}.log",
    priority: 2
    threads: THREADS
    resources:
        **needs(mb=memory_of_effects, minutes=240, gpu=ON_GPU),
    params:
        **job_params(
            "estimate_effects",
            folder=MODEL_FOLDER,
            device=CONFIG.extraction.device,
            batch_tokens=CONFIG.causal.batch_tokens,
        ),


# Effects are compared with the coefficients of this regression, and with those of the same terms in
# earlier layers, for which the program reads the designs of this regression.
REGRESSION = CONFIG.regression_of_effects()
REGRESSED = {"site": optional(REGRESSION, CONFIG.sites_changed()), "regression": [REGRESSION]}


use rule program as fit_effects with:
    input:
        effects=shards_of(f"{CAUSAL}/effects/{{shard}}.parquet"),
        design=shards_of(partly(f"{RESULTS}/design/{{shard}}.parquet", **REGRESSED)),
        coefficients=partly(f"{RESULTS}/coefficients.parquet", **REGRESSED),
    output:
        # total_effects, prediction_vs_effect, finite_effects and elasticities.
        **in_both_formats(CAUSAL, *EFFECT_TABLES),
    log:
        "logs/{model}/{corpus}/causal/fit_effects.log",
    resources:
        **needs(mb=1000, minutes=60, per_mb=4),
    params:
        **job_params("fit_effects"),


use rule draw as plot_effects with:
    input:
        elasticities=f"{CAUSAL}/elasticities.parquet",
        total_effects=f"{CAUSAL}/total_effects.parquet",
    output:
        figures=figures_of("plot_effects", f"{CAUSAL}/figures/{{pair}}", site="{pair}"),
    log:
        "logs/{model}/{corpus}/causal/figures/{pair}/plot_effects.log",
    localrule: True
    params:
        **job_params("plot_effects", "draw_figures"),
