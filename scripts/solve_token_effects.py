"""Solve the effects of tokens on every column of a design, over all shards."""

import attnlag.pipeline.program as program

from attnlag.errors import counted
from attnlag.regression.estimation import token_effects
from attnlag.regression.settings import TokenEffectsSettings
from attnlag.storage import tables


def main(job):
    given, made = job.input, job.output.effects
    effects = token_effects.solve(given.design, given.norms, job.settings.effects, made)
    program.log.info(f"{tables.names_of(made)}: solved {counted(effects, 'effect')}")


if __name__ == "__main__":
    program.run(main, TokenEffectsSettings)
