"""Norms of Gemma 3 270M in the files of `make models`, beside hooks in plain transformers.

    python benchmarks/gemma.py

What Gemma adds to the stream is the output of the norm after each sublayer. Documents run one at a
time. The script prints relative differences of all norms of each site: two minutes of one core.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import torch
from transformers import AutoModelForCausalLM

ADDED_BY = {"attention": "post_attention_layernorm", "mlp": "post_feedforward_layernorm"}


@torch.inference_mode()
def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default="results/gemma-3-270m/bundled")
    parser.add_argument("--model", type=Path, default="data/models/gemma-3-270m")
    given = parser.parse_args()
    model = AutoModelForCausalLM.from_pretrained(given.model, dtype=torch.float32).eval().model
    added = {site: [] for site in ADDED_BY}
    for site, name in ADDED_BY.items():
        for block in model.layers:
            keep = lambda _, __, out, own=added[site]: own.append(out[0].norm(dim=-1))  # noqa: E731
            getattr(block, name).register_forward_hook(keep)
    own = {site: [] for site in ADDED_BY}
    sequences = pq.read_table(given.results / "tokens/0000.parquet", columns=["input_ids"])
    for ids in sequences["input_ids"].to_pylist():
        model(input_ids=torch.tensor(ids)[None], use_cache=False)
        for site, norms in added.items():
            own[site].append(torch.stack(norms, dim=1).numpy())
            norms.clear()
    for site, norms in own.items():
        stored = pd.read_parquet(given.results / site / "norms/0000.parquet").filter(like="layer_")
        error = np.abs(stored.to_numpy() / np.concatenate(norms) - 1)
        print(
            f"{site}: {error.size} norms, median {np.median(error):.0e}, 99.9% within "
            f"{np.quantile(error, 0.999):.0e}, {(error > 1e-4).sum()} beyond 1e-4, largest "
            f"{error.max():.1e}"
        )


if __name__ == "__main__":
    main()
