"""Models from the Hugging Face hub."""

import contextlib
import glob
import hashlib
import logging
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
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
    """Fill ``folder`` from a repository of the hub, through the hub client's own cache.

    Of the repository only the files that `choose_files` names are downloaded.

    Returns
    -------
    dict
        The commit and the licence.
    """
    repository, revision = settings["repository"], settings["revision"]
    with offline.lifted(), _problems_in_words(repository, revision):
        commit, sizes, facts = _listing(repository, revision)
        where = f"{repository} at {commit}"
        chosen = choose_files(sizes, where)
        if WEIGHTS_INDEX in chosen:
            index = _downloaded(repository, commit, [WEIGHTS_INDEX]) / WEIGHTS_INDEX
            chosen += shard_names(index, sizes, where)
        size = megabytes(sum(sizes[file] for file in chosen))
        log.info("fetching %s of %s (%s)", counted(len(chosen), "file"), where, size)
        snapshot = _downloaded(repository, commit, chosen)
    for file in chosen:
        _place(snapshot / file, folder / file)
    return {"revision": commit, **facts}


def _listing(repository: str, revision: str) -> tuple[str, dict[str, int], dict[str, Any]]:
    """Return the commit, the sizes of its files, and what else is known: the licence.

    When the hub is out of reach, a commit that an earlier run left in the client's cache
    stands in for it. A branch or tag does not: what it points to now is not known here.
    """
    from huggingface_hub import HfApi, constants, try_to_load_from_cache

    try:
        info = HfApi(library_name="attnlag").model_info(
            repository, revision=revision, files_metadata=True, timeout=HUB_TIMEOUT_SECONDS
        )
    except (KeyError, TypeError) as error:
        raise ValueError("not the facts of a repository") from error
    except Exception as error:
        reason = _out_of_reach(error, constants.ENDPOINT)
        if not reason or not re.fullmatch(COMMIT_PATTERN, revision):
            raise
        config = try_to_load_from_cache(repository, "config.json", revision=revision)
        if not isinstance(config, str):
            raise
        log.info("%s; using the copy of this commit in the local cache", reason)
        cached = Path(config).parent.iterdir()
        return revision, {path.name: path.stat().st_size for path in cached if path.is_file()}, {}
    # It becomes part of a path in the cache.
    if not re.fullmatch(COMMIT_PATTERN, info.sha or ""):
        raise UserError(f"{repository}: the hub gave no commit for revision '{revision}'")
    sizes = {entry.rfilename: entry.size or 0 for entry in info.siblings or []}
    return str(info.sha), sizes, {"license": getattr(info.card_data, "license", None)}


def _downloaded(repository: str, commit: str, files: Sequence[str]) -> Path:
    """Return the folder of a commit in the client's cache, once these files are in it."""
    from huggingface_hub import snapshot_download

    wanted = list(files)
    # A file that was in the cache may be damaged: a second attempt replaces it.
    for force_download in (False, True):
        patterns = [glob.escape(file) for file in wanted]
        snapshot = Path(
            snapshot_download(
                repository,
                revision=commit,
                allow_patterns=patterns,
                force_download=force_download,
                library_name="attnlag",
            )
        )
        wanted = [file for file in wanted if _is_damaged(snapshot / file)]
        if not wanted:
            return snapshot
    raise UserError(
        f"{wanted[0]} of {repository} at {commit} arrived damaged: found another digest than the "
        "one that the hub states; run it again"
    )


def _is_damaged(path: Path) -> bool:
    """Tell whether a file of the cache has another content than the hub stated for it.

    The client compares sizes only. Its cache names a large file by its SHA-256, and a small one
    by the digest that git gives it.
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

    Weights become a hard link where that is possible: they are large, and nothing edits them
    in place. The small text files are copied, since people do edit those.
    """
    if is_weights(target.name):
        # It fails on another file system, or on one without hard links.
        with contextlib.suppress(OSError):
            os.link(cached.resolve(), target)
            return
    shutil.copyfile(cached, target)


@contextlib.contextmanager
def _problems_in_words(repository: str, revision: str) -> Iterator[None]:
    """Turn what the hub's client raises into one sentence for the user."""
    from huggingface_hub import constants, errors

    endpoint = constants.ENDPOINT
    try:
        yield
    except Exception as raised:
        error: BaseException = raised
        # The client wraps the reason for which files could not be looked up.
        if isinstance(error, errors.LocalEntryNotFoundError) and error.__cause__:
            error = error.__cause__
        first_line = _first_line(error)
        if isinstance(error, errors.GatedRepoError):
            raise UserError(
                f"{repository} is gated: accept its terms at {endpoint}/{repository}, then log in "
                "with 'hf auth login' or set HF_TOKEN"
            ) from error
        if isinstance(error, errors.RevisionNotFoundError):
            raise UserError(
                f"{repository} has no revision '{revision}' at {endpoint}; expected a commit, tag "
                "or branch"
            ) from error
        if isinstance(error, errors.RepositoryNotFoundError):
            raise UserError(
                f"there is no repository '{repository}' at {endpoint}, or it is private: check the "
                "name, or log in with 'hf auth login' or set HF_TOKEN"
            ) from error
        if isinstance(error, errors.RemoteEntryNotFoundError):
            file = error.response.url.path.rpartition("/")[2]
            raise UserError(
                f"{endpoint} lists {file} of {repository} but does not have it"
            ) from error
        if reason := _out_of_reach(error, endpoint):
            raise UserError(
                f"{reason}, and the local cache has no complete copy of {repository} at "
                f"'{revision}'; {OFFLINE_ADVICE}"
            ) from error
        if isinstance(error, errors.HfHubHTTPError):
            status = error.response.status_code
            raise UserError(
                f"the hub at {endpoint} answered {status} for {repository}: {first_line}"
            ) from error
        if isinstance(error, errors.HFValidationError):
            raise UserError(first_line) from error
        if isinstance(error, OSError) and "Consistency check failed" in str(error):
            raise UserError(f"a download from {endpoint} broke off: {first_line}") from error
        answers = (ValueError, errors.FileMetadataError, errors.LocalEntryNotFoundError)
        if isinstance(error, answers):
            raise UserError(
                f"{endpoint} does not answer like a hub; check HF_ENDPOINT and the proxy"
            ) from error
        raise


def _out_of_reach(error: BaseException, endpoint: str) -> str | None:
    """Return why the hub says nothing about a repository; None if the error is about that."""
    from huggingface_hub import errors

    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, errors.OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set"
    if status == 429:
        return (
            f"the hub at {endpoint} answered 429 (too many requests; a token raises the limit); "
            "try again later"
        )
    if status is not None and status >= 500:
        return f"the hub at {endpoint} answered {status}; try again later"
    if status is None and isinstance(error, errors.HTTPError):
        return f"the hub at {endpoint} is out of reach ({_first_line(error)})"
    return None


def _first_line(error: BaseException) -> str:
    return next((line for line in str(error).splitlines() if line.strip()), "no details")
