"""Run a model with weights as before any training over some documents, as a control.

Further draws of the weights have norms alone, of fewer documents.
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
from attnlag.storage.sequences import longest_sequence


def main(job):
    # These import transformers, which reads the settings of the network on import.
    from attnlag.adjustments import extraction, recording
    from attnlag.model import loading, random_weights
    from attnlag.model.hooks import STREAM

    settings, run = job.settings, job.settings.extraction
    sites, folder = run.sites, Path(job.options.folder)
    torch.set_num_threads(job.threads)
    source = verify_folder(folder)
    record = tables.of_all_shards(job.input.tokens)
    documents = first_of_groups(job.input.corpus, settings.documents)
    device = loading.choose_device(job.options.device)
    precision = loading.choose_dtype(folder, device, run.dtype)
    longest = max(map(longest_sequence, job.input.tokens))
    loading.check_room_to_draw(folder, job.options.batch_tokens, longest)
    name = f"{source['name']}, {record['corpus']['name']}, random weights"
    used: dict[str, str] = {}

    def adjustments_of(draw, **options):
        model = random_weights.drawn_model(
            folder, settings.seed + draw, run.attention_implementation
        )
        model = model.base_model.to(device, precision).eval()
        used.update(loading.device_and_dtype(model))
        return extraction.Adjustments(
            model,
            sites=sites,
            modules=run.modules,
            name=source["name"],
            batch_tokens=job.options.batch_tokens,
            threads=job.threads,
            **options,
        )

    def record_of(values, **draw):
        """Return the record of a file, given the name of its values."""
        recorded = settings.model_dump() | {"site": values.partition(":")[0], "used": used}
        return tables.provenance(record, "random_weights", recorded, "torch", "transformers") | draw

    with TemporaryDirectory() as place:
        sequences = pa.concat_tables(
            pq.read_table(path, filters=pc.field("document").isin(documents))
            for path in job.input.tokens
        ).unify_dictionaries()
        tokens = Path(place, "tokens.parquet")
        pq.write_table(sequences, tokens)
        total = pc.sum(pc.list_value_length(sequences["input_ids"])).as_py() or 0
        with tqdm(total=total, unit="token", unit_scale=True, desc=f"{name}: tokens") as bar:
            first = adjustments_of(
                0,
                keep="vectors" if job.output.centred else "norms",
                fast=run.fast,
                progress=bar.update,
                with_geometry=run.geometry,
                with_heads=run.heads,
            )
            # Centred cosines come from stored vectors, as those of the trained model do.
            vectors = [Path(place, f"{site}.parquet") for site in sites if job.output.centred]
            names = map(recording.norms_of, sites) if vectors else sites
            files = recording.files_of(run, job.output, names) | dict(
                zip(sites, vectors, strict=False)
            )
            recording.record(tokens, first, files, record_of, run.storage_dtype)
            layers = len(first.blocks)
            for site, of_vectors, of_tokens, by_distance in zip(
                sites, vectors, job.output.centred, job.output.distances, strict=False
            ):
                cosines, distances = centred.cosines_of(of_vectors)
                table = pa.concat_tables([centred.schema(layers).empty_table(), *cosines])
                tables.write_table(table.unify_dictionaries(), of_tokens, record_of(site))
                tables.write_table(distances, by_distance, record_of(site))
        further = settings.draws - 1
        documents_of_draws = of_draws(documents, settings.documents, settings.draws)[-1]
        pq.write_table(sequences.filter(pc.field("document").isin(documents_of_draws)), tokens)
        for draw in range(1, settings.draws):
            # The first draw has proved the sites. Packed weights would not pay for few tokens.
            adjustments = adjustments_of(draw, keep="norms", proved=first)
            norms = dict(zip(sites, job.output.draws[draw - 1 :: further], strict=True))
            norms[STREAM] = job.output.draws_stream[draw - 1]
            recording.record(tokens, adjustments, norms, partial(record_of, draw=draw))
    program.log.info(
        f"{name}: {counted(total, 'token')} of {counted(len(documents), 'document')} x "
        f"{counted(layers, 'layer')}"
    )


if __name__ == "__main__":
    program.run(main, RandomWeightsSettings)
