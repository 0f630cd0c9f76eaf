# What a paper on a run needs; `make paper` asks for it.


use rule program as write_paper with:
    input:
        # The program finds these beside the coefficients.
        studies(f"{RESULTS}/fits.parquet"),
        studies(f"{RESULTS}/controls.parquet"),
        expand("results/corpora/{corpus}.parquet", corpus=CONFIG.corpora),
        coefficients=studies(f"{RESULTS}/coefficients.parquet"),
        models=expand("data/models/{model}/source.json", model=CONFIG.models),
    output:
        coefficients="results/paper/coefficients.tex",
        methods="results/paper/methods.md",
        methods_tex="results/paper/methods.tex",
        references="results/paper/references.bib",
        config="results/paper/config.yaml",
    log:
        "logs/paper.log",
    benchmark:
        "logs/paper.tsv"
    params:
        **stage("write_paper"),


rule paper:
    input:
        rules.write_paper.output,
        outputs.paper(CONFIG),
    message:
        "results/paper is made"
