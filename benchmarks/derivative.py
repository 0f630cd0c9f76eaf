"""Derivatives of the default model in float32 beside central differences.

    python benchmarks/derivative.py

The adjustment to one token is scaled by 0.98 and 1.02. The script prints how far elasticities from
these differences, at that token and the next five, are from those of automatic differentiation. It
takes several documents and pairs of layers, from the model and tokens of a finished default run.
"""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import smallest
import torch
from transformers import AutoModel

from attnlag.interventions import derivative
from attnlag.model.decoder import decoder_of

ROOT = Path(__file__).parents[1]
MODEL = "smollm2-135m-instruct"
TOKENS = f"results/{MODEL}/prompts/tokens/0000.parquet"
PAIRS = [(0, 9), (9, 19), (18, 29)]
LENGTH, NEXT = 60, 6


def elasticities(decoder, ids, source, target):
    """Return elasticities at a token and the next ones, by derivative and by differences."""
    place = LENGTH // 2

    def log_norms(gate):
        row = torch.ones(1, LENGTH)
        row = torch.cat([row[:, :place], gate[None], row[:, place + 1 :]], dim=1)
        opened = [
            row if layer == source else torch.ones(1, LENGTH)
            for layer in range(len(decoder.blocks))
        ]
        gates = {"attention": opened}
        found = derivative.log_norms(decoder, ids, ["attention"], gates)
        return found["attention", target][0][place : place + NEXT]

    gate = torch.ones(1, requires_grad=True)
    logs = log_norms(gate)
    slopes = [torch.autograd.grad(log, gate, retain_graph=True)[0].item() for log in logs]
    with torch.no_grad():
        apart = log_norms(torch.tensor([1.02])) - log_norms(torch.tensor([0.98]))
    return np.array(slopes), apart.numpy() / np.log(1.02 / 0.98)


def main() -> None:
    few = smallest.asked(__doc__)
    model = AutoModel.from_pretrained(ROOT / "data/models" / MODEL, dtype=torch.float32)
    model.eval().requires_grad_(False)
    decoder = decoder_of(model)
    every = []
    rows = pq.read_table(ROOT / TOKENS).to_pylist()[::32]
    for row in rows[:1] if few else rows:
        ids = torch.tensor(row["input_ids"][:LENGTH])[None]
        for source, target in PAIRS[:1] if few else PAIRS:
            slopes, differences = elasticities(decoder, ids, source, target)
            every.append((slopes, differences))
            apart = np.linalg.norm(slopes - differences) / np.linalg.norm(slopes)
            print(f"{row['document']}, layer {source} to {target}: {apart:.2%}", flush=True)
    slopes, differences = map(np.concatenate, zip(*every, strict=True))
    apart = np.linalg.norm(slopes - differences) / np.linalg.norm(slopes)
    print(f"all {len(slopes)} elasticities: {apart:.2%}")


if __name__ == "__main__":
    main()
