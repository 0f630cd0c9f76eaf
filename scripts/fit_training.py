"""Fit one regression to the earlier checkpoints of a model, beside the final weights.

All are fitted to the same documents, and none is corrected for bias.
"""

from attnlag.errors import UserError, counted
from attnlag.pipeline.program import log
from attnlag.regression.inference import training
from attnlag.regression.limits import MIN_DOCUMENTS
from attnlag.regression.moments.moments import Stored
from attnlag.regression.settings import TrainingSettings
from attnlag.storage import tables


def main(job, settings: TrainingSettings):
    norms = job.input.norms
    formula = training.formula_of(settings.design, vars(job.input), norms[0])
    documents = tables.document_names(norms[0])
    records = [tables.read_provenance(path)["checkpoint"] for path in norms]
    check_weights(records, job.names.model)
    checkpoints = []
    for place, record in enumerate(records):
        stream = job.input.stream[place] if job.input.stream else None
        layers = training.moments_of(formula, norms[place], stream)
        loss = training.stored_loss(job.input.losses[place : place + 1], documents)
        checkpoints.append(training.Checkpoint(record["step"], record["revision"], layers, loss))
    loss = training.stored_loss(job.input.final_losses, documents)
    # `fit` takes the same documents of the final weights.
    final = training.Checkpoint(None, training.FINAL, Stored(job.input.crossproducts), loss)
    fitted = training.fit(checkpoints, final, settings)
    upstream = tables.shared_provenance(job.input.crossproducts)
    record = tables.provenance(upstream, "training", settings, "numpy", "scipy")
    frames = {job.output.training: fitted.medians, job.output.training_layers: fitted.layers}
    name = tables.write_results(frames, record, **vars(job.names))
    texts = counted(len(documents), "document")
    log.info(f"{name}: fitted {counted(len(checkpoints), 'checkpoint')} of {texts}")
    if len(documents) < MIN_DOCUMENTS:
        log.info(
            f"{name}: controls.revisions: found {texts}, expected at least {MIN_DOCUMENTS} for "
            "intervals"
        )


def check_weights(records, model):
    """Raise UserError if two checkpoints of a model have the same weights."""
    steps_by_weights: dict[str, int] = {}
    for record in records:
        other = steps_by_weights.setdefault(record["weights"], record["step"])
        if other != record["step"]:
            raise UserError(
                f"models.{model}.revisions: found the same weights at steps {other} and "
                f"{record['step']}, expected others; leave one of them out"
            )
