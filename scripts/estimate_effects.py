#!/usr/bin/env python3
"""Measure in one shard how changes of adjustments move the sizes of later ones.

The derivative comes from reverse mode, all sources of a target at once; finite interventions change
one adjustment at a time, at tokens of all parts of speech, and run the model again. Replacements of
adjustments come from the documents of all shards. The output is one set of sums per document.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from tqdm import tqdm

from attnlag.corpus.documents import group_by_document
from attnlag.errors import UserError, counted
from attnlag.interventions import sampling
from attnlag.interventions.settings import EffectsSettings
from attnlag.model.folder import verify_folder
from attnlag.pipeline import program
from attnlag.storage import tables

parser = program.argument_parser(__doc__, EffectsSettings)
parser.add_argument("tokens", type=Path, help="the sequences (Parquet)")
parser.add_argument("--model", type=Path, required=True, help="the model's folder")
parser.add_argument("--corpus", type=Path, required=True, help="the corpus (Parquet)")
parser.add_argument("--token-properties", type=Path, required=True, help="of the same shard")
parser.add_argument("--output", type=Path, required=True)
program.add_model_options(parser, batch_tokens=1024)


def main(args):
    # These import transformers, which reads the settings of the network on import.
    from attnlag.interventions import derivative, effects, finite
    from attnlag.model import loading, trying

    settings = args.settings
    source = verify_folder(args.model)
    record = tables.read_provenance(args.tokens)
    documents = sampling.chosen_documents(group_by_document(args.corpus), settings.documents)
    sequences = sampling.sequences_of([args.tokens], documents, settings.document_tokens)
    name = f"{source['name']}, {record['corpus']['name']}"
    derivatives, changed = {}, {}
    if sequences:
        threads = program.usable_threads(args.threads)
        device = loading.choose_device(args.device)
        options = {
            "attention": settings.attention_implementation,
            "batch_tokens": args.batch_tokens,
        }
        model: Any = None
        if settings.interventions:
            try:
                model = loading.load_model(args.model, device, settings.dtype, head=True, **options)
            except UserError as error:
                program.log.info("%s; going on without the prediction of the next token", error)
        whole = model is not None
        if not whole:
            model = loading.load_model(args.model, device, settings.dtype, **options)
        trunk = model.base_model if whole else model
        blocks, _ = trying.blocks_of(trunk, settings.modules, source["name"])
        if mixers := trying.mixers_of(blocks):
            record["model"]["mixers"] = mixers
        device = trunk.get_input_embeddings().weight.device
        layers = []
        total = sum(map(len, sequences.values()))
        if settings.interventions:
            layers = sampling.chosen_sources(settings.sources, len(blocks))
            everyone = sampling.sequences_of(
                tables.shards(args.tokens), documents, settings.document_tokens
            )
            tags = sampling.tags_of(tables.shards(args.token_properties), everyone)
            total = 2 * total + sum(map(len, everyone.values()))
        with tqdm(total=total, unit="token", unit_scale=True, desc=f"{name}: effects") as bar:
            options = {"threads": threads, "progress": bar.update}
            derivatives = derivative.effects(
                *(trunk, blocks, sequences, settings),
                name=source["name"],
                batch_tokens=args.batch_tokens,
                free=sum(loading.free_bytes(device).values()),
                **options,
            )
            if layers:
                places = finite.places_of(everyone, settings, tags)
                vectors = finite.vectors_of(
                    *(trunk, blocks, everyone, settings, layers, places), **options
                )
                changed = finite.effects(
                    *(model, blocks, sequences, settings, layers, vectors), tags=tags, **options
                )
    table = effects.table(derivatives, changed, settings.probes)
    made = tables.provenance(record, "effects", asdict(settings), "torch", "transformers")
    tables.write_table(table, args.output, made)
    program.log.info(
        "%s: effects in %s of %s",
        name,
        counted(len({document for document, _ in sequences}), "document"),
        counted(sum(map(len, sequences.values())), "token"),
    )


if __name__ == "__main__":
    program.run(main, parser)
