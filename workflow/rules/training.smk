# Earlier checkpoints of a model, on some documents, beside its final weights.

from attnlag.corpus.catalogue import LOSS

REVISION = "data/models/{model}/revisions/{step}"
# Whether the loss of each checkpoint is known.
WITH_LOSS = CONFIG.measures(LOSS)


def steps_of(model):
    """Return the steps of the earlier checkpoints of a model, in order."""
    return list(CONFIG.models[model].checkpoints())


def files_of_revision(wildcards):
    """Return the files of a checkpoint on this machine."""
    return list(map(local, CONFIG.revision_files(wildcards.model, int(wildcards.step))))


def inputs_of_training(wildcards):
    """Return norms, streams and losses of checkpoints, and what a fit of final weights reads."""
    name = wildcards.regression
    steps = steps_of(wildcards.model)
    stream = partly(f"{STUDY}/stream/revisions/{{step}}.parquet", step=steps)
    losses = partly(f"{STUDY}/{LOSS}/revisions/{{step}}.parquet", step=steps)
    return {
        "norms": partly(f"{SITE}/revisions/{{step}}.parquet", step=steps),
        "stream": optional(CONFIG.needs_stream(name), stream),
        "losses": optional(WITH_LOSS, losses),
        "final_losses": optional(WITH_LOSS, resolved(ALL_TOKEN_FILES[LOSS], wildcards)),
        "crossproducts": shards_of(f"{RESULTS}/crossproducts/{{shard}}.parquet")(wildcards),
        **token_files_of_all_shards(CONFIG.files_of_tokens(name), wildcards),
    }


use rule program as fetch_revision with:
    input:
        files_of_revision,
        model="data/models/{model}/source.json",
    output:
        source=f"{REVISION}/source.json",
        architecture=f"{REVISION}/architecture.txt",
    log:
        "logs/models/{model}/{step}.log",
    wildcard_constraints:
        step=r"\d+",
    localrule: True
    resources:
        **needs(mb=4000, minutes=120),
    params:
        **job_params(
            "fetch_revision",
            given=files_of_revision,
            folder=lambda wildcards: REVISION.format(**wildcards),
        ),


use rule program as extract_revision with:
    input:
        revision=f"{REVISION}/source.json",  # its folder is the option `folder`
        model="data/models/{model}/source.json",  # for the memory that the job asks for
        tokens=shards_of(f"{STUDY}/tokens/{{shard}}.parquet"),
        corpus="results/corpora/{corpus}.parquet",
    output:
        # The norms of the stream, and predictions where they are measured of the final weights.
        **files_of_quantities("revisions/{step}.parquet", CONFIG.quantities_of_model()),
        norms=study_files(f"{SITE}/revisions/{{step}}.parquet"),
    log:
        "logs/{model}/{corpus}/revisions/{step}.log",
    wildcard_constraints:
        step=r"\d+",
    threads: THREADS
    resources:
        **needs(mb=memory_of_extraction, minutes=60, gpu=ON_GPU),
    params:
        **job_params(
            "extract_revision",
            folder=lambda wildcards: REVISION.format(**wildcards),
            device=CONFIG.extraction.device,
            batch_tokens=CONFIG.extraction.batch_tokens,
        ),


use rule program as fit_training with:
    input:
        # `norms`, `stream` and `losses` of each checkpoint; `crossproducts`, `final_losses` and
        # files of tokens of the final weights.
        unpack(inputs_of_training),
    output:
        **in_both_formats(RESULTS, "training", "training_layers"),
    log:
        "logs/{model}/{corpus}/{site}/{regression}/fit_training.log",
    params:
        **job_params("fit_training"),


use rule draw as plot_training with:
    input:
        training=f"{RESULTS}/training.parquet",
        training_layers=f"{RESULTS}/training_layers.parquet",
    output:
        figures=figures_of("plot_training", f"{RESULTS}/training/figures"),
    log:
        "logs/{model}/{corpus}/{site}/{regression}/figures/plot_training.log",
    localrule: True
    params:
        **job_params("plot_training", "draw_figures"),
