"""Advice for jobs that run out of memory."""

# Settings that reduce the memory of a program, besides more shards.
LESS = {
    "estimate_effects": "a lower causal.batch_tokens or causal.document_tokens",
    "extract_activations": "a lower extraction.batch_tokens",
    "fetch_model": "a smaller model",
    "fit_regression": "a lower inference.stack_mb",
}


def more_or_less(program: str, asked: int | None) -> str:
    """Return advice for a program that has too little memory; its job asked for a number of MB."""
    less = LESS.get(program, "more shards of the corpus")
    if not asked:
        return f"expected more memory or less to hold ({less})"
    return (
        f"it asked for mem_mb: {asked}; give it more (fewer jobs at a time: --cores 1; on a "
        f"cluster: --set-resources {program}:mem_mb={2 * asked}) or less to hold ({less})"
    )
