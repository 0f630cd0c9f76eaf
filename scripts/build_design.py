"""Build the design of one shard, and sum its cross-products per document and layer.

The cross-products are all that estimates and their errors need from the rows: a few numbers per
document, which add up over shards.
"""

from attnlag.errors import counted
from attnlag.pipeline.program import log
from attnlag.regression.design.design import Formula
from attnlag.regression.moments.moments import write_design
from attnlag.regression.settings import BuildDesignSettings
from attnlag.storage import tables


def main(job, settings: BuildDesignSettings):
    design = job.output.design
    # What covariates read; empty where none needs it.
    files = {
        "corpus": job.input.corpus,
        "token_counts": job.input.token_counts,
        "token_properties": job.input.token_properties,
        "surprisal": job.input.surprisal,
    }
    formula = Formula.read(settings.design, files=files)
    counts = write_design(
        outcome=job.input.outcome,
        stream=job.input.stream or None,
        design_file=design,
        moments_file=job.output.crossproducts,
        formula=formula,
        halves=settings.halves,
    )
    rows = counted(tables.row_count([design]), "row")
    log.info(
        f"{tables.read_provenance(design).names}: {rows} from "
        f"{counted(counts.sequences, 'sequence')} ({counts.short_sequences} too short)"
        + "".join(
            f"; {layer}: {counted(number, 'row')} dropped for zero or non-finite norms, the first "
            f"{counts.first_unusable.get(layer, 'in the layer before')}"
            for layer, number in counts.dropped_rows.items()
        )
    )
