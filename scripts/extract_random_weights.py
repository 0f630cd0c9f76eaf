"""Run a model with random weights over some documents and store norms and directions per site.

The architecture and the tokenizer are those of the model; the weights are as they are before any
training. The regressions of these norms show what the architecture alone gives. Where vectors are
kept, the vectors of these documents are stored too. Further draws of the weights have norms alone,
of fewer documents.
"""

from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import attnlag.pipeline.program as program

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from tqdm import tqdm

from attnlag.adjustments import centred
from attnlag.adjustments.settings import RandomWeightsSettings
from attnlag.corpus.documents import first_of_groups, of_draws
from attnlag.errors import counted
from attnlag.model.folder import verify_folder
from attnlag.storage import tables


def main(job):
    # These import transformers, which reads the settings of the network on import.
    from attnlag.adjustments import extraction, geometry, heads, recording
    from attnlag.model import loading, random_weights
    from attnlag.model.hooks import STREAM

    settings, run = job.settings, job.settings.extraction
    folder = Path(job.options.folder)
    threads = program.usable_threads(job.threads)
    torch.set_num_threads(threads)
    source = verify_folder(folder)
    shards = job.input.tokens
    record = tables.of_all_shards(shards)
    chosen = first_of_groups(job.input.corpus, settings.documents)
    device = loading.choose_device(job.options.device)
    precision = loading.choose_dtype(folder, device, run.dtype)
    name = f"{source['name']}, {record['corpus']['name']}, random weights"
    vectors, stored = run.keep == "vectors", run.storage_dtype or "float32"
    names = list(map(recording.norms_of, run.sites)) if vectors else run.sites
    turns = list(map(geometry.name_of, run.sites)) if run.geometry else []
    outputs = dict(zip([*names, STREAM], [*job.output.sites, job.output.stream], strict=True))
    outputs |= dict(zip(turns, job.output.geometry, strict=True))
    outputs |= dict(zip(run.sites, job.output.vectors, strict=False))
    if run.heads:
        outputs[heads.NAME] = job.output.heads

    def record_of(name, **beside):
        used = {"device": device.type, "dtype": str(precision).removeprefix("torch.")}
        stated = settings.model_dump() | {"site": name.partition(":")[0], "used": used}
        made = tables.provenance(record, "random_weights", stated, "torch", "transformers")
        return made | beside

    def adjustments_of(draw, **options):
        whole = random_weights.drawn_model(
            folder, settings.seed + draw, run.attention_implementation
        )
        return extraction.Adjustments(
            whole.base_model.to(device, precision).eval(),
            sites=run.sites,
            modules=run.modules,
            name=source["name"],
            batch_tokens=job.options.batch_tokens,
            threads=threads,
            **options,
        )

    with TemporaryDirectory() as place:
        sequences = pa.concat_tables(
            pq.read_table(path, filters=pc.field("document").isin(chosen)) for path in shards
        ).unify_dictionaries()
        path = Path(place, "tokens.parquet")
        pq.write_table(sequences, path)
        total = pc.sum(pc.list_value_length(sequences["input_ids"])).as_py() or 0
        with tqdm(total=total, unit="token", unit_scale=True, desc=f"{name}: tokens") as bar:
            first = adjustments_of(
                0,
                keep=run.keep,
                fast=run.fast,
                progress=bar.update,
                with_geometry=run.geometry,
                with_heads=run.heads,
            )
            recording.record(path, first, outputs, record_of, stored)
        further = settings.draws - 1
        few = of_draws(chosen, settings.documents, settings.draws)[-1]
        pq.write_table(sequences.filter(pc.field("document").isin(few)), path)
        for draw in range(1, settings.draws):
            # The first draw has proved the sites. Packed weights would not pay for few tokens.
            again = adjustments_of(draw, keep="norms", proved=first)
            files = [*job.output.draws[draw - 1 :: further], job.output.draws_stream[draw - 1]]
            norms = dict(zip([*run.sites, STREAM], files, strict=True))
            recording.record(path, again, norms, partial(record_of, draw=draw))
    count = len(first.blocks)
    of_centred = zip(
        run.sites, job.output.vectors, job.output.centred, job.output.distances, strict=False
    )
    for site, path_of_vectors, of_tokens, by_distance in of_centred:
        cosines, distances = centred.cosines_of(path_of_vectors)
        table = pa.concat_tables([centred.schema(count).empty_table(), *cosines])
        tables.write_table(table.unify_dictionaries(), of_tokens, record_of(site))
        tables.write_table(distances, by_distance, record_of(site))
    of_tokens, documents = counted(total, "token"), counted(len(chosen), "document")
    program.log.info(f"{name}: {of_tokens} of {documents} x {count} layers")


if __name__ == "__main__":
    program.run(main, RandomWeightsSettings)
