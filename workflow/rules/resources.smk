# Resources of jobs. A job that is retried, perhaps after running out of memory or time, gets more.

import errno
import warnings

# `snakemake --report` asks for resources where sizes of inputs cannot be had; it leaves them open.
warnings.filterwarnings("ignore", message="coroutine '.*sizes' was never awaited")

# Threads of a job that runs a model. On one machine, two of these share the cores, because each
# imports, reads and writes on a single thread.
CORES = workflow.resource_settings.cores if workflow.is_main_process else None
THREADS = max(1, min(8, CORES // 2)) if CORES else 8
# A job asks for a GPU if the configuration names one; `device: auto` is known only where it runs.
ON_GPU = int(CONFIG.extraction.device.startswith("cuda"))


def needs(mb, minutes, per_mb=0, per_gb=0, **others):
    """Return resources: memory in MB, minutes, and what each MB or GB of input adds to them."""

    def with_input(wildcards, input, attempt):
        return attempt * round(mb + per_mb * input.size_mb)

    def time_with_input(wildcards, input, attempt):
        return f"{attempt * round(minutes + per_gb * input.size_mb / 1000)}m"

    memory = mb if callable(mb) else lambda wildcards, attempt: attempt * mb
    runtime = time_with_input if per_gb else lambda wildcards, attempt: f"{attempt * minutes}m"
    return {"mem_mb": with_input if per_mb else memory, "runtime": runtime, **others}


def memory_of_extraction(wildcards, input, attempt):
    """Return the MB for the model and a batch. On a GPU, weights only pass through main memory.

    If the model is not there yet, FileNotFoundError names the input: Snakemake asks again later.
    """
    folder = Path("data/models", wildcards.model)
    if not (folder / "source.json").exists():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(input.model))
    weights = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    # On a CPU, weights of 2 bytes are in memory beside their float32 copies: 3 times the files.
    copies = 1.5 if CONFIG.extraction.device.startswith("cuda") else 3
    batch = CONFIG.extraction.batch_tokens / 4
    return attempt * round(2500 + copies * weights / 1e6 + batch)


def memory_of_effects(wildcards, input, attempt):
    """Return the MB for the model and what a backward pass over a batch needs."""
    # 1.4 MB per token for a model with 30 layers and a width of 576.
    return (
        memory_of_extraction(wildcards, input, attempt) + attempt * 2 * CONFIG.causal.batch_tokens
    )
