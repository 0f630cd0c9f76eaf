"""Run a model with weights as before any training over some documents, as a control.

The weights are drawn at several scales. At the first, all is measured that is measured of the
trained model; at the others, norms alone.
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

from attnlag.corpus.documents import first_of_groups
from attnlag.errors import counted
from attnlag.model.folder import verify_folder
from attnlag.quantities import centred, columns
from attnlag.quantities.settings import RandomWeightsSettings
from attnlag.storage import tables
from attnlag.storage.sequences import longest_sequence


def main(job):
    # These import transformers, which reads the settings of the network on import.
    from attnlag.model import loading, random_weights
    from attnlag.quantities import extraction

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

    drawn = random_weights.draws(
        folder,
        settings.scales,
        settings.seed,
        attention=run.attention_implementation,
        modules=run.modules,
        name=source["name"],
    )
    first_draw, made_at = next(drawn), []

    def extractor_of(draw, fast, **options):
        model = draw.model.base_model.to(device, precision).eval()
        used.update(loading.device_and_dtype(model))
        made_at.append(draw.scale)
        return extraction.Extractor(
            model,
            sites=sites,
            modules=run.modules,
            name=source["name"],
            batch_tokens=job.options.batch_tokens,
            threads=job.threads,
            fast=fast,
            progress=bar.update,
            **options,
        )

    def record_of(quantity, site, draw=first_draw):
        """Return the record of a file."""
        recorded = settings.model_dump() | {"site": site or quantity, "used": used}
        made = tables.provenance(record, "random_weights", recorded, "torch", "transformers")
        return made | {"draw": draw.facts(source["initial_weights"])}

    with TemporaryDirectory() as place:
        sequences = pa.concat_tables(
            pq.read_table(path, filters=pc.field("document").isin(documents))
            for path in job.input.tokens
        ).unify_dictionaries()
        tokens = Path(place, "tokens.parquet")
        pq.write_table(sequences, tokens)
        total = pc.sum(pc.list_value_length(sequences["input_ids"])).as_py() or 0
        all_scales = total * len(settings.scales)
        with tqdm(total=all_scales, unit="token", unit_scale=True, desc=f"{name}: tokens") as bar:
            # Centred cosines come from stored vectors, as those of the trained model do.
            measured = dict.fromkeys(["norms", *run.measured()])
            if not job.output.centred:
                measured.pop("vectors", None)
            first = extractor_of(first_draw, run.fast, quantities=list(measured))
            measured.pop("vectors", None)
            vectors = [Path(place, f"{site}.parquet") for site in sites if job.output.centred]
            files = extraction.files_of(measured, sites, job.output)
            files |= {("vectors", path.stem): path for path in vectors}
            extraction.record(tokens, first, files, record_of, run.storage_dtype)
            layers = len(first.blocks)
            for site, of_vectors, of_tokens, by_distance in zip(
                sites, vectors, job.output.centred, job.output.distances, strict=False
            ):
                cosines, distances = centred.cosines_of(of_vectors)
                table = pa.concat_tables([centred.schema(layers).empty_table(), *cosines])
                tables.write_table(
                    table.unify_dictionaries(), of_tokens, record_of("centred", site)
                )
                tables.write_table(distances, by_distance, record_of("centred", site))
            further = len(settings.scales) - 1
            for index, draw in enumerate(drawn):
                paths = [*job.output.scales[index::further], job.output.scales_stream[index]]
                keys = [*(("norms", site) for site in sites), ("stream", "")]
                files = dict(zip(keys, paths, strict=True))
                if draw.left_out:
                    program.log.info(f"{name}: scale {draw.scale} is left out: {draw.left_out}")
                    for key, path in files.items():
                        empty = columns.schema(layers).empty_table()
                        tables.write_table(empty, path, record_of(*key, draw))
                    continue
                # The way that was the fastest is not measured again.
                extractor = extractor_of(draw, first.fast)
                extraction.record(tokens, extractor, files, partial(record_of, draw=draw))
    program.log.info(
        f"{name}: {counted(total, 'token')} of {counted(len(documents), 'document')} x "
        f"{counted(layers, 'layer')}, at the {'scales' if further else 'scale'} "
        f"{', '.join(made_at)}"
    )


if __name__ == "__main__":
    program.run(main, RandomWeightsSettings)
