"""Build the design of one shard, and sum its cross-products per document and layer.

The cross-products are all that estimates and their errors need from the rows: a few numbers per
document, which add up over shards.
"""

import attnlag.pipeline.program as program

from attnlag.errors import counted
from attnlag.regression.design.design import Formula
from attnlag.regression.estimation import crossproducts
from attnlag.regression.settings import BuildDesignSettings
from attnlag.storage import tables


def main(job):
    design = job.output.design
    counts = crossproducts.of_norms(
        job.input.outcome,
        job.input.stream or None,
        design,
        job.output.crossproducts,
        Formula.read(job.settings.design, vars(job.input)),
        halves=job.settings.halves,
    )
    rows = counted(tables.row_count([design]), "row")
    program.log.info(
        f"{tables.read_provenance(design).names}: {rows} from "
        f"{counted(counts.sequences, 'sequence')} ({counts.short_sequences} too short)"
        + "".join(
            f"; {layer}: {counted(number, 'row')} dropped for zero or non-finite norms, the first "
            f"{counts.first_unusable.get(layer, 'in the layer before')}"
            for layer, number in counts.dropped_rows.items()
        )
    )


if __name__ == "__main__":
    program.run(main, BuildDesignSettings)
