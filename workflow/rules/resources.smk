# Resources of jobs. A job that is retried, perhaps after running out of memory or time, gets more.


def memory(base, per_mb=0):
    """Return a function for the MB that a job needs: a base, and so much for each MB of input."""

    def with_input(wildcards, input, attempt):
        return attempt * round(base + per_mb * input.size_mb)

    return with_input if per_mb else lambda wildcards, attempt: attempt * base


def minutes(count):
    """Return a function for the time that a job needs."""
    return lambda wildcards, attempt: f"{attempt * count}m"


def memory_of_extraction(wildcards, input, attempt):
    """Return the MB for the model and a batch. On a GPU, weights only pass through main memory.

    A model that is not there yet raises FileNotFoundError: Snakemake asks again once it is.
    """
    folder = Path("data/models", wildcards.model)
    os.stat(folder / "source.json")
    weights = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    # Half precision is stored in 2 bytes and computed in 4, while the stored weights are at hand.
    copies = 1.5 if CONFIG.extraction.device.startswith("cuda") else 3
    batch = CONFIG.extraction.batch_tokens / 4
    return attempt * round(2500 + copies * weights / 1e6 + batch)


def memory_of_effects(wildcards, input, attempt):
    """Return the MB for the model, its head and what a backward pass over a batch needs."""
    # 1.4 MB per token for a model with 30 layers and a width of 576.
    return (
        memory_of_extraction(wildcards, input, attempt) + attempt * 2 * CONFIG.causal.batch_tokens
    )
