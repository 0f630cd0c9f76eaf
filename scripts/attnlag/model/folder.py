"""The folder of a model: which files it has, and their digests."""

import fnmatch
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from attnlag.errors import UserError
from attnlag.storage.names import NAME_PATTERN

SETTINGS_FILES = ("config.json", "generation_config.json")

# One of these must be there; without it there is no vocabulary.
VOCABULARY_PATTERNS = ("tokenizer.json", "vocab.json", "vocab.txt", "*.model")
TOKENIZER_PATTERNS = (
    *VOCABULARY_PATTERNS,
    "merges.txt",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
)
WEIGHTS = "model.safetensors"
WEIGHTS_INDEX = "model.safetensors.index.json"

# What other programs leave as weights: recognised only to say why they are not used.
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")
OTHER_WEIGHTS = (
    *PICKLES,
    "*.ckpt.index",
    "*.h5",
    "*.msgpack",
    "*.onnx",
    "*.gguf",
    "*.safetensors",
)

# training_args.bin and its like match OTHER_WEIGHTS, but hold no weights.
NOT_WEIGHTS = ("training_args.bin", "optimizer.*", "scheduler.*", "rng_state*")

SOURCE_RECORD = "source.json"

CONVERSION_ADVICE = (
    "pickles run code when they are loaded: if you trust this one, convert it with transformers, "
    "AutoModelForCausalLM.from_pretrained(FOLDER).save_pretrained(FOLDER)"
)
OFFLINE_ADVICE = (
    "only fetch_model needs the network: run it where there is one and copy its folder here, "
    "or give a local copy with 'source: path'"
)


def verify_folder(folder: str | Path) -> dict[str, Any]:
    """Check that a folder is one that ``fetch_model`` made and that its files are all there.

    Names and sizes are compared, which costs next to nothing at the start of a stage, and the
    digests of files that were written after the record was.

    Returns
    -------
    dict
        The content of ``source.json``.

    Raises
    ------
    UserError
        ``source.json`` or a listed file is missing, or a file is not the one that was fetched.
    """
    folder = Path(folder)
    advice = "run 'snakemake --forcerun fetch_model' to make the folder anew"
    path = folder / SOURCE_RECORD
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        listed = {
            file: (int(entry["bytes"]), str(entry["sha256"]))
            for file, entry in record["files"].items()
        }
        written = path.stat().st_mtime_ns
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; {advice}") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"{path}: not a record that fetch_model wrote; {advice}") from None
    problems = []
    for file, (size, sha256) in listed.items():
        if not (folder / file).is_file():
            problems.append(f"{folder / file}: no such file; {advice}")
            continue
        found = (folder / file).stat()
        if found.st_size != size:
            problems.append(
                f"{folder / file}: has {found.st_size:,} bytes, expected {size:,}; {advice}"
            )
        elif found.st_mtime_ns > written and sha256_of(folder / file) != sha256:
            problems.append(f"{folder / file}: was changed after it was fetched; {advice}")
    if problems:
        raise UserError(problems)
    return record


def choose_files(names: Iterable[str], where: str) -> list[str]:
    """Return the files to take from a folder or repository that holds ``names``.

    They are the config, the tokenizer files and either the index of sharded weights (the
    shards follow from it, see ``shard_names``) or ``model.safetensors``; all at the top level.

    Parameters
    ----------
    names : iterable of str
        File names, with ``/`` for those in subfolders, which are passed over.
    where : str
        What the folder is called in messages.

    Raises
    ------
    UserError
        The config, the weights as safetensors or the tokenizer is missing.
    """
    top = sorted(name for name in set(names) if "/" not in name and "\\" not in name)

    def matching(patterns: Iterable[str]) -> list[str]:
        return [n for n in top if any(fnmatch.fnmatchcase(n, pattern) for pattern in patterns)]

    problems = []
    if "config.json" not in top:
        problems.append(f"{where} has no config.json")
    if not matching(VOCABULARY_PATTERNS):
        problems.append(
            f"{where} has no tokenizer files (expected tokenizer.json, vocab.json, vocab.txt "
            "or a .model file)"
        )
    weights = next((file for file in (WEIGHTS_INDEX, WEIGHTS) if file in top), None)
    if weights is None:
        unusable = set(matching(OTHER_WEIGHTS)) - set(matching(NOT_WEIGHTS))
        found = f"has only {', '.join(sorted(unusable))}" if unusable else "has no weights"
        advice = f"; {CONVERSION_ADVICE}" if unusable & set(matching(PICKLES)) else ""
        problems.append(f"{where} {found}, expected {WEIGHTS} or {WEIGHTS_INDEX}{advice}")
    if problems or weights is None:
        raise UserError(problems)
    return [*matching((*SETTINGS_FILES, *TOKENIZER_PATTERNS)), weights]


def shard_names(index: Path, names: Iterable[str], where: str) -> list[str]:
    """Return the files that an index of sharded weights names.

    The names come from outside and become paths, so each must be a plain file name.

    Raises
    ------
    UserError
        The index is not one, names something that is no plain safetensors file, or names a
        file that is not among ``names``.
    """
    try:
        shards = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"{where}: {WEIGHTS_INDEX} has no readable 'weight_map'") from None
    available = set(names)
    problems = []
    for shard in shards:
        if not re.fullmatch(rf"{NAME_PATTERN}\.safetensors", str(shard)) or ".." in shard:
            problems.append(
                f"{where}: {WEIGHTS_INDEX} names {shard!r}, expected a plain name that ends in "
                ".safetensors"
            )
        elif shard not in available:
            problems.append(f"{where} has no {shard}, which {WEIGHTS_INDEX} names")
    if not shards:
        problems.append(f"{where}: {WEIGHTS_INDEX} names no files")
    if problems:
        raise UserError(problems)
    return shards


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_of(digests: Mapping[str, str]) -> str:
    """Return one SHA-256 for a set of files: that of their sorted ``name sha256`` lines."""
    lines = "".join(f"{name} {sha256}\n" for name, sha256 in sorted(digests.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def is_weights(file: str) -> bool:
    return file.endswith(".safetensors")


def megabytes(size: int) -> str:
    return f"{size / 1e6:,.0f} MB" if size >= 1e6 else f"{size / 1e3:,.0f} kB"
