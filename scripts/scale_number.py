"""Describe the distribution of a number of tokens, such as surprisal, over the whole corpus.

Slopes that differ by the number use its mean, its standard deviation and its thirds.
"""

import attnlag.pipeline.program as program

from attnlag.regression.design import moderators, properties
from attnlag.storage import writing


def main(job):
    name = job.settings["number"]
    scale = moderators.scale_of(properties.read_property(name, job.input.tokens))
    writing.write_text(scale.to_json() + "\n", job.output.scale)
    program.log.info(
        f"{name}: mean {scale.mean:.3g}, standard deviation {scale.std:.3g} over the tokens of the "
        "corpus"
    )


if __name__ == "__main__":
    program.run(main, dict)
