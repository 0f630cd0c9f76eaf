"""Sum the moments of one shard with the tokens of each document permuted.

These sums show what the coefficients would be if order meant nothing.
"""

from attnlag.errors import counted
from attnlag.pipeline.program import log
from attnlag.regression.design.design import Formula
from attnlag.regression.inference import permutation
from attnlag.regression.settings import PermutationsSettings
from attnlag.storage import tables


def main(job, settings: PermutationsSettings):
    # Covariates read files of tokens, as in build_design.
    formula = Formula.read(settings.design, files=vars(job.input))
    # Sums for each order of the tokens, of which the first is the observed one.
    sums = permutation.permute_outcomes(
        job.input.outcome,
        job.input.stream or None,
        job.input.token_properties or None,
        settings,
        formula,
    )
    upstream = tables.read_provenance(job.input.outcome)
    record = tables.provenance(upstream, "permutations", settings, "numpy")
    sums.write(job.output.permutations, record)
    documents = counted(int(sums.documents.max(initial=0)), "document")
    draws = counted(settings.draws, "permutation")
    log.info(f"{record.names}: {draws} of {documents}")
