"""Speed of `attnlag.measure` beside plain hooks, TransformerLens and nnsight, as ratios.

    python benchmarks/extraction.py                              # minutes
    python benchmarks/extraction.py --sequences 4 --peers        # attnlag and hooks, few tokens

A model with random weights, of the size of GPT-2 or of the embedded default (a Llama of 30 layers),
over sequences of 256 tokens and of mixed length. All ways take the same tokens on one thread, in
turn, round by round; the ratios are medians over the rounds of CPU time, each to that of the base
model with hooks that take the norms in batches of 4,096 tokens, as a user of transformers would
write it. What attnlag verifies counts too. TransformerLens and nnsight are installed into an
environment of their own, which sees the packages of this one, and run GPT-2 in a process of their
own.
"""

import argparse
import functools
import io
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch

ROOT = Path(__file__).parents[1]

LENGTH, BATCH, WORDS = 256, 16, 49_000
PEERS = ("transformer_lens", "nnsight")
HOOKS = "base model, hooks take norms"

Way = Callable[[], object]


def causal_model(kind: str) -> torch.nn.Module:
    """Return a language model with random weights."""
    from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    if kind == "gpt2":
        return GPT2LMHeadModel(GPT2Config()).eval()
    size: dict[str, Any] = {"hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30}
    heads: dict[str, Any] = {"num_attention_heads": 9, "num_key_value_heads": 3}
    return LlamaForCausalLM(LlamaConfig(vocab_size=49_152, **size, **heads)).eval()


# --- peers, each in a process of its own ---------------------------------------------------


def transformer_lens() -> Callable[[torch.Tensor], list[torch.Tensor]]:
    """Return ``run_with_cache``, with a filter on what is cached."""
    from transformer_lens.model_bridge import TransformerBridge
    from transformers import GPT2Config, GPT2LMHeadModel

    options: dict[str, Any] = {"attn_implementation": "eager"}
    config = GPT2Config(architectures=["GPT2LMHeadModel"], **options)
    with tempfile.TemporaryDirectory() as folder:
        GPT2LMHeadModel(config).save_pretrained(folder)
        model = TransformerBridge.boot_transformers(folder, device="cpu").eval()

    def run(ids: torch.Tensor) -> list[torch.Tensor]:
        _, cache = model.run_with_cache(ids, names_filter=lambda name: "hook_attn_out" in name)
        return [cache["attn_out", layer].norm(dim=-1) for layer in range(12)]

    return run


def nnsight() -> Callable[[torch.Tensor], list[torch.Tensor]]:
    """Return a trace that saves the attention outputs of the language model."""
    from nnsight import NNsight

    model = NNsight(causal_model("gpt2"))

    def run(ids: torch.Tensor) -> list[torch.Tensor]:
        with model.trace(ids):
            # nnsight gives lists a method.
            outputs: Any = []
            outputs = outputs.save()
            for block in model.transformer.h:
                outputs.append(block.attn.output[0])
        return [output.norm(dim=-1) for output in outputs]

    return run


def serve(name: str, path: str) -> None:
    """Answer each line of the standard input with the CPU seconds of a run over all batches."""
    torch.set_num_threads(1)
    batches = torch.from_numpy(np.load(path)).split(BATCH)
    forward = {"transformer_lens": transformer_lens, "nnsight": nnsight}[name]()
    with torch.inference_mode():
        assert len(forward(batches[0][:1])) == 12
        print("ready", flush=True)
        for _ in sys.stdin:
            print(seconds(lambda: [forward(ids) for ids in batches]), flush=True)


def seconds_of_run(asks: IO[str], answers: IO[str]) -> float:
    """Ask a peer's process for a run, and return the seconds that it says."""
    asks.write("go\n")
    asks.flush()
    return float(answers.readline())


def peers_of(environment: Path, ids: Path, wanted: list[str]) -> dict[str, Callable[[], float]]:
    """Return what runs each peer and says how long it took; make the environment if need be."""
    python = environment / "bin" / "python"
    if wanted and not python.exists():
        subprocess.run([sys.executable, "-m", "venv", environment], check=True)
        (packages,) = environment.glob("lib/python*/site-packages")
        (packages / "attnlag.pth").write_text(f"{Path(np.__file__).parents[1]}\n")
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PEERS], check=True)
    runs: dict[str, Callable[[], float]] = {}
    for name in wanted:
        process = subprocess.Popen(
            [str(python), __file__, "--serve", name, str(ids)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"HF_HUB_OFFLINE": "1"},
        )
        assert process.stdin is not None
        assert process.stdout is not None
        if process.stdout.readline().strip() != "ready":
            sys.exit(f"{name} does not run")
        runs[name] = functools.partial(seconds_of_run, process.stdin, process.stdout)
    return runs


# --- ways ----------------------------------------------------------------------------------


def seconds(way: Way) -> float:
    began = time.process_time()
    way()
    return time.process_time() - began


def plain(model: torch.nn.Module, sequences: list[np.ndarray], hooked: list) -> Way:
    """Return a way that runs a model over padded batches, with hooks on some modules."""

    def run() -> None:
        found: list[torch.Tensor] = []
        take = lambda _, __, output: found.append(output[0].norm(dim=-1))  # noqa: E731
        handles = [module.register_forward_hook(take) for module in hooked]
        with torch.inference_mode():
            for first in range(0, len(sequences), BATCH):
                rows = [torch.from_numpy(row) for row in sequences[first : first + BATCH]]
                ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=-1)
                mask = (ids >= 0).long()
                model(input_ids=ids.clamp_min(0), attention_mask=mask, use_cache=False)
        for handle in handles:
            handle.remove()

    return run


def ours(model: torch.nn.Module, sequences: list[np.ndarray]) -> Way:
    """Return a way that measures texts of these tokens."""
    import tokenizers
    from transformers import PreTrainedTokenizerFast

    import attnlag

    words = {f"w{number}": number for number in range(WORDS)}
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, "w0"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=made)
    texts = [" ".join(f"w{number}" for number in row) for row in sequences]
    return lambda: attnlag.measure(model, tokenizer, texts, progress=False)


def compare(kind: str, mixed: bool, given: argparse.Namespace, folder: Path) -> None:
    """Print the CPU time of each way relative to that of plain hooks."""
    random, model = np.random.default_rng(0), causal_model(kind)
    lengths = np.full(given.sequences, LENGTH)
    if mixed:
        lengths = np.minimum(random.lognormal(5.33, 0.7, given.sequences).astype(int) + 4, 1024)
    sequences = [random.integers(0, WORDS, length) for length in lengths]
    base_model: Any = model.base_model
    blocks = base_model.h if kind == "gpt2" else base_model.layers
    attention = [block.attn if kind == "gpt2" else block.self_attn for block in blocks]
    ways = {
        HOOKS: plain(base_model, sequences, attention),
        "language model with logits": plain(model, sequences, []),
        "attnlag.measure": ours(model, sequences),
    }
    measures: dict[str, Callable[[], float]] = {}
    for name, way in ways.items():
        measures[name] = functools.partial(seconds, way)
    if kind == "gpt2" and not mixed:
        np.save(folder / "ids.npy", np.stack(sequences))
        measures |= peers_of(given.environment, folder / "ids.npy", given.peers)
    times: dict[str, list[float]] = {name: [] for name in measures}
    for _ in range(given.rounds):
        for name, measure in measures.items():
            times[name].append(measure())
    shape = "mixed length" if mixed else f"{LENGTH} tokens"
    print(f"{kind}, {given.sequences} sequences of {shape}, {lengths.sum():,} tokens")
    for name, taken in times.items():
        ratio = np.median(np.array(taken) / np.array(times[HOOKS]))
        speed = lengths.sum() / np.median(taken)
        print(f"  {name:<28} {ratio:5.2f} x the CPU time of hooks  {speed:7,.0f} tokens/s")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", choices=["gpt2", "llama"], default=["gpt2", "llama"])
    parser.add_argument("--sequences", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=list(PEERS))
    parser.add_argument("--environment", type=Path, default=ROOT / ".venv-bench" / "extraction")
    parser.add_argument("--serve", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        serve(*given.serve)
        sys.exit()
    # A line as soon as it is known, to whatever it goes.
    assert isinstance(sys.stdout, io.TextIOWrapper)
    sys.stdout.reconfigure(line_buffering=True)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        for kind in given.models:
            for mixed in (False, True):
                compare(kind, mixed, given, Path(name))
