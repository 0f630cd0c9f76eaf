"""Remove the effects of tokens from one shard's design."""

import attnlag.pipeline.program as program

from attnlag.errors import counted
from attnlag.regression.estimation import token_effects
from attnlag.storage import tables


def main(job):
    given, made = job.input, job.output.design
    rows = token_effects.take_out(given.design, given.norms, given.effects, made)
    program.log.info(f"{tables.names_of(made)}: took them out of {counted(rows, 'row')}")


if __name__ == "__main__":
    program.run(main)
