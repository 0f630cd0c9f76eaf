# What all rules have in common: each runs one program of scripts/, which gets its job as JSON.
#
# - The program of a rule has the rule's name, scripts/build_design.py of `build_design`, unless the
#   `job_params` of the rule name another: all plots run draw_figures.
# - It finds inputs and outputs under the names that they have in the rule (`job.input.tokens`), the
#   wildcards as `job.names`, and the options of `job_params` as `job.options`.
# - Its settings come from the configuration: the rule's entry in `STAGES`
#   (scripts/attnlag/pipeline/stages.py) makes them. run.py calls `run` of pipeline/program.py,
#   which reads them as the class that `main(job, settings: …)` states.
# - A program that runs a model gets the folder of its input `model` as an option: storage providers
#   have files only.

# Threads within a matrix product would change its last digits. Programs that run a model set the
# threads of torch themselves.
COMMAND = (
    "OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1"
    ' python "$ATTNLAG"/scripts/run.py {params.program:q} --job {params.job:q}'
    " --threads {threads} --memory {resources.mem_mb} --log {log:q}"
)


rule program:
    log:
        "logs/program.log",
    priority: 1
    # pip installs the software. This names the same packages for users who let Snakemake deploy
    # software with conda.
    conda:
        "../envs/attnlag.yaml"
    resources:
        # MB of memory and minutes (resources.smk).
        **needs(mb=1000, minutes=60),
    message:
        "{rule} {wildcards}"
    shell:
        COMMAND


# Figures come last, because nothing waits for them. Those of finished tables are local, because
# they take less time than their submission to a cluster; the three of figures.smk read tables of
# all tokens.
use rule program as draw with:
    priority: 0
    resources:
        # Figures show samples of tables of all tokens, which are read whole.
        **needs(mb=1500, minutes=30, per_gb=0.05),
