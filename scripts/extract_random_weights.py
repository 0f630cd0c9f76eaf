"""Run a model with weights as before any training over some documents, as a control.

The weights are drawn at several scales. At the first, all is measured that is measured of the
trained model, except surprisal; at the others, norms alone.
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
from attnlag.quantities import catalogue, centred, columns
from attnlag.quantities.settings import RandomWeightsSettings
from attnlag.storage import tables
from attnlag.storage.sequences import longest_sequence


def main(job):
    # These import transformers, which reads the settings of the network on import.
    from attnlag.model import detect_modules, loading, random_weights
    from attnlag.quantities import extraction

    settings, run, output = job.settings, job.settings.extraction, job.output
    sites, folder = run.sites, Path(job.options.folder)
    torch.set_num_threads(job.threads)
    source = verify_folder(folder)
    record = tables.of_all_shards(job.input.tokens)
    documents = first_of_groups(job.input.corpus, settings.documents)
    sequences = pa.concat_tables(
        pq.read_table(path, filters=pc.field("document").isin(documents))
        for path in job.input.tokens
    ).unify_dictionaries()
    total = pc.sum(pc.list_value_length(sequences["input_ids"])).as_py() or 0
    device = loading.choose_device(job.options.device)
    precision = loading.choose_dtype(folder, device, run.dtype)
    longest = max(map(longest_sequence, job.input.tokens))
    loading.check_room_to_draw(folder, job.options.batch_tokens, longest)
    name = f"{record.names}, random weights"
    used: dict[str, str] = {}
    made_at, layers, further = [], 0, len(settings.scales) - 1

    def record_of(draw, quantity, site):
        """Return the record of a file."""
        recorded = settings.model_dump() | {"site": site or quantity, "used": used}
        made = tables.provenance(record, "random_weights", recorded, "torch", "transformers")
        return made | {"draw": draw.facts(source["initial_weights"])}

    all_scales = total * len(settings.scales)
    with (
        TemporaryDirectory() as place,
        tqdm(total=all_scales, unit="token", unit_scale=True, desc=f"{name}: tokens") as bar,
    ):
        tokens = Path(place, "tokens.parquet")
        pq.write_table(sequences, tokens)
        measured = dict.fromkeys(["norms", *run.measured()])
        measured.pop("vectors", None)
        files = catalogue.paths_of(measured, sites, output)
        # Centred cosines come from stored vectors, as those of the trained model do.
        if output.centred_cosines:
            files |= {("vectors", site): Path(place, f"{site}.parquet") for site in sites}
        draws = random_weights.draws(
            folder,
            settings.scales,
            settings.seed,
            attention=run.attention_implementation,
            modules=run.modules,
            name=source["name"],
        )
        fast = run.fast
        for index, draw in enumerate(draws):
            of_draw = partial(record_of, draw)
            if index:
                keys = [*(("norms", site) for site in sites), ("stream", "")]
                paths = [*output.scales[index - 1 :: further], output.scales_stream[index - 1]]
                files = dict(zip(keys, paths, strict=True))
            if draw.left_out:
                program.log.info(f"{name}: scale {draw.scale} is left out: {draw.left_out}")
                for key, path in files.items():
                    tables.write_table(columns.schema(layers).empty_table(), path, of_draw(*key))
                continue
            model = draw.model.base_model.to(device, precision).eval()
            used.update(loading.device_and_dtype(model))
            made_at.append(draw.scale)
            decoder = detect_modules.decoder_of(model, run.modules, source["name"])
            extractor = extraction.Extractor(
                decoder,
                quantities=list(dict.fromkeys(quantity for quantity, _ in files)),
                sites=sites,
                batch_tokens=job.options.batch_tokens,
                threads=job.threads,
                fast=fast,
                progress=bar.update,
            )
            extraction.record(tokens, extractor, files, of_draw, run.storage_dtype)
            # The way that was the fastest is not measured again.
            fast, layers = extractor.fast, len(decoder.blocks)
            for number, site in enumerate(sites if output.centred_cosines and not index else ()):
                cosines, distances = centred.cosines_of(files["vectors", site])
                of_site = of_draw("centred_cosines", site)
                tables.write_table(cosines, output.centred_cosines[number], of_site)
                tables.write_table(distances, output.distances[number], of_site)
    program.log.info(
        f"{name}: {counted(total, 'token')} of {counted(len(documents), 'document')} x "
        f"{counted(layers, 'layer')}, at the {'scales' if made_at[1:] else 'scale'} "
        f"{', '.join(made_at)}"
    )


if __name__ == "__main__":
    program.run(main, RandomWeightsSettings)
