"""Cost of tracing sources and readout, beside that of norms alone in the same sequences.

    python benchmarks/sources.py

The beginnings of a default run's documents run one at a time, in turn through the model with hooks
that take the norms, and through the passes of `trace_sources`. The script prints seconds of one
thread of a processor, and the median of their ratios, without loading and set-up.
"""

import time
from functools import partial
from pathlib import Path

import numpy as np
import smallest
import torch

from attnlag.interventions import sampling
from attnlag.model import loading
from attnlag.model.decoder import decoder_of
from attnlag.quantities import tracing
from attnlag.quantities.batches import batch_of
from attnlag.quantities.layer_pass import Needs, run_pass
from attnlag.quantities.settings import Sources

ROOT = Path(__file__).parents[1]
MODEL, CORPUS = "smollm2-135m-instruct", "prompts"
ROUNDS = 3


def main():
    few = smallest.asked(__doc__)
    torch.set_num_threads(1)
    model = loading.load_model(ROOT / "data/models" / MODEL, torch.device("cpu"), "auto", head=True)
    settings = Sources()
    sequences = sampling.first_tokens(
        ROOT / f"results/{MODEL}/{CORPUS}/tokens/0000.parquet",
        ROOT / f"results/corpora/{CORPUS}.parquet",
        2 if few else settings.documents,
        8 if few else settings.document_tokens,
    )
    decoder = decoder_of(model)
    tracer = tracing.Tracer(decoder, ["attention"])
    needs = Needs({layer: ["attention"] for layer in range(len(decoder.blocks))})

    def norms():
        for ids in sequences.values():
            run_pass(
                decoder, batch_of(ids), needs, lambda layer: layer.added["attention"].norm(dim=-1)
            )

    def seconds(run):
        start = time.process_time()
        run()
        return time.process_time() - start

    tracer.trace(dict([next(iter(sequences.items()))]))
    trace = partial(tracer.trace, sequences)
    pairs = np.array([(seconds(norms), seconds(trace)) for _ in range(1 if few else ROUNDS)])
    plain, traced = np.median(pairs, axis=0)
    count = sum(map(len, sequences.values()))
    print(f"{count} tokens: norms {plain:.1f} s, sources and readout {traced:.1f} s")
    print(f"median ratio {np.median(pairs[:, 1] / pairs[:, 0]):.1f}")


if __name__ == "__main__":
    main()
