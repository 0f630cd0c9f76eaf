# What all rules have in common: each runs one program of scripts/, which gets its job as JSON.

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
        **needs(1000, 60),
    message:
        "{rule} {wildcards}"
    shell:
        COMMAND


# Figures come last, because nothing waits for them.
use rule program as draw with:
    priority: 0
    resources:
        # Samples of tables of all tokens are drawn, for which these are read.
        **needs(1500, 30, per_gb=0.05),
