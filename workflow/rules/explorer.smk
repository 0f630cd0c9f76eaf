# One page that shows all studies of a run.


use rule program as build_explorer with:
    input:
        # The program finds these from the paths of the coefficients.
        every(f"{RESULTS}/fits.parquet"),
        every(f"{RESULTS}/controls.parquet"),
        every(f"{RESULTS}/medians.parquet"),
        *(
            outputs.files_of(CONFIG, name=name)
            for name in (
                *("total_effects.csv", "classes.csv", "heads.csv", "head_coefficients.csv"),
                *("elasticities.csv", "heads/{shard}.parquet", "sources/{shard}.parquet"),
            )
        ),
        every(
            f"{RESULTS}/design/{{shard}}.parquet",
            # Outcomes other than norms.
            *(
                f"{SITE}/{folder}/{{shard}}.parquet"
                for folder in ("geometry", "centred", "written")
                if CONFIG.regresses(folder)
            ),
            f"{SITE}/norms/{{shard}}.parquet",
            "results/{model}/{corpus}/stream/{shard}.parquet",
            "results/{model}/{corpus}/tokens/{shard}.parquet",
        ),
        expand("results/corpora/{corpus}.parquet", corpus=CONFIG.corpora),
        coefficients=every(f"{RESULTS}/coefficients.parquet"),
        findings=outputs.files_of(CONFIG, name="findings.txt"),
        # What a run knows of every token beside norms.
        beside=[
            *outputs.files_of(CONFIG, name="token_properties/{shard}.parquet"),
            *outputs.files_of(CONFIG, name="surprisal/{shard}.parquet"),
        ],
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
        # The program finds these beside the coefficients.
        every(f"{RESULTS}/fits.parquet"),
        every(f"{RESULTS}/controls.parquet"),
        expand("results/corpora/{corpus}.parquet", corpus=CONFIG.corpora),
        coefficients=every(f"{RESULTS}/coefficients.parquet"),
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
