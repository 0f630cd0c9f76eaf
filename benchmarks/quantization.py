"""What errors as large as those of 4-bit weights change in the default model's coefficients.

In Q4_1, 32 neighbouring weights share a step, a fifteenth of their range. An error that is uniform
within a step is added to each such weight, as if it had been rounded once more.

    python benchmarks/quantization.py

Needs the model of the default run in data/models/, and takes a minute of two cores.
"""

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import smallest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import attnlag

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "data/models/smollm2-135m-instruct"
BLOCK, LEVELS = 32, 16
# Taken from the genres in turn.
DOCUMENTS = 26


@torch.no_grad()
def round_once_more(model: torch.nn.Module) -> float:
    """Add the errors to the weights in 4 bits, and return their size relative to the weights."""
    generator = torch.Generator().manual_seed(0)
    size = of_errors = 0.0
    for name, weights in model.named_parameters():
        if weights.ndim == 2 and "embed" not in name:
            blocks = weights.view(len(weights), -1, BLOCK)
            step = (blocks.amax(-1, keepdim=True) - blocks.amin(-1, keepdim=True)) / (LEVELS - 1)
            errors = (torch.rand(blocks.shape, generator=generator) - 0.5) * step
            size += float(blocks.double().square().sum())
            of_errors += float(errors.double().square().sum())
            blocks += errors
    return (of_errors / size) ** 0.5


def main() -> None:
    few = smallest.asked(__doc__)
    with tempfile.TemporaryDirectory() as scratch:
        folder = FOLDER
        if few:
            folder = Path(scratch)
            smallest.save_model(folder)
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(folder)
    rows = pd.read_json(ROOT / "data/prompts.jsonl", lines=True)
    turn = rows.groupby("genre", sort=False).cumcount().sort_values(kind="stable").index
    texts = rows.loc[turn[: 2 if few else DOCUMENTS]].set_index("id")["text"]
    if few:
        texts = texts.str.slice(0, 200)

    def measured() -> tuple[np.ndarray, dict[str, np.ndarray]]:
        found = attnlag.measure(model, tokenizer, texts, progress=False)
        fit = attnlag.fit(
            found,
            lags=[1, 2],
            fixed_effects="document",
            bias_correction="half-panel",
            covariates=["position"],
        )
        own = (found.tokens["position"] >= 1).to_numpy()
        by_term = fit.coefficients.groupby("term")["estimate"]
        return np.log(found.sizes["attention"][:, own]), {str(n): v.to_numpy() for n, v in by_term}

    norms, before = measured()
    print(f"size of the errors: {round_once_more(model):.4f} of the weights")
    others, after = measured()
    print(f"change of a log norm: {np.median(np.abs(others - norms)):.3f} (median)")
    for lag in ("lag_1", "lag_2"):
        change = np.abs(after[lag] - before[lag])
        print(
            f"{lag}: median over the layers {np.median(before[lag]):.3f} before and "
            f"{np.median(after[lag]):.3f} after; change {np.median(change):.3f} in the median "
            f"layer, at most {change.max():.3f}"
        )


if __name__ == "__main__":
    main()
