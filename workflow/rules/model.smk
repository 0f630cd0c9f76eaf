# A model from any source, as a Hugging Face folder with safetensors. `fetch_model`,
# `fetch_revision` and `fetch_dataset` alone use the network; they run on the machine that runs
# Snakemake, so cluster nodes need no network.


use rule program as fetch_model with:
    input:
        FILES_OF_MODEL,
    output:
        source="data/models/{model}/source.json",
        architecture="data/models/{model}/architecture.txt",
    log:
        "logs/models/{model}.log",
    localrule: True
    resources:
        **needs(mb=4000, minutes=120),
    params:
        # Settings that only assert something change no output.
        **job_params(
            "fetch_model",
            given=FILES_OF_MODEL,
            folder=MODEL_FOLDER,
            layers=lambda wildcards: CONFIG.models[wildcards.model].layers,
            width=lambda wildcards: CONFIG.models[wildcards.model].width,
        ),


# The rows of a data set of the hub.
use rule program as fetch_dataset with:
    output:
        rows="data/datasets/{corpus}.parquet",
        source="data/datasets/{corpus}.json",
    log:
        "logs/datasets/{corpus}.log",
    localrule: True
    resources:
        **needs(mb=4000, minutes=120),
    params:
        **job_params("fetch_dataset"),


# One table with the documents from the user's files, or from a data set.
use rule program as prepare_corpus with:
    input:
        files=lambda wildcards: of_dataset(wildcards, "parquet") or FILES_OF_CORPUS(wildcards),
        source=lambda wildcards: of_dataset(wildcards, "json"),
    output:
        corpus="results/corpora/{corpus}.parquet",
    log:
        "logs/corpora/{corpus}.log",
    resources:
        **needs(mb=1000, minutes=30, per_mb=8),
    params:
        # For a notice about few documents.
        **job_params(
            "prepare_corpus", given=FILES_OF_CORPUS, clusters_needed=CONFIG.clusters_needed()
        ),
