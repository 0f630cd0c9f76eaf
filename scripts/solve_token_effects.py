"""Solve the effects of tokens on every column of a design, over all shards."""

import attnlag.pipeline.program as program

from attnlag.errors import counted
from attnlag.regression.estimation import token_effects
from attnlag.regression.settings import TokenEffectsSettings
from attnlag.storage import tables


def main(job):
    effects = token_effects.solve(
        job.input.design, job.input.norms, job.settings.effects, job.output.effects
    )
    program.log.info(f"{tables.names_of(job.output.effects)}: solved {counted(effects, 'effect')}")


if __name__ == "__main__":
    program.run(main, TokenEffectsSettings)
