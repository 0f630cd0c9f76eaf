# Claims from tables, and words made of them: findings, the answers of a run, one page that shows
# all studies, a paper.


use rule program as write_claims with:
    input:
        **targets.all_study_files(targets.claimed_tables, CONFIG),
        # For the number of tokens that were measured.
        norms=every(f"{SITE}/norms/{{shard}}.parquet"),
        pairs=optional(COMPARED, "results/comparison/pairs.parquet"),
        comparison_claims=optional(COMPARED, "results/comparison/claims.parquet"),
    output:
        table="results/claims.parquet",
        csv="results/claims.csv",
    log:
        "logs/claims.log",
    localrule: True
    params:
        **job_params("write_claims"),


# Findings are of one model and corpus, and do not wait for the others.
use rule program as write_findings with:
    input:
        unpack(lambda wildcards: targets.claimed_tables(CONFIG, wildcards.model, wildcards.corpus)),
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
        **needs(mb=2000, minutes=30),
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
