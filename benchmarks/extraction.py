"""Speed and memory of the extraction, as ratios within one run.

    python benchmarks/extraction.py             # about an hour on two slow cores
    python benchmarks/extraction.py --quick     # 4 CPU minutes: 8 sequences, one thread
    python benchmarks/extraction.py --few       # 1 CPU minute: attnlag.measure on 4 x 256 tokens

A model with random weights, of the size of GPT-2 or of the embedded default (a Llama of 30 layers),
over 64 sequences of 256 tokens; all ways take the same tokens in the same batches, in turn, round
by round, and each line is printed when it has been measured. The ratios are medians over the
rounds, each to the round's own *c*: the trunk with hooks that take the norms, as a user of
transformers would write it. With one thread, time is that of the processor, which other work on the
machine disturbs less than the clock's. bfloat16 is left out where the processor lacks it.

The bound is what the matrix products and attention alone would take at the rate of the faster of
torch's product and oneDNN's, measured beside each round on the matrices of one block.

TransformerLens and nnsight are installed into an environment of their own, which sees the packages
of this one, and run in a process of their own, GPT-2 only. Memory is the peak of the real program
over one shard and over another four times as long; the whole program also tells whether jobs of one
thread each are faster than one job of all threads.
"""

import argparse
import copy
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tokenizers
import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

import attnlag  # noqa: E402
from attnlag.corpus import tokens  # noqa: E402
from attnlag.model import architectures, onednn  # noqa: E402
from attnlag.pipeline.job import text_of  # noqa: E402
from attnlag.quantities import columns, extraction, layout, norms, passes  # noqa: E402
from attnlag.storage import tables  # noqa: E402
from attnlag.storage.contents import sha256_of  # noqa: E402
from attnlag.storage.sequences import TokenSequence, stored_sequences  # noqa: E402

LENGTH = 256
PEERS = ("transformer_lens", "nnsight")

# Settings of the real program.
SETTINGS = {
    "sites": ["attention"],
    "keep": "vectors",
    "storage_dtype": None,
    "dtype": "auto",
    "attention_implementation": "auto",
    "fast": "auto",
    "modules": None,
    "geometry": False,
    "heads": False,
}

Way = Callable[[], object]


def causal_model(kind: str) -> torch.nn.Module:
    """Return a language model with random weights."""
    torch.manual_seed(0)
    if kind == "gpt2":
        return GPT2LMHeadModel(GPT2Config()).eval()
    size = {"hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30}
    heads = {"num_attention_heads": 9, "num_key_value_heads": 3}
    return LlamaForCausalLM(LlamaConfig(vocab_size=49_152, **size, **heads)).eval()


def random_sequences(count: int, seed: int = 0) -> list[np.ndarray]:
    """Return token ids of sequences of log-normal length, 265 on average, at most 1024."""
    generator = np.random.default_rng(seed)
    lengths = np.minimum(generator.lognormal(5.33, 0.7, count).astype(int) + 4, 1024)
    return [generator.integers(0, 49_000, n).astype(np.int32) for n in lengths]


# --- ways ----------------------------------------------------------------------------------


def plain(
    model: torch.nn.Module,
    trunk: torch.nn.Module,
    in_batches: list[np.ndarray],
    kept: Callable[[torch.Tensor], torch.Tensor] | None,
) -> Way:
    """Return a way that runs a model over padded batches, with hooks on attention or without."""

    def run() -> list[torch.Tensor]:
        found: list[torch.Tensor] = []

        def hook(_: object, __: object, output: tuple[torch.Tensor, ...]) -> None:
            found.append(kept(output[0]))

        attentions = [
            m for block in architectures.locate(trunk) for m in block.parts["attention"] if kept
        ]
        handles = [module.register_forward_hook(hook) for module in attentions]
        with torch.inference_mode():
            for ids in in_batches:
                # The padding, if there is any, is -1.
                ids = torch.from_numpy(ids)
                mask = ids >= 0
                model(input_ids=ids.clamp_min(0), attention_mask=mask.long(), use_cache=False)
        for handle in handles:
            handle.remove()
        return found

    return run


def norm(added: torch.Tensor) -> torch.Tensor:
    return torch.linalg.vector_norm(added, dim=-1)


def runner_of(
    trunk: torch.nn.Module,
    given: argparse.Namespace,
    first: np.ndarray,
    keep: str,
    fast: str,
) -> extraction.Extractor:
    """Return the real program's loop, past its first batch: the proof and the choice are made."""
    runner = extraction.Extractor(
        trunk,
        batch_tokens=given.batch_tokens,
        threads=given.threads,
        quantities=[keep],
        fast=fast,
    )
    runner.measure([first])
    return runner


def through_parquet(runner: extraction.Extractor, sequences: list[np.ndarray], path: Path) -> Way:
    """Return a way that stores vectors as the real program does and takes norms from the file."""
    names, windows = [f"d{i}" for i in range(len(sequences))], list(range(len(sequences)))
    tokens_path = path.with_name("tokens.parquet")
    rows = {"document": names, "window": windows, "input_ids": sequences}
    pq.write_table(
        pa.table(rows, schema=pa.schema([tokens.SCHEMA.field(name) for name in rows])), tokens_path
    )
    schema = columns.schema(len(runner.blocks), runner.width)

    def run() -> None:
        with tables.parquet_writer(
            path,
            schema.with_metadata(tables.metadata({})),
            **layout.encoding(schema, "float32"),
        ) as writer:

            def write(run: list[TokenSequence], values: extraction.Values) -> None:
                rows = layout.table(run, values["vectors", "attention"], schema, "float32")
                writer.write_table(rows, row_group_size=4096)

            extraction.write_runs(stored_sequences(tokens_path), runner, write)
        with pq.ParquetFile(path, pre_buffer=False) as file:
            for group in range(file.num_row_groups):
                norms.norms_of_row_group(file, group)

    return run


class Peer:
    """Another package in a process of its own, which runs when it is told and says how long."""

    def __init__(self, name: str, python: Path, ids: Path, threads: int):
        program = Path(__file__).with_name("extraction_peers.py")
        self.process = subprocess.Popen(
            [python, program, name, ids, str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"HF_HUB_OFFLINE": "1"},
        )
        if self.process.stdout.readline().strip() != "ready":
            raise RuntimeError(self.process.stderr.read().strip().splitlines()[-1])

    def seconds(self) -> float:
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def peers_of(environment: Path, ids: Path, threads: int) -> dict[str, Peer]:
    """Return the peers that can be had; the others are named with what is in their way."""
    python, ready = environment / "bin" / "python", environment / ".installed"
    peers: dict[str, Peer] = {}
    try:
        if not ready.exists():
            subprocess.run([sys.executable, "-m", "venv", environment], check=True)
            # torch and transformers are those of this environment.
            (packages,) = environment.glob("lib/python*/site-packages")
            (packages / "attnlag.pth").write_text(f"{Path(pa.__file__).parents[1]}\n")
            quiet = ["--quiet", "--disable-pip-version-check"]
            install = [python, "-m", "pip", "install", *quiet, *PEERS]
            subprocess.run(install, check=True)
            ready.touch()
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"TransformerLens and nnsight are left out: they cannot be installed ({error})")
        return peers
    for name in PEERS:
        try:
            peers[name] = Peer(name, python, ids, threads)
        except (OSError, RuntimeError, IndexError) as error:
            print(f"{name} is left out: it does not run ({error})")
    return peers


# --- measurement ---------------------------------------------------------------------------


def seconds(way: Way, threads: int) -> float:
    # Ours gives each of its passes a share of them.
    torch.set_num_threads(threads)
    clock = time.process_time if threads == 1 else time.perf_counter
    began = clock()
    way()
    return clock() - began


def flops_per_token(trunk: torch.nn.Module, length: int) -> int:
    """Return the operations that norms of attention need: no head, and no MLP of the last block."""
    blocks = architectures.locate(trunk)
    width = trunk.config.hidden_size
    weights = sum(m.weight.numel() for b in blocks for m in linears_of(b.block))
    weights -= sum(m.weight.numel() for m in linears_of(blocks[-1].parts["mlp"][0]))
    # Scores and values: a token sees half of the sequence on average.
    return 2 * weights + len(blocks) * 2 * length * width


def linears_of(module: torch.nn.Module) -> list[torch.nn.Module]:
    return [m for m in module.modules() if isinstance(m, onednn.Linear)]


def product_rate(trunk: torch.nn.Module, threads: int) -> float:
    """Return operations per second of the faster product over the matrices of one block."""
    linears = linears_of(architectures.locate(trunk)[0].block)
    rows = 1024
    ways: dict[str, list[Way]] = {"torch": [], "oneDNN": []}
    with torch.inference_mode():
        for linear in linears:
            x, weight = torch.randn(rows, onednn.width_of(linear)), onednn.packed_weight(linear)
            ways["torch"].append(lambda linear=linear, x=x: linear.forward(x))
            ways["oneDNN"].append(lambda w=weight, x=x: onednn.product(x, weight=w, bias=None))
        best = min(
            seconds(lambda group=group: [way() for way in group], threads)
            for _ in range(3)
            for group in ways.values()
        )
    return 2 * rows * sum(linear.weight.numel() for linear in linears) / best


def report(times: dict[str, list[float]], count: int, rates: list[float], flops: int) -> None:
    """Print each way's median ratio to *c*, its speed, and its share of the bound."""
    base = np.array(times["c. trunk, hooks take norms"])
    for name, taken in times.items():
        speed = count / np.array(taken)
        share = np.median(speed * flops / np.array(rates))
        print(
            f"  {name:<46} {np.median(base / taken):5.2f} x c  {np.median(speed):9,.0f} tokens/s  "
            f"{share:4.0%} of the bound"
        )
    ours = np.array(times["attnlag"])
    for name, taken in times.items():
        if name != "attnlag":
            print(f"  attnlag / {name}: {np.median(np.array(taken) / ours):.2f}")


def uniform(kind: str, arguments: argparse.Namespace, folder: Path) -> None:
    """Print the speeds over sequences of one length."""
    threads = arguments.threads
    model = causal_model(kind)
    trunk = model.base_model
    generator = np.random.default_rng(0)
    ids = generator.integers(0, 49_000, (arguments.sequences, LENGTH))
    sequences = [row.astype(np.int32) for row in ids]
    per_batch = max(1, min(arguments.batch_tokens // LENGTH, len(ids)))
    in_batches = [ids[i : i + per_batch] for i in range(0, len(ids), per_batch)]

    def ours(trunk: torch.nn.Module, keep: str, fast: str) -> extraction.Extractor:
        return runner_of(trunk, arguments, sequences[0], keep, fast)

    print(f"{kind}, {len(ids)} x {LENGTH} tokens, batches of {per_batch}, {threads} threads")
    quick = copy.deepcopy(trunk)
    attnlag = ours(quick, "norms", "auto")
    vectors = ours(quick, "vectors", "off")  # of the same trunk, which is fast by now
    off = ours(trunk, "norms", "off")
    print(f"  float32: {attnlag.fast}, {attnlag.computed_by}")
    alone = [row[None] for row in ids]
    ways: dict[str, Way] = {
        "a. language model with logits, no hooks": plain(model, trunk, in_batches, None),
        "c. trunk, hooks take norms": plain(trunk, trunk, in_batches, norm),
        "notebook: text by text, logits, vectors kept": plain(model, trunk, alone, torch.clone),
        "attnlag, fast: off": lambda: off.measure(sequences),
        "attnlag": lambda: attnlag.measure(sequences),
        "attnlag, through Parquet": through_parquet(vectors, sequences, folder / "v.parquet"),
    }
    runners = {"float32": attnlag}
    if multiplies_bfloat16():
        bfloat16 = ours(copy.deepcopy(trunk).bfloat16(), "norms", "auto")
        print(f"  bfloat16: {bfloat16.fast}, {bfloat16.computed_by}")
        ways["attnlag, bfloat16"] = lambda: bfloat16.measure(sequences)
        runners["bfloat16"] = bfloat16
    peers = {}
    if arguments.peers and kind == "gpt2" and len(ids) % per_batch == 0:
        np.save(folder / "ids.npy", np.stack(in_batches))
        peers = peers_of(arguments.environment, folder / "ids.npy", threads)
    times: dict[str, list[float]] = {name: [] for name in (*ways, *peers)}
    rates = []
    measures = {name: lambda way=way: seconds(way, threads) for name, way in ways.items()}
    measures |= {name: other.seconds for name, other in peers.items()}
    for number in range(1, arguments.rounds + 1):
        rates.append(product_rate(trunk, threads))
        for name, measure in measures.items():
            times[name].append(measure())
            speed = ids.size / times[name][-1]
            print(f"  round {number} of {arguments.rounds}: {name:<46} {speed:9,.0f} tokens/s")
    for other in peers.values():
        other.close()
    report(times, ids.size, rates, flops_per_token(trunk, LENGTH))
    print(f"  products: {np.median(rates) / 1e9:.0f} GF/s")
    expected = norms_by(off, sequences)
    for name, runner in runners.items():
        apart = np.abs(norms_by(runner, sequences) / expected - 1)
        print(
            f"  norms, {name} against plain float32: {np.median(apart):.0e} (median), "
            f"{apart.max():.0e} (largest), relative"
        )


def multiplies_bfloat16() -> bool:
    """Tell whether the processor multiplies bfloat16 itself; others take ten times as long."""
    try:
        flags = Path("/proc/cpuinfo").read_text().split()
        return bool({"avx512_bf16", "amx_bf16"}.intersection(flags))
    except OSError:
        return False


def norms_by(runner: extraction.Extractor, sequences: list[np.ndarray]) -> np.ndarray:
    """Return norms (layers, tokens), float64."""
    return np.stack(runner.measure(sequences)["norms", "attention"]).astype(float)


def padded(sequences: list[np.ndarray]) -> np.ndarray:
    """Return sequences in one matrix, the rest -1."""
    ids = np.full((len(sequences), max(map(len, sequences))), -1)
    for row, sequence in zip(ids, sequences, strict=True):
        row[: len(sequence)] = sequence
    return ids


def mixed(kind: str, arguments: argparse.Namespace) -> None:
    """Print the speed over sequences of mixed length against plain batches in corpus order."""
    trunk = causal_model(kind).base_model
    sequences = random_sequences(arguments.sequences)
    total = sum(map(len, sequences))
    plainly_padded = [padded(sequences[i : i + 16]) for i in range(0, len(sequences), 16)]
    quick = runner_of(copy.deepcopy(trunk), arguments, sequences[0], "norms", "auto")
    in_order = plain(trunk, trunk, plainly_padded, norm)
    ratios = []
    for number in range(1, arguments.rounds + 1):
        plainly = seconds(in_order, arguments.threads)
        ratios.append(plainly / seconds(lambda: quick.measure(sequences), arguments.threads))
        print(f"  mixed lengths, round {number} of {arguments.rounds}: {ratios[-1]:.2f}")
    lengths = np.array([len(sequence) for sequence in sequences])
    ours = passes.batches(lengths, quick.passes.pass_tokens)
    cells = sum(len(batch) * lengths[batch].max() for batch in ours)
    print(
        f"{kind}, mixed lengths, {total:,} tokens: {np.median(ratios):.2f} times the tokens per "
        f"second of batches of 16 in corpus order ({1 - total / cells:.0%} padding against "
        f"{1 - total / sum(ids.size for ids in plainly_padded):.0%})"
    )


def few(rounds: int) -> None:
    """Print what `attnlag.measure` takes on 4 sequences, with its proofs, relative to *c*."""
    model = causal_model("gpt2")
    ids = np.random.default_rng(0).integers(0, 49_000, (4, LENGTH))
    words = {f"w{number}": number for number in range(49_000)}
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, "w0"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=made)
    texts = [" ".join(f"w{number}" for number in row) for row in ids]
    in_batches = plain(model.base_model, model.base_model, [ids], norm)
    ratios = []
    for number in range(1, rounds + 1):
        plainly = seconds(in_batches, 1)
        ours = seconds(lambda: attnlag.measure(model, tokenizer, texts, progress=False), 1)
        ratios.append(ours / plainly)
        print(f"  measure, round {number} of {rounds}: {ours:.2f} and {plainly:.2f} CPU s")
    print(f"measure, {ids.size:,} tokens: {np.median(ratios):.2f} x the CPU time of c")


# --- the whole program ---------------------------------------------------------------------


def written_shard(folder: Path, sequences: list[np.ndarray], name: str) -> Path:
    """Write a shard of tokens as the real program reads it."""
    rows = {
        "document": [f"d{i}" for i in range(len(sequences))],
        "window": [0] * len(sequences),
        "first_position": [0] * len(sequences),
        "input_ids": [sequence.tolist() for sequence in sequences],
        "char_start": [[0] * len(sequence) for sequence in sequences],
        "char_end": [[1] * len(sequence) for sequence in sequences],
        "special_in_text": [0] * len(sequences),
    }
    record = {"corpus": {"name": name}, "stages": {"tokens": {"shards": 1}}}
    record["tokens"] = {"tokens": sum(map(len, sequences))}
    shard = folder / f"{name}.parquet"
    tables.write_table(pa.table(rows, schema=tokens.SCHEMA), shard, record)
    return shard


def program(shard: Path, *options: str) -> subprocess.Popen[bytes]:
    """Start the real program on a shard; the model lies beside it."""
    made = {"vectors": [f"{shard}.out"], "stream": f"{shard}.stream"}
    none: dict[str, list[str]] = {name: [] for name in ("norms", "surprisal", "geometry", "heads")}
    chosen = {"folder": str(shard.with_name("model")), "device": "cpu", "batch_tokens": 4096}
    job = text_of(
        "extract_activations", {"tokens": shard}, made | none, {}, json.dumps(SETTINGS), chosen
    )
    command = [sys.executable, str(ROOT / "scripts/extract_activations.py"), "--job", job]
    return subprocess.Popen([*command, *options], stderr=subprocess.DEVNULL)


def peak_of_program(shard: Path) -> float:
    """Return the peak memory in MB of the real program over one shard."""
    running = program(shard)
    _, status, usage = os.wait4(running.pid, 0)
    assert status == 0
    return usage.ru_maxrss / 1024


def whole_program(model: torch.nn.Module, rounds: int) -> None:
    """Print how its peak grows with the shard, and what is faster: threads or jobs."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model.save_pretrained(folder / "model")
        files = {p.name: {"sha256": sha256_of(p)} for p in (folder / "model").iterdir()}
        record = {"name": "gpt2", "source": "path", "revision": None, "digest": "", "files": files}
        (folder / "model" / "source.json").write_text(json.dumps(record))
        one = peak_of_program(written_shard(folder, random_sequences(60), "one"))
        four = peak_of_program(written_shard(folder, random_sequences(240), "four"))
        print(
            f"memory: {one:,.0f} MB for a shard, {four:,.0f} MB for one four times as long "
            f"({four / one:.2f} times)"
        )
        cores = len(os.sched_getaffinity(0))
        shards = [written_shard(folder, random_sequences(60, i), f"s{i}") for i in range(cores)]
        ratios = []
        for _ in range(rounds):
            began = time.perf_counter()
            for shard in shards:
                assert program(shard, "--threads", str(cores)).wait() == 0
            in_turn, began = time.perf_counter() - began, time.perf_counter()
            running = [program(shard, "--threads", "1") for shard in shards]
            assert not any(job.wait() for job in running)
            ratios.append(in_turn / (time.perf_counter() - began))
            print(f"  jobs side by side, round {len(ratios)} of {rounds}: {ratios[-1]:.2f}")
        print(
            f"{cores} shards on {cores} cores: jobs of one thread, side by side, take "
            f"1 / {np.median(ratios):.2f} of the time of jobs of {cores} threads, one after another"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    cores = len(os.sched_getaffinity(0))
    parser.add_argument("--models", nargs="+", choices=["gpt2", "llama"], default=["gpt2", "llama"])
    parser.add_argument("--sequences", type=int, default=64)
    parser.add_argument("--batch-tokens", type=int, default=4096)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=cores, help="default: all")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="as --sequences 8 --rounds 2 --threads 1 --no-peers --no-program",
    )
    parser.add_argument("--few", action="store_true", help="only attnlag.measure on few tokens")
    parser.add_argument("--no-peers", dest="peers", action="store_false")
    parser.add_argument("--no-program", dest="program", action="store_false")
    parser.add_argument(
        "--environment",
        type=Path,
        default=ROOT / ".venv-bench" / "extraction",
        help="where TransformerLens and nnsight are installed, made if it is not there",
    )
    given = parser.parse_args()
    if given.few:
        torch.set_num_threads(1)
        few(given.rounds)
        sys.exit()
    if given.quick:
        given.sequences, given.rounds, given.threads = 8, 2, 1
        given.peers = given.program = False
    # A line as soon as it is known, to whatever it goes.
    sys.stdout.reconfigure(line_buffering=True)
    torch.set_num_threads(given.threads)
    with tempfile.TemporaryDirectory() as name:
        for kind in given.models:
            uniform(kind, given, Path(name))
            mixed(kind, given)
    if given.program:
        whole_program(causal_model("gpt2").base_model, given.rounds)
