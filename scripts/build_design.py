"""Build the design of one shard, and sum its cross-products per document and layer.

The cross-products are all that estimates and clustered errors need from the rows: a few numbers per
document, which add up over shards.
"""

from attnlag.errors import counted
from attnlag.pipeline.program import log
from attnlag.regression.design.design import Formula
from attnlag.regression.moments.moments import write_design
from attnlag.regression.settings import BuildDesignSettings
from attnlag.storage import tables


def main(job, settings: BuildDesignSettings):
    # Covariates read files of tokens, each under its name in the rule.
    formula = Formula.read(settings.design, files=vars(job.input))
    counts = write_design(
        outcome=job.input.outcome,
        stream=job.input.stream or None,
        design_file=job.output.design,
        crossproducts_file=job.output.crossproducts,
        formula=formula,
        # Whether `bias_correction` is half-panel.
        halves=settings.halves,
    )
    names = tables.read_provenance(job.output.design).names
    rows = tables.row_count([job.output.design])
    log.info(f"{names}: {summary(rows, counts)}")


def summary(rows, counts):
    """Return the numbers of rows, and of what gave none, in words for the log."""
    sequences = counted(counts.sequences, "sequence")
    words = [f"{counted(rows, 'row')} from {sequences} ({counts.short_sequences} too short)"]
    for layer, number in counts.dropped_rows.items():
        first = counts.first_unusable.get(layer, "in the layer before")
        words.append(
            f"{layer}: {counted(number, 'row')} dropped for zero or non-finite values, the first "
            f"{first}"
        )
    return "; ".join(words)
