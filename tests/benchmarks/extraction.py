"""Speed and memory of the extraction, as ratios within one run.

    python tests/benchmarks/extraction.py

A GPT-2 of its own size (12 x 768, random weights) over sequences of log-normal length (mean about
200 tokens). Speed is that of the real program's loop against a plain forward pass of the same
trunk, without hooks, over the same batches; memory is the peak of the real program over one shard
and over another four times as long, in processes of their own.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from transformers import GPT2Config, GPT2Model

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

from attnlag import extraction, tables, tokens  # noqa: E402


def random_sequences(count: int, seed: int = 0) -> list[np.ndarray]:
    """Return token ids of sequences of log-normal length, at most 1024."""
    generator = np.random.default_rng(seed)
    lengths = np.minimum(generator.lognormal(5.0, 0.7, count).astype(int) + 4, 1024)
    return [generator.integers(0, 50257, n).astype(np.int32) for n in lengths]


def plain_forward(model: torch.nn.Module, sequences: list[np.ndarray], batch_tokens: int) -> None:
    """Run the trunk over the same batches and keep nothing."""
    lengths = np.array([len(sequence) for sequence in sequences])
    for batch in extraction.batches(lengths, batch_tokens):
        longest = lengths[batch].max()
        ids = np.zeros((len(batch), longest), np.int64)
        for row, index in enumerate(batch):
            ids[row, : lengths[index]] = sequences[index]
        mask = np.arange(longest)[None, :] < lengths[batch][:, None]
        with torch.inference_mode():
            model(
                input_ids=torch.from_numpy(ids),
                attention_mask=torch.from_numpy(mask).long(),
                use_cache=False,
            )


def seconds(function) -> float:
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def speed(model: torch.nn.Module, rounds: int = 3) -> None:
    """Print the speed of vectors and norms against the plain forward pass, paired by round."""
    sequences = random_sequences(24)
    total = sum(map(len, sequences))
    for keep in ("norms", "vectors"):
        runner = extraction.Adjustments(model, batch_tokens=4096, keep=keep)
        list(runner.over(sequences[:4]))  # the proof, once
        ratios, rates = [], []
        for _ in range(rounds):
            plain = seconds(lambda: plain_forward(model, sequences, 4096))
            ours = seconds(lambda runner=runner: list(runner.over(sequences)))
            ratios.append(plain / ours)
            rates.append(total / ours)
        print(
            f"keep {keep}: {np.median(ratios):.2f} times the speed of a plain forward pass "
            f"({np.median(rates):,.0f} tokens/s with {torch.get_num_threads()} threads)"
        )
    lengths = np.array([len(sequence) for sequence in sequences])
    for budget in (1024, 2048, 4096, 8192):
        cells = sum(len(b) * lengths[b].max() for b in extraction.batches(lengths, budget))
        taken = seconds(lambda budget=budget: plain_forward(model, sequences, budget))
        print(
            f"batch_tokens {budget}: {1 - total / cells:.0%} padding, {total / taken:,.0f} tokens/s"
        )


def peak_of_program(folder: Path, sequences: list[np.ndarray], name: str) -> float:
    """Return the peak memory in MB of the real program over one shard."""
    rows = {
        "document": [f"d{i}" for i in range(len(sequences))],
        "window": [0] * len(sequences),
        "first_position": [0] * len(sequences),
        "input_ids": [sequence.tolist() for sequence in sequences],
        "char_start": [[0] * len(sequence) for sequence in sequences],
        "char_end": [[1] * len(sequence) for sequence in sequences],
    }
    table = pa.table(rows, schema=tokens.SCHEMA)
    shard = folder / f"{name}.parquet"
    tables.write_table(table, shard, {"corpus": {"name": name}})
    command = [sys.executable, str(ROOT / "scripts/extract_activations.py"), str(shard)]
    command += ["--model", str(folder / "model"), "--output", str(folder / f"{name}.out")]
    program = subprocess.Popen(command)
    _, status, usage = os.wait4(program.pid, 0)
    assert status == 0
    return usage.ru_maxrss / 1024


def memory(model: torch.nn.Module) -> None:
    """Print how the peak of the real program grows with the shard."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model.save_pretrained(folder / "model")
        files = {p.name: {"bytes": p.stat().st_size} for p in (folder / "model").iterdir()}
        record = {"name": "gpt2", "source": "path", "revision": None, "digest": "", "files": files}
        (folder / "model" / "source.json").write_text(json.dumps(record))
        one = peak_of_program(folder, random_sequences(60), "one")
        four = peak_of_program(folder, random_sequences(240), "four")
    print(
        f"memory: {one:,.0f} MB for a shard, {four:,.0f} MB for one four times as long "
        f"({four / one:.2f} times)"
    )


if __name__ == "__main__":
    torch.manual_seed(0)
    trunk = GPT2Model(GPT2Config()).eval()
    speed(trunk)
    memory(trunk)
