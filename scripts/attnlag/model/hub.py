"""Models from the Hugging Face hub."""

import contextlib
import glob
import hashlib
import logging
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from attnlag.errors import UserError
from attnlag.model import offline
from attnlag.model.folder import (
    OFFLINE_ADVICE,
    SMALL_FILES,
    WEIGHTS,
    WEIGHTS_INDEX,
    shard_names,
    take_files,
    weights_problems,
)
from attnlag.storage.contents import sha256_of
from attnlag.storage.writing import is_disk_full

log = logging.getLogger("attnlag")

COMMIT_PATTERN = r"[0-9a-f]{40}"
HUB_TIMEOUT_SECONDS = 30


Kind = Literal["model", "dataset"]


@dataclass(frozen=True)
class Facts:
    """What is known of a revision of a repository."""

    repository: str
    kind: Kind
    commit: str
    licence: str | None = None
    # Names of the repository's files; none if the hub was not reached.
    names: frozenset[str] = frozenset()


def from_hub(settings: Mapping[str, Any], folder: Path, tokenizer: bool = True) -> dict[str, Any]:
    """Fill ``folder`` from a repository of the hub, and return the commit and the licence.

    Without ``tokenizer``, the repository need not have its files.

    Raise UserError if the repository, its revision or its files cannot be read, or if it is no
    complete model.
    """
    repository = settings["repository"]
    with offline.lifted(), problems_in_words(repository, settings["revision"]):
        facts = commit_facts(repository, settings["revision"])
        where = f"{repository} at {facts.commit}"
        problems = weights_problems(set(facts.names), where)
        if problems:
            raise UserError(problems)
        log.info("fetching %s", where)
        small = [*SMALL_FILES, WEIGHTS_INDEX]
        index = downloaded(facts, small) / WEIGHTS_INDEX
        weights = shard_names(index, where) if index.exists() else [WEIGHTS]
        snapshot = downloaded(facts, [glob.escape(file) for file in weights])
    take_files(snapshot, folder, where, _place, tokenizer)
    return {"revision": facts.commit, "license": facts.licence}


def commit_facts(repository: str, revision: str) -> Facts:
    """Return the facts of a revision of a model.

    If the hub cannot be reached, a commit may still be in the client's cache.
    """
    try:
        return listed_facts(repository, revision, "model")
    except Exception as error:
        if not re.fullmatch(COMMIT_PATTERN, revision):
            raise
        log.info("%s; looking for this commit in the local cache", _first_line(error))
        return Facts(repository, "model", revision)


def listed_facts(repository: str, revision: str, kind: Kind) -> Facts:
    """Return the commit of a revision, the licence, and the names of the repository's files."""
    from huggingface_hub import HfApi

    info: Any = HfApi(library_name="attnlag").repo_info(
        repository, revision=revision, repo_type=kind, timeout=HUB_TIMEOUT_SECONDS
    )
    # The commit becomes part of a path in the cache.
    if not re.fullmatch(COMMIT_PATTERN, info.sha or ""):
        raise ValueError("no commit in the facts of the repository")
    names = frozenset(file.rfilename for file in info.siblings or ())
    licence = getattr(info.card_data, "license", None)
    return Facts(repository, kind, str(info.sha), licence, names)


def downloaded(facts: Facts, patterns: Sequence[str]) -> Path:
    """Return the folder of a commit in the client's cache, with these files downloaded.

    Raise UserError if a file arrives damaged twice.
    """
    from huggingface_hub import snapshot_download

    # A cached file may be damaged; a second attempt replaces it.
    for force_download in (False, True):
        snapshot = Path(
            snapshot_download(
                facts.repository,
                revision=facts.commit,
                repo_type=facts.kind,
                allow_patterns=list(patterns),
                force_download=force_download,
                library_name="attnlag",
            )
        )
        files = [path for pattern in patterns for path in snapshot.glob(pattern)]
        damaged = [path.name for path in files if _is_damaged(path)]
        if not damaged:
            return snapshot
    raise UserError(
        f"{damaged[0]} of {facts.repository} at {facts.commit} arrived damaged: found another "
        "digest than the one that the hub states; run it again"
    )


def _is_damaged(path: Path) -> bool:
    """Return whether a cached file differs from the content that the hub stated.

    The client compares only sizes. Its cache names large files by SHA-256 and small files by their
    git digest.
    """
    blob = path.resolve()
    if re.fullmatch("[0-9a-f]{64}", blob.name):
        return sha256_of(blob) != blob.name
    if re.fullmatch("[0-9a-f]{40}", blob.name):
        content = blob.read_bytes()
        header = f"blob {len(content)}\0".encode()
        return hashlib.sha1(header + content, usedforsecurity=False).hexdigest() != blob.name
    return False


def _place(cached: Path, target: Path) -> None:
    """Put a file of the hub's cache into the folder.

    Weights become hard links if possible; small text files are copied, as users may edit them.
    """
    if target.suffix == ".safetensors":
        # Linking fails across file systems, or on one without hard links.
        with contextlib.suppress(OSError):
            os.link(cached.resolve(), target)
            return
    shutil.copyfile(cached, target)


@contextlib.contextmanager
def problems_in_words(repository: str, revision: str, kind: Kind = "model") -> Iterator[None]:
    """Turn errors of the hub's client into a UserError of one sentence."""
    from huggingface_hub import constants, errors

    endpoint = constants.ENDPOINT
    page = f"{endpoint}/{repository}"
    noun = "repository"
    advice = OFFLINE_ADVICE
    if kind == "dataset":
        page = f"{endpoint}/datasets/{repository}"
        noun = "data set"
        advice = (
            "only fetch_dataset needs the network: run it where there is one and copy "
            "data/datasets here, or give files of your own"
        )
    log_in = "log in with 'hf auth login' or set HF_TOKEN"
    sentences = {
        errors.GatedRepoError: f"{repository} is gated: accept its terms at {page}, then {log_in}",
        errors.RevisionNotFoundError: f"{repository} has no revision '{revision}' at {endpoint}; "
        "expected a commit, tag or branch",
        errors.RepositoryNotFoundError: f"there is no {noun} '{repository}' at {endpoint}, or "
        f"it is private: check the name, or {log_in}",
    }
    try:
        yield
    # The client also raises errors of its libraries and of unexpected answers.
    except (OSError, ValueError, TypeError, KeyError, errors.HTTPError) as error:
        if is_disk_full(error):
            raise
        for error_type, sentence in sentences.items():
            if isinstance(error, error_type):
                raise UserError(sentence) from error
        raise UserError(
            f"{endpoint} does not give {repository} at '{revision}' "
            f"({_first_line(error.__cause__ or error)}); {advice}"
        ) from error


def _first_line(error: BaseException) -> str:
    return next((line for line in str(error).splitlines() if line.strip()), "no details")
