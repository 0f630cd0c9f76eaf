"""The control before training at four scales of the initial weights, beside the trained model.

    python benchmarks/initial_scale.py

The default model and, of the default corpus, the documents of the default control. Medians over the
layers, without correction of bias: `within` holds the position and document means fixed. Cosines
are of adjustments with those of the token before, once the layer's mean is subtracted. Effective
sources are those of the first 64 tokens of 13 documents.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

import attnlag
from attnlag.model import random_weights

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "data/models/smollm2-135m-instruct"
WITHIN = {"lags": [1, 2], "fixed_effects": "document", "covariates": ["position"]}
FITS = {
    **{"within": ("attention", WITHIN), "pooled": ("attention", {"lags": [1, 2]})},
    "MLP": ("mlp", WITHIN),
}


def centred_cosine(measured):
    """Return the mean cosine of neighbours by layer."""
    position, means = measured.tokens["position"].to_numpy(), []
    for vectors in measured.vectors["attention"]:
        centred = vectors - vectors[position > 0].mean(axis=0)
        centred /= np.linalg.norm(centred, axis=1, keepdims=True)
        means.append((centred[1:] * centred[:-1]).sum(axis=1)[position[1:] > 1].mean())
    return means


def effective_sources(model, tokenizer, texts):
    """Return the mean effective number of sources by layer."""
    beginnings = {"quantities": "sources", "max_length": 64, "progress": False}
    rows = attnlag.measure(model, tokenizer, texts[:13], **beginnings).table("sources")
    return rows.query("position > 0 and window == 0").groupby("layer")["effective"].mean()


def by_layer(model, tokenizer, texts):
    """Return the quantities of a model, each by layer."""
    options = {"sites": ["attention", "mlp"], "quantities": "vectors", "progress": False}
    measured = attnlag.measure(model.eval(), tokenizer, texts, **options)
    found = {}
    for name, (site, terms) in FITS.items():
        fit = attnlag.fit(measured, site=site, **terms)
        lags = fit.coefficients.pivot(index="layer", columns="term", values="estimate")
        lags["sum"], lags["R²"] = lags["lag_1"] + lags["lag_2"], fit.fits["r_squared"]
        found |= {f"{name}, {key}": lags[key] for key in ("lag_1", "lag_2", "sum", "R²")}
    found["centred cosine"] = centred_cosine(measured)
    return found | {"effective sources": effective_sources(model, tokenizer, texts)}


if __name__ == "__main__":
    rows = pd.read_json(ROOT / "data/prompts.jsonl", lines=True)
    turn = rows.groupby("genre", sort=False).cumcount().sort_values(kind="stable").index[:16]
    texts, tokenizer = rows.loc[turn].set_index("id")["text"], AutoTokenizer.from_pretrained(FOLDER)
    models = {"trained": AutoModelForCausalLM.from_pretrained(FOLDER, dtype=torch.float32)}
    table = {"trained": by_layer(models["trained"], tokenizer, texts)}
    for name, scale in ((".02", 0.02), ("1/24", 1 / 24)):
        config = AutoConfig.from_pretrained(FOLDER, initializer_range=scale)
        for draw in random_weights.draws(config, ["own", "by-depth"], seed=0):
            table[f"{name}, {draw.scale}"] = by_layer(draw.model, tokenizer, texts)
    of_mlp = {name: found["MLP, lag_1"] for name, found in table.items()}
    medians = pd.DataFrame(table).map(np.median)
    medians.loc["MLP: layers where trained is larger"] = {
        name: (of_mlp["trained"] > lags).sum() for name, lags in of_mlp.items()
    }
    print(medians.round(3).to_string())
