"""Build the design of one shard: the log norm of each token and its regressors.

The outcome is the norm or the norm relative to that of the residual stream. The regressors are the
log norms of preceding and following tokens, and the covariates. Lags and leads do not cross a
window or a document. The first tokens of every sequence, which are attention sinks, are neither
outcomes nor regressors.
"""

import attnlag.pipeline.program as program

from attnlag.errors import counted
from attnlag.regression.design import covariates, design
from attnlag.regression.settings import DesignSettings
from attnlag.storage import tables


def main(job):
    facts = covariates.read_facts(job.settings, vars(job.input))
    rows, counts = design.write(
        job.input.norms, job.input.stream or None, job.output.design, job.settings, facts
    )
    program.log.info(
        f"{tables.names_of(job.output.design)}: {counted(rows, 'row')} from "
        f"{counted(counts.sequences, 'sequence')} ({counts.short_sequences} too short)"
        + "".join(
            f"; {layer}: {counted(number, 'row')} dropped for zero or non-finite norms, the first "
            f"{counts.first_unusable.get(layer, 'in the layer before')}"
            for layer, number in counts.dropped_rows.items()
        )
    )


if __name__ == "__main__":
    program.run(main, DesignSettings)
