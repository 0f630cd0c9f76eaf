"""Models from the Hugging Face hub."""

import contextlib
import logging
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from attnlag.errors import UserError, counted
from attnlag.model import offline
from attnlag.model.folder import (
    OFFLINE_ADVICE,
    WEIGHTS_INDEX,
    choose_files,
    is_weights,
    megabytes,
    sha256_of,
    shard_names,
)

log = logging.getLogger("attnlag")

COMMIT_PATTERN = r"[0-9a-f]{40}"

HUB_TIMEOUT_SECONDS = 30


def from_hub(settings: Mapping[str, Any], folder: Path) -> dict[str, Any]:
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
        megabytes(sum(sizes[file] or 0 for file in chosen)),
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
    if is_weights(target.name):
        # It fails on another file system, or on one without hard links.
        with contextlib.suppress(OSError):
            os.link(cached.resolve(), target)
            return
    shutil.copyfile(cached, target)
