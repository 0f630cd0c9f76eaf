"""Digests of files, which are remembered as long as the file system says that a file is the same.

A file is read once. Its size, its times of change and its number on the disk tell whether it may
have changed since; the last of these times cannot be set by a user, so a file that is replaced by
an older one, as ``cp -p``, ``mv`` and ``rsync -a`` do, is read again.
"""

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tqdm import tqdm

from attnlag.storage.writing import write_text

# Only the folders of runs have Snakemake's own; elsewhere nothing is remembered.
MEMORY = Path(".snakemake/attnlag.digests.json")


def sha256_of(path: str | Path) -> str:
    """Return the SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digests(paths: Iterable[str | Path]) -> dict[str, str]:
    """Return the SHA-256 of files by path, each read by a thread; missing files have none."""
    # The largest files come first, which balances the threads.
    sizes = {}
    for path in paths:
        if os.path.isfile(path):
            sizes[str(path)] = os.path.getsize(path)
    ordered = sorted(sizes, key=sizes.__getitem__, reverse=True)
    digest_of = {}
    with (
        ThreadPoolExecutor(os.cpu_count()) as threads,
        tqdm(total=sum(sizes.values()), unit="B", unit_scale=True, desc="digests", delay=2) as bar,
    ):
        for path, digest in zip(ordered, threads.map(sha256_of, ordered), strict=True):
            digest_of[path] = digest
            bar.update(sizes[path])
    return digest_of


def remembered(paths: Iterable[str | Path]) -> dict[str, str]:
    """Return the SHA-256 of files as ``digests`` does; read only those that may have changed."""
    states = {}
    for path in paths:
        if os.path.isfile(path):
            states[str(path)] = _state(path)
    memory = recalled(MEMORY)
    unchanged = {}
    for path, state in states.items():
        old_state, digest = memory.get(os.path.abspath(path), (None, ""))
        if old_state == state:
            unchanged[path] = digest
    fresh = digests(states.keys() - unchanged.keys())
    if fresh:
        # Another process may have added files meanwhile; what it adds now is read again.
        memory = recalled(MEMORY)
        for path, digest in fresh.items():
            # A file that was changed just now may be changed again within a tick of the clock.
            if time.time_ns() - states[path][2] > 1e9:
                memory[os.path.abspath(path)] = [states[path], digest]
        remember(memory, MEMORY)
    return unchanged | fresh


def digests_in_words(*paths: str) -> str:
    """Return the digests of files as one text; a job on another machine may not have them."""
    found = remembered(paths)
    return " ".join(found.get(path, "missing") for path in paths)


def _state(path: str | Path) -> list[int]:
    """Return what changes with a file's content."""
    status = os.stat(path)
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]


def recalled(memory: Path) -> dict[str, Any]:
    """Return what `remember` has kept in a file; nothing if there is none that can be read."""
    try:
        return json.loads(memory.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def remember(facts: dict[str, Any], memory: Path) -> None:
    """Keep facts in a file, if its folder exists and can be written to."""
    if memory.parent.is_dir():
        with contextlib.suppress(OSError):
            write_text(json.dumps(facts), memory)
