"""The folder of a model: its files and their digests."""

import fnmatch
import hashlib
import json
import logging
import re
import shutil
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from attnlag.errors import UserError, amount, as_user_error, counted
from attnlag.section import NAME_PATTERN
from attnlag.storage.contents import remembered

log = logging.getLogger("attnlag")

# A folder needs one of these files, which contain the vocabulary.
VOCABULARY_PATTERNS = ("tokenizer.json", "vocab.json", "vocab.txt", "*.model")
# The files of a folder beside the weights.
SMALL_FILES = (
    *("config.json", "generation_config.json", "tokenizer_config.json", *VOCABULARY_PATTERNS),
    *("merges.txt", "special_tokens_map.json", "added_tokens.json"),
    *("chat_template.jinja", "chat_template.json"),
)
WEIGHTS = "model.safetensors"
WEIGHTS_INDEX = "model.safetensors.index.json"

ADAPTER = "adapter_config.json"

SOURCE_RECORD = "source.json"

# The settings that identify a model. A path does not, because it is specific to a machine.
IDENTIFYING = ("source", "repository", "package", "version", "file", "parts")

CONVERSION_ADVICE = (
    "pickles (.bin, .pt) run code when they are loaded, and are not read: if you trust one, "
    "convert it with transformers, "
    "AutoModelForCausalLM.from_pretrained(FOLDER).save_pretrained(FOLDER)"
)
OFFLINE_ADVICE = (
    "only fetch_model needs the network: run it where there is one and copy its folder here, "
    "or give the path of a local copy"
)


def may_be_taken(name: str) -> bool:
    """Return whether a file of a model's folder may be part of the model, by its name."""
    patterns = (*SMALL_FILES, WEIGHTS_INDEX, "*.safetensors")
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def verify_folder(folder: str | Path, *needed: str) -> dict[str, Any]:
    """Return the record of a folder that ``fetch_model`` created, after checking all its files.

    The content of every file is compared; one that has been read before is not read again. An older
    version of attnlag may have written a record without the entries that are ``needed``.

    Raise UserError if there is no record, or a file is missing or was changed.
    """
    folder = Path(folder)
    advice = "run 'snakemake --forcerun fetch_model' to make the folder anew"
    path = folder / SOURCE_RECORD
    if not path.exists():
        raise UserError(f"{path}: no such file; {advice}")
    with as_user_error(f"{path}: found a damaged file; {advice}", (ValueError,)):
        record = json.loads(path.read_text(encoding="utf-8"))
    digests = remembered(folder / file for file in record["files"])
    problems: list[str] = []
    for key in needed:
        if key not in record:
            problems.append(
                f"{path}: found no '{key}', expected a record of this version; {advice}"
            )
    for file, entry in record["files"].items():
        digest = digests.get(str(folder / file))
        if digest != entry["sha256"]:
            wrong = "was changed after it was fetched" if digest else "no such file"
            problems.append(f"{folder / file}: {wrong}; {advice}")
    if problems:
        raise UserError(problems)
    return record


def digest_of_weights(source: Mapping[str, Any]) -> str:
    """Return one digest of the weights of a folder, given its record."""
    digests: dict[str, str] = {}
    for name, entry in source["files"].items():
        if name.endswith(".safetensors"):
            digests[name] = entry["sha256"]
    return digest_of(digests)


def choose_files(names: Iterable[str], where: str, tokenizer: bool = True) -> list[str]:
    """Return the files to take from a folder or repository, all at its top level.

    They are the config, the tokenizer files and either ``model.safetensors`` or the index of
    sharded weights. Without ``tokenizer``, its files are not needed.

    Raise UserError if files that a model needs are missing, or if weights are not clear.
    """
    top = sorted(name for name in set(names) if "/" not in name and "\\" not in name)

    def matching(patterns: Iterable[str]) -> list[str]:
        chosen: list[str] = []
        for name in top:
            if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns):
                chosen.append(name)
        return chosen

    problems = []
    if "config.json" not in top:
        problems.append(f"{where} has no config.json")
    if tokenizer and not matching(VOCABULARY_PATTERNS):
        problems.append(
            f"{where} has no tokenizer files (expected tokenizer.json, vocab.json, vocab.txt "
            "or a .model file)"
        )
    problems += weights_problems(top, where)
    weights = next((file for file in (WEIGHTS_INDEX, WEIGHTS) if file in top), None)
    if weights is None:
        problems.append(f"{where} has no {WEIGHTS} and no {WEIGHTS_INDEX}; {CONVERSION_ADVICE}")
    if problems or weights is None:
        raise UserError(problems)
    return [*matching(SMALL_FILES), weights]


def weights_problems(names: Container[str], where: str) -> list[str]:
    """Return why it is not clear which weights are meant, given the names of a folder's files."""
    problems = []
    if WEIGHTS in names and WEIGHTS_INDEX in names:
        problems.append(
            f"{where} has {WEIGHTS} and {WEIGHTS_INDEX}, which may be different models; expected "
            "one of the two"
        )
    if ADAPTER in names:
        problems.append(
            f"{where} has an adapter ({ADAPTER}), which is not applied; expected a model with the "
            "adapter merged into its weights, as PEFT's merge_and_unload does, or none"
        )
    return problems


def shard_names(index: Path, where: str) -> list[str]:
    """Return the files that an index of sharded weights names.

    The names come from outside and become paths, so each must be a plain file name, or UserError.
    """
    try:
        shards = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"{where}: {WEIGHTS_INDEX} has no readable 'weight_map'") from None
    for shard in shards:
        if not re.fullmatch(rf"{NAME_PATTERN}\.safetensors", str(shard)) or ".." in shard:
            raise UserError(
                f"{where}: {WEIGHTS_INDEX} names {shard!r}, expected a plain name that ends in "
                ".safetensors"
            )
    return shards


def take_files(
    source: Path,
    folder: Path,
    where: str,
    place: Callable[[Path, Path], object] = shutil.copyfile,
    tokenizer: bool = True,
) -> None:
    """Put the files of a model (see `choose_files`) into a folder: copy or link each.

    Raise UserError if files are missing, or one is a link to what is not part of the model.
    """
    names = {entry.name for entry in source.iterdir() if entry.is_file()}
    files = choose_files(names, where, tokenizer)
    if WEIGHTS_INDEX in files:
        files += shard_names(source / WEIGHTS_INDEX, where)
    missing = [file for file in files if file not in names]
    if missing:
        raise UserError(f"{where} has no {missing[0]}, which {WEIGHTS_INDEX} names")
    problems = []
    for file in files:
        target = (source / file).resolve()
        if not _may_hold(source, target):
            problems.append(
                f"{where}: {file} is a link to {target}, outside of the folder; expected a file in "
                "it"
            )
    if problems:
        raise UserError(problems)
    size = sum((source / file).stat().st_size for file in files)
    log.info("taking %s from %s (%s)", counted(len(files), "file"), where, amount(size))
    for file in files:
        place(source / file, folder / file)


def _may_hold(folder: Path, file: Path) -> bool:
    """Return whether a resolved file is in a folder, or where the hub's cache keeps its files.

    A snapshot in that cache, ``MODEL/snapshots/COMMIT``, has links into ``MODEL/blobs``.
    """
    folder = folder.resolve()
    in_cache = folder.parent.name == "snapshots" and file.parent == folder.parents[1] / "blobs"
    return in_cache or file.is_relative_to(folder)


def stored_tensors(folder: Path) -> Iterator[tuple[str, str, list[int]]]:
    """Yield name, kind of numbers and shape of each tensor, from the headers of weights files."""
    from safetensors import SafetensorError, safe_open

    for path in sorted(folder.glob("*.safetensors")):
        problem = f"{path.name} is no readable safetensors file"
        with as_user_error(problem, (SafetensorError,)), safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 (not a mapping)
                tensor = file.get_slice(name)
                yield name, tensor.get_dtype(), tensor.get_shape()


def digest_of(digests: Mapping[str, str]) -> str:
    """Return the SHA-256 of a set of files: that of their sorted ``name sha256`` lines."""
    lines = "".join(f"{name} {sha256}\n" for name, sha256 in sorted(digests.items()))
    return hashlib.sha256(lines.encode()).hexdigest()
