"""Remove the effects of tokens from one shard's design, and sum its cross-products."""

import attnlag.pipeline.program as program

from attnlag.errors import counted
from attnlag.regression.estimation import token_effects
from attnlag.storage import tables


def main(job):
    rows = token_effects.take_out(
        job.input.design,
        job.input.norms,
        job.input.effects,
        job.output.design,
        job.output.crossproducts,
    )
    name = tables.names_of(job.output.design)
    program.log.info(f"{name}: removed effects of tokens from {counted(rows, 'row')}")


if __name__ == "__main__":
    program.run(main)
