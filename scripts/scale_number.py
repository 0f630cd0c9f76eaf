#!/usr/bin/env python3
"""Describe the distribution of a number of tokens, such as surprisal, over the whole corpus.

Slopes that differ by the number use its mean, its standard deviation and its thirds.
"""

import attnlag.pipeline.program as program

from attnlag.regression.design import moderators, properties
from attnlag.storage import writing


def main(job):
    number = properties.read_moderator(job.settings["number"], job.input.tokens)
    scale = moderators.scale_of(number)
    writing.write_text(scale.to_json() + "\n", job.output.scale)
    program.log.info(
        "%s: mean %.3g, standard deviation %.3g over the tokens of the corpus",
        job.settings["number"],
        scale.mean,
        scale.std,
    )


if __name__ == "__main__":
    program.run(main, dict)
