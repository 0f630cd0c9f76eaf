# What all rules have in common: each runs one program of scripts/, which is handed its job as JSON.


rule program:
    log:
        "logs/program.log",
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        **needs(1000, 60),
    message:
        "{rule} {wildcards}"
    # Threads within a matrix product would change its last digits. Programs that run a model set
    # the threads of torch themselves.
    shell:
        "OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1"
        ' python "$ATTNLAG"/scripts/{params.program:q}.py --job {params.job:q}'
        " --threads {threads} --memory {resources.mem_mb} --log {log:q}"


# All figures that share their inputs are drawn by one job.
use rule program as figures with:
    resources:
        **needs(1000, 30),
