# What is told of tables: findings, the answers of a run, one page that shows all studies, a paper.


def of_study(pattern, condition=True):
    """Return a file of every site and regression of a model and corpus, where a condition holds."""
    names = [name for name in CONFIG.regressions if not callable(condition) or condition(name)]
    sites = CONFIG.extraction.sites if condition else []
    return expand(pattern, site=sites, regression=names, allow_missing=True)


def of_all_studies(pattern, condition=True):
    """Return a file of all models and corpora, and of their sites and regressions."""
    return every(*of_study(pattern, condition))


# Tables of a model and corpus that findings are told from, by name.
TOLD = {
    "coefficients": of_study(f"{RESULTS}/coefficients.parquet"),
    "fits": of_study(f"{RESULTS}/fits.parquet"),
    "controls": of_study(f"{RESULTS}/controls.parquet"),
    "before_training": of_study(f"{RESULTS}/before_training.parquet", UNTRAINED is not None),
    "groups": of_study(f"{RESULTS}/groups.parquet"),
    "medians": of_study(f"{RESULTS}/medians.parquet"),
    "residuals": of_study(f"{RESULTS}/residuals.parquet"),
    "classes": of_study(f"{RESULTS}/classes.parquet", BY_CLASS),
    "equal_slopes": of_study(f"{RESULTS}/equal_slopes.parquet", BY_CLASS),
    "steps": of_study(f"{RESULTS}/steps.parquet", BY_CLASS),
    "geometry": when(DIRECTED, every_site(f"{SITE}/geometry/means.parquet")),
    "heads": when(WITH_HEADS, [f"{HEADS}/heads.parquet"]),
    "head_coefficients": when(WITH_HEADS, [f"{HEADS}/head_coefficients.parquet"]),
    "shares": when(TRACED, [f"{SOURCES}/shares.parquet"]),
    "lags": when(TRACED, [f"{SOURCES}/lags.parquet"]),
    "readout": when(CONFIG.sources, every_site(f"{SITE}/readout/means.parquet")),
    "total_effects": when(CONFIG.sites_changed(), [f"{CAUSAL}/total_effects.parquet"]),
    "prediction_vs_effect": when(
        CONFIG.sites_changed(), [f"{CAUSAL}/prediction_vs_effect.parquet"]
    ),
}


use rule program as write_findings with:
    input:
        **TOLD,
    output:
        regressions=of_study(f"{RESULTS}/findings.txt"),
        summaries=directory(of_study(f"{RESULTS}/summary")),
        geometry=when(DIRECTED, every_site(f"{SITE}/geometry/findings.txt")),
        heads=when(WITH_HEADS, [f"{HEADS}/findings.txt"]),
        sources=when(TRACED, [f"{SOURCES}/findings.txt"]),
        readout=when(CONFIG.sources, every_site(f"{SITE}/readout/findings.txt")),
        causal=when(CONFIG.sites_changed(), [f"{CAUSAL}/findings.txt"]),
    log:
        "logs/{model}/{corpus}/findings.log",
    params:
        **stage("write_findings"),


use rule program as write_comparison with:
    input:
        coefficients="results/comparison/coefficients.parquet",
        pairs="results/comparison/pairs.parquet",
        claims="results/comparison/claims.parquet",
    output:
        findings="results/comparison/findings.txt",
    log:
        "logs/comparison/findings.log",
    localrule: True
    params:
        **stage("write_comparison"),


use rule program as build_explorer with:
    input:
        **{
            folder: when(CONFIG.regresses(folder), every(f"{SITE}/{folder}/{{shard}}.parquet"))
            for folder in ("geometry", "centred", "written")
        },
        **{
            name: of_all_studies(f"{RESULTS}/{name}.parquet")
            for name in ("coefficients", "medians", "fits", "controls")
        },
        corpora=expand("results/corpora/{corpus}.parquet", corpus=CONFIG.corpora),
        tokens=every("results/{model}/{corpus}/tokens/{shard}.parquet"),
        token_properties=outputs.files_of(CONFIG, name="token_properties/{shard}.parquet"),
        surprisal=outputs.files_of(CONFIG, name="surprisal/{shard}.parquet"),
        stream=every("results/{model}/{corpus}/stream/{shard}.parquet"),
        norms=every(f"{SITE}/norms/{{shard}}.parquet"),
        # Outcomes other than norms.
        head_norms=outputs.files_of(CONFIG, name="heads/{shard}.parquet"),
        sources=outputs.files_of(CONFIG, name="sources/{shard}.parquet"),
        design=every(f"{RESULTS}/design/{{shard}}.parquet"),
        before_training=every(*TOLD["before_training"]),
        classes=of_all_studies(f"{RESULTS}/classes.parquet", BY_CLASS),
        heads=every(*TOLD["heads"]),
        head_coefficients=every(*TOLD["head_coefficients"]),
        total_effects=every(*TOLD["total_effects"]),
        shares=every(*TOLD["shares"]),
        readout=every(*TOLD["readout"]),
        elasticities=when(CONFIG.sites_changed(), every(f"{CAUSAL}/elasticities.parquet")),
        findings=outputs.files_of(CONFIG, name="findings.txt"),
    output:
        answers="results/answers.txt",
        page=in_report(
            "results/explorer.html", "explorer", "explorer", "the whole study", shows="page"
        ),
    log:
        "logs/build_explorer.log",
    resources:
        **needs(2000, 30),
    params:
        **stage("build_explorer"),


# What a paper on a run needs; `make paper` asks for it.
use rule program as write_paper with:
    input:
        coefficients=every(f"{RESULTS}/coefficients.parquet"),
        fits=every(f"{RESULTS}/fits.parquet"),
        controls=every(f"{RESULTS}/controls.parquet"),
        corpora=expand("results/corpora/{corpus}.parquet", corpus=CONFIG.corpora),
        tokens=every("results/{model}/{corpus}/tokens/{shard}.parquet"),
        permutations=of_all_studies(
            f"{RESULTS}/permutations/0000.parquet",
            bool(CONFIG.controls.permutation),
        ),
        before_training=every(*TOLD["before_training"]),
        random_weights=when(UNTRAINED, every(f"{SITE}/random_weights.parquet")),
        models=expand("data/models/{model}/source.json", model=CONFIG.models),
    output:
        coefficients="results/paper/coefficients.tex",
        methods="results/paper/methods.md",
        methods_tex="results/paper/methods.tex",
        references="results/paper/references.bib",
        config="results/paper/config.yaml",
    log:
        "logs/paper.log",
    params:
        **stage("write_paper"),


rule paper:
    input:
        rules.write_paper.output,
        outputs.paper(CONFIG),
    message:
        "results/paper is made"
