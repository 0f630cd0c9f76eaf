# What is told of tables: findings, the answers of a run, one page that shows all studies, a paper.


# Each analysis has its own claims, so that its figures wait for no other's and are drawn again with
# none. Were these inputs of figures `ancient()`, Snakemake would not look at what else has changed
# whenever they are made again.
use rule program as claim_adjustments with:
    input:
        norms=shards_of(f"{SITE}/norms/{{shard}}.parquet"),
        directions=optional(DIRECTED, f"{SITE}/geometry/means.parquet"),
    output:
        claims=f"{SITE}/claims.parquet",
    log:
        "logs/{model}/{corpus}/{site}/claims.log",
    localrule: True
    params:
        **job_params("claim_adjustments", "write_claims"),


use rule program as claim_regression with:
    input:
        unpack(inputs_of_claims),
    output:
        claims=f"{RESULTS}/claims.parquet",
    log:
        "logs/{model}/{corpus}/{site}/{regression}/claims.log",
    localrule: True
    params:
        **job_params("claim_regression", "write_claims"),


use rule program as join_claims with:
    input:
        claims=targets.all_claims_files(CONFIG),
        pairs=optional(COMPARED, ["results/comparison/pairs.parquet"]),
        held=optional(COMPARED, ["results/comparison/claims.parquet"]),
    output:
        table="results/claims.parquet",
        csv="results/claims.csv",
    log:
        "logs/claims.log",
    localrule: True
    params:
        **job_params("join_claims"),


use rule program as write_findings with:
    input:
        **targets.regression_tables(CONFIG, "{model}", "{corpus}"),
        claims=targets.claims_files(CONFIG, "{model}", "{corpus}"),
    output:
        **targets.findings_files(CONFIG, "{model}", "{corpus}"),
        summaries=directory(study_files(f"{RESULTS}/summary")),
    log:
        "logs/{model}/{corpus}/findings.log",
    params:
        **job_params("write_findings"),


use rule program as build_explorer with:
    input:
        **targets.all_study_files(targets.explorer_tables, CONFIG),
        claims="results/claims.parquet",
        corpora=expand("results/corpora/{corpus}.parquet", corpus=CONFIG.corpora),
        findings=[path for path in final_targets(CONFIG) if path.endswith("findings.txt")],
    output:
        answers="results/answers.txt",
        page=report(
            "results/explorer.html",
            caption="../report/explorer.rst",
            category=IN_ORDER["explorer"],
            subcategory="the whole study",
            labels=LABELS | {"shows": "page"},
        ),
    log:
        "logs/build_explorer.log",
    resources:
        **needs(2000, 30),
    params:
        **job_params("build_explorer"),


# What a paper on a run needs; `make paper` asks for it.
use rule program as write_paper with:
    input:
        claims="results/claims.parquet",
        coefficients=every(f"{RESULTS}/coefficients.parquet"),
        fits=every(f"{RESULTS}/fits.parquet"),
    output:
        coefficients="results/paper/coefficients.tex",
        numbers="results/paper/numbers.tex",
        references="results/paper/references.bib",
    log:
        "logs/paper.log",
    params:
        **job_params(
            "write_paper",
            # A part of attnlag, like its code.
            given=lambda wildcards: [str(FOLDER / "CITATION.cff")],
        ),


rule paper:
    input:
        rules.write_paper.output,
    message:
        "results/paper is made"


# The last job of a run; its status states whether every layer was fitted.
use rule program as check_fits with:
    input:
        final_targets(CONFIG),
        fits=every(f"{RESULTS}/fits.parquet"),
    output:
        text="results/layers_fitted.txt",
    log:
        "logs/check_fits.log",
    localrule: True
    params:
        **job_params("check_fits"),
