"""Sum the cross-products of one shard's design with slopes for each class of tokens.

For a number, such as surprisal, the classes are thirds of all tokens of the corpus.
"""

import json

from attnlag.errors import counted
from attnlag.pipeline.program import log
from attnlag.regression.settings import ClassProductsSettings
from attnlag.regression.slopes import classes
from attnlag.storage import tables


def main(job, settings: ClassProductsSettings):
    cuts = None
    if job.input.thirds:
        cuts = json.loads(job.input.thirds.read_text(encoding="utf-8"))["cuts"]
    design = job.input.design
    documents = classes.sum_design(
        design, job.input.properties, cuts, job.output.crossproducts, settings
    )
    names = tables.read_provenance(design).names
    log.info(f"{names}: cross-products of {counted(documents, 'document')} by {settings.property}")
