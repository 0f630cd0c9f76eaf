"""Sum the cross-products of one shard's design with slopes for each class of tokens.

For a number, such as surprisal, the classes are thirds of all tokens of the corpus.
"""

import json

import attnlag.pipeline.program as program

from attnlag.errors import counted
from attnlag.regression.beyond import classes
from attnlag.regression.settings import ClassProductsSettings
from attnlag.storage import tables


def main(job):
    cuts = None
    if job.input.thirds:
        cuts = json.loads(job.input.thirds.read_text(encoding="utf-8"))["cuts"]
    design, tokens, path = job.input.design, job.input.token_properties, job.output.crossproducts
    documents = counted(classes.sum_design(design, tokens, cuts, path, job.settings), "document")
    names = tables.read_provenance(design).names
    program.log.info(f"{names}: cross-products of {documents} by {job.settings.property}")


if __name__ == "__main__":
    program.run(main, ClassProductsSettings)
