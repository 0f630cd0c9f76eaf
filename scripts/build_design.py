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
    # Covariates read `token_counts`, `corpus`, `token_properties` and `surprisal`, which are empty
    # where none needs them.
    formula = Formula.read(settings.design, files=vars(job.input))
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
