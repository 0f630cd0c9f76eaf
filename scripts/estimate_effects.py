"""Measure in one shard how changes of adjustments move the sizes of later ones.

The derivative comes from reverse mode, all sources of a target at once; finite interventions change
one adjustment at a time, at tokens of all parts of speech, and run the model again. The output is
one set of sums per document.
"""

from pathlib import Path
from typing import Any

import attnlag.pipeline.program as program

from tqdm import tqdm

from attnlag.errors import UserError, counted
from attnlag.interventions import sampling
from attnlag.interventions.settings import EffectsSettings
from attnlag.model.folder import verify_folder
from attnlag.storage import tables


def main(job):
    # These import transformers, which reads the settings of the network on import.
    from attnlag.interventions import derivative, effects, finite
    from attnlag.model import loading, trying

    settings, folder = job.settings, Path(job.options.folder)
    source = verify_folder(folder)
    record = tables.read_provenance(job.input.tokens)
    sequences = sampling.beginnings(
        job.input.tokens, job.input.corpus, settings.documents, settings.document_tokens
    )
    name = f"{source['name']}, {record['corpus']['name']}"
    derivatives, changed, used = {}, {}, {}
    if sequences:
        threads = program.usable_threads(job.threads)
        device = loading.choose_device(job.options.device)
        options = {
            "attention": settings.attention_implementation,
            "batch_tokens": job.options.batch_tokens,
        }
        model: Any = None
        if settings.interventions:
            try:
                model = loading.load_model(folder, device, settings.dtype, head=True, **options)
            except UserError as error:
                program.log.info(f"{error}; going on without the prediction of the next token")
        whole = model is not None
        if not whole:
            model = loading.load_model(folder, device, settings.dtype, **options)
        trunk = model.base_model if whole else model
        blocks, _ = trying.blocks_of(trunk, settings.modules, source["name"])
        if mixers := trying.mixers_of(blocks):
            record["model"]["mixers"] = mixers
        layers = []
        if settings.interventions:
            layers = sampling.selected_sources(settings.sources, len(blocks))
        tags = sampling.tags_of(job.input.token_properties, sequences) if layers else None
        replacements = finite.Replacements(sequences, settings, layers, tags)
        device = trunk.get_input_embeddings().weight.device
        used = {"device": device.type, "dtype": str(trunk.dtype).removeprefix("torch.")}
        passes = 2 if layers else 1
        total = passes * sum(map(len, sequences.values()))
        with tqdm(total=total, unit="token", unit_scale=True, desc=f"{name}: effects") as bar:
            derivatives = derivative.effects(
                trunk,
                blocks,
                sequences,
                settings,
                name=source["name"],
                batch_tokens=job.options.batch_tokens,
                threads=threads,
                free=sum(loading.free_bytes(device).values()),
                receive=replacements.receive,
                progress=bar.update,
            )
            if layers:
                changed = finite.effects(
                    model,
                    blocks,
                    sequences,
                    settings,
                    replacements,
                    threads=threads,
                    progress=bar.update,
                )
    table = effects.table(derivatives, changed, settings.probes)
    stated = settings.model_dump() | {"used": used}
    made = tables.provenance(record, "effects", stated, "torch", "transformers")
    tables.write_table(table, job.output.effects, made)
    documents = counted(len({document for document, _ in sequences}), "document")
    tokens = counted(sum(map(len, sequences.values())), "token")
    program.log.info(f"{name}: effects in {documents} of {tokens}")


if __name__ == "__main__":
    program.run(main, EffectsSettings)
