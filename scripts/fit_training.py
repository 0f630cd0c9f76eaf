"""Fit one regression to the earlier checkpoints of a model, beside the final weights.

All are fitted to the same documents, and none is corrected for bias.
"""

import pandas as pd

from attnlag.corpus.catalogue import LOSS
from attnlag.errors import UserError, counted
from attnlag.pipeline.program import log
from attnlag.regression.inference import training
from attnlag.regression.limits import MIN_DOCUMENTS
from attnlag.regression.moments.moments import Stored
from attnlag.regression.settings import TrainingSettings
from attnlag.storage import tables


def main(job, settings: TrainingSettings):
    files = vars(job.input)
    norms = job.input.norms
    formula = training.formula_of(settings.design, files, norms[0])
    documents = tables.document_names(norms[0])
    checkpoints = []
    steps_by_weights: dict[str, int] = {}
    for place, path in enumerate(norms):
        facts = tables.read_provenance(path)["checkpoint"]
        other = steps_by_weights.setdefault(facts["weights"], facts["step"])
        if other != facts["step"]:
            raise UserError(
                f"models.{job.names.model}.revisions: found the same weights at steps {other} and "
                f"{facts['step']}, expected others; leave one of them out"
            )
        stream = job.input.stream[place] if job.input.stream else None
        layers = training.moments_of(formula, path, stream)
        loss = training.loss_of(read_losses(job.input.losses[place : place + 1]), documents)
        checkpoints.append(training.Checkpoint(facts["step"], facts["revision"], layers, loss))
    stored = Stored(job.input.crossproducts)
    loss = training.loss_of(read_losses(job.input.final_losses), documents)
    final = training.Checkpoint(None, training.FINAL, stored, loss)
    fitted = training.fit(checkpoints, final, settings)

    shared = tables.shared_provenance(job.input.crossproducts)
    record = tables.provenance(shared, "training", settings, "numpy", "scipy")
    frames = {job.output.training: fitted.medians, job.output.training_layers: fitted.layers}
    name = tables.write_results(frames, record, **vars(job.names))
    texts = counted(len(documents), "document")
    log.info(f"{name}: fitted {counted(len(checkpoints), 'checkpoint')} of {texts}")
    if len(documents) < MIN_DOCUMENTS:
        log.info(
            f"{name}: controls.revisions: found {texts}, expected at least {MIN_DOCUMENTS} for "
            "intervals"
        )


def read_losses(paths):
    """Return the loss at each token with its document; without files, nothing."""
    frames = [pd.read_parquet(path, columns=["document", LOSS]) for path in paths]
    return pd.concat(frames) if frames else pd.DataFrame()
