# What is told of tables: findings, the answers of a run, one page that shows all studies, a paper.

import itertools
from types import MappingProxyType


use rule program as write_findings with:
    input:
        unpack(training_of_study),
        **TOLD,
    output:
        **as_targets(FINDINGS),
        summaries=directory(of_study(f"{RESULTS}/summary")),
    log:
        "logs/{model}/{corpus}/findings.log",
    params:
        **job_params("write_findings"),


use rule program as write_claims with:
    input:
        **{name: every(*files) for name, files in TOLD.items()},
        training=every(*of_models_with_revisions(f"{RESULTS}/training.parquet")),
    output:
        **as_targets({"table": "results/claims.parquet", "csv": "results/claims.csv"}),
    log:
        "logs/write_claims.log",
    params:
        **job_params("write_claims"),


use rule program as build_explorer with:
    input:
        **{name: every(*files) for name, files in (TOLD | SHOWN).items()},
        training=every(*of_models_with_revisions(f"{RESULTS}/training.parquet")),
        training_layers=every(*of_models_with_revisions(f"{RESULTS}/training_layers.parquet")),
        corpora=expand("results/corpora/{corpus}.parquet", corpus=CONFIG.corpora),
        findings=[
            *every(*itertools.chain(*FINDINGS.values())),
            *optional(COMPARED, ["results/comparison/findings.txt"]),
        ],
    output:
        answers=as_targets("results/answers.txt"),
        page=as_targets(
            report(
                "results/explorer.html",
                caption="../report/explorer.rst",
                category=IN_ORDER["explorer"],
                subcategory="the whole study",
                labels=LABELS | {"shows": "page"},
            )
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
        coefficients=every(f"{RESULTS}/coefficients.parquet"),
        fits=every(f"{RESULTS}/fits.parquet"),
        controls=every(f"{RESULTS}/controls.parquet"),
        before_training=optional(UNTRAINED, every(f"{RESULTS}/before_training.parquet")),
        medians=every(f"{RESULTS}/medians.parquet"),
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
            given=lambda wildcards: [str(SCRIPTS.parent / "CITATION.cff")],
        ),


rule paper:
    input:
        rules.write_paper.output,
    message:
        "results/paper is made"


# The last job of a run; its status states whether every layer was fitted.
use rule program as check_fits with:
    input:
        every(*AWAITED),
        fits=every(f"{RESULTS}/fits.parquet"),
    output:
        text="results/layers_fitted.txt",
    log:
        "logs/check_fits.log",
    localrule: True
    params:
        **job_params("check_fits"),


# What a later file added would be lost in silence.
TOLD, SHOWN, FINDINGS = map(MappingProxyType, (TOLD, SHOWN, FINDINGS))
TARGETS, AWAITED = tuple(TARGETS), tuple(AWAITED)
