"""The control before training by the scale of the initial weights, beside the trained model.

    python benchmarks/initial_scale.py            # many quantities at four scales
    python benchmarks/initial_scale.py --factors  # lags and R² at multiples of the model's own
    python benchmarks/initial_scale.py --smallest # a tiny model and two texts

The default model and, of the default corpus, the first documents of each group. Medians over the
layers, without correction of bias: `within` holds the position and document means fixed. Cosines
are of adjustments with those of the token before, once the layer's mean is subtracted. Effective
sources are those of the first 64 tokens of 13 documents.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import smallest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

import attnlag
from attnlag.model import initial_weights

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "data/models/smollm2-135m-instruct"
WITHIN: dict[str, Any] = {"lags": [1, 2], "fixed_effects": "document", "covariates": ["position"]}
FACTORS = ["own", "own-x1.2", "own-x1.3", "own-x1.5", "own-x2"]
# As many as the default control has.
DOCUMENTS = 12
FITS: dict[str, tuple[str, dict[str, Any]]] = {
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
    beginnings: dict[str, Any] = {"quantities": "sources", "max_length": 64, "progress": False}
    rows = attnlag.measure(model, tokenizer, texts[:13], **beginnings).table("sources")
    return rows.query("position > 0 and window == 0").groupby("layer")["effective"].mean()


def by_layer(model, tokenizer, texts):
    """Return the quantities of a model, each by layer."""
    options: dict[str, Any] = {
        "sites": ["attention", "mlp"],
        "quantities": "vectors",
        "progress": False,
    }
    measured = attnlag.measure(model.eval(), tokenizer, texts, **options)
    found: dict[str, Any] = {}
    for name, (site, terms) in FITS.items():
        fit = attnlag.fit(measured, site=site, **terms)
        lags = fit.coefficients.pivot(index="layer", columns="term", values="estimate")
        lags["sum"], lags["R²"] = lags["lag_1"] + lags["lag_2"], fit.fits["r_squared"]
        found |= {f"{name}, {key}": lags[key] for key in ("lag_1", "lag_2", "sum", "R²")}
    found["centred cosine"] = centred_cosine(measured)
    return found | {"effective sources": effective_sources(model, tokenizer, texts)}


def texts_in_turn():
    """Return the texts of the default corpus by name, the first of each genre before the second."""
    rows = pd.read_json(ROOT / "data/prompts.jsonl", lines=True)
    turn = rows.groupby("genre", sort=False).cumcount().sort_values(kind="stable").index
    return rows.loc[turn].set_index("id")["text"]


def print_scales(folder, texts, tokenizer):
    """Print the quantities of the trained model and of four draws."""
    trained = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    table = {"trained": by_layer(trained, tokenizer, texts)}
    for name, scale in ((".02", 0.02), ("1/24", 1 / 24)):
        config = AutoConfig.from_pretrained(folder, initializer_range=scale)
        for draw in initial_weights.draws(config, ["own", "by-depth"], seed=0):
            if draw.model is not None:
                table[f"{name}, {draw.scale}"] = by_layer(draw.model, tokenizer, texts)
    of_mlp = {name: found["MLP, lag_1"] for name, found in table.items()}
    medians = pd.DataFrame(table).map(np.median)
    medians.loc["MLP: layers where trained is larger"] = {
        name: (of_mlp["trained"] > lags).sum() for name, lags in of_mlp.items()
    }
    print(medians.round(3).to_string())


def print_factors(folder, sets_of_texts, tokenizer):
    """Print lag 1, both lags and R² by multiple of the model's own scale, for sets of texts."""
    trained = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    rows = []
    for number, texts in enumerate(sets_of_texts):
        models = {"trained": trained}
        config = AutoConfig.from_pretrained(folder, initializer_range=1 / 24)
        for draw in initial_weights.draws(config, FACTORS, seed=number):
            models[draw.scale] = draw.model
        for name, model in models.items():
            measured = attnlag.measure(model.eval(), tokenizer, texts, progress=False)
            fit = attnlag.fit(measured, **WITHIN)
            lags = fit.coefficients.pivot(index="layer", columns="term", values="estimate")
            row = {"texts": number, "scale": name, "lag 1": lags["lag_1"].median()}
            row["lags summed"] = (lags["lag_1"] + lags["lag_2"]).median()
            row["R²"] = fit.fits["r_squared"].median()
            rows.append(row)
    print(pd.DataFrame(rows).round(3).to_string(index=False))


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--factors", action="store_true", help="multiples of the model's own scale")
    parser.add_argument("--smallest", action="store_true", help="a tiny model and few texts")
    given = parser.parse_args()
    texts = texts_in_turn()
    with tempfile.TemporaryDirectory() as place:
        folder = FOLDER
        if given.smallest:
            folder = Path(place)
            smallest.save_model(folder)
            texts = texts.str.slice(0, 300)
        tokenizer = AutoTokenizer.from_pretrained(folder)
        if given.factors or given.smallest:
            sets = [texts[:8], texts[13:22]]
            print_factors(folder, sets[:1] if given.smallest else sets, tokenizer)
        if not given.factors:
            print_scales(folder, texts[: 4 if given.smallest else DOCUMENTS], tokenizer)


if __name__ == "__main__":
    main()
