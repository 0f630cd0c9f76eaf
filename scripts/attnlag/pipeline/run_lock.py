"""Locks of a run, which let plain ``snakemake`` continue after a run that was killed.

Snakemake locks the outputs of a run, and a killed run leaves its locks behind, so that the next run
would be refused. Each run therefore also holds an operating-system lock on ``HOLDER``, which is
released however the process ends. A run that obtains this lock exclusively may remove the locks of
a dead run.
"""

import fcntl
import os
import resource
import shutil
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from attnlag.errors import amount
from attnlag.storage.writing import leftovers

# The file that each run locks, with the name of the machine of the newest run.
HOLDER = Path(".snakemake/attnlag.lock")

RESULTS = ("results", "data/models")

# Bytes that the files of Snakemake may take, among them its log and its temporary files.
MIN_FILE = 1_000_000


def refuse_a_limit_of_files() -> None:
    """Exit with a line where files may not be large enough for Snakemake's own."""
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    if 0 <= limit < MIN_FILE:
        sys.exit(
            f"error: found a limit of {amount(limit)} for files (ulimit -f), expected at least "
            f"{amount(MIN_FILE)}"
        )


def clear_stale_locks() -> tuple[TextIO, bool]:
    """Remove the locks of a killed run in this folder; return the file, and whether we are alone.

    The lock is held while the file is open. Concurrent runs are possible if they make different
    files. Network file systems may not reveal the locks of other machines, so the locks of a run on
    another machine stay; ``snakemake --unlock`` removes them.
    """
    try:
        HOLDER.parent.mkdir(exist_ok=True)
        holder = HOLDER.open("a+")
    except OSError as error:
        folder = HOLDER.parent
        sys.exit(f"error: {folder}: found {error.strerror}, expected a folder that can be written")
    holder.seek(0)
    try:
        fcntl.flock(holder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        alone = True
    except OSError:
        # Another run holds the lock, or the file system does not support locks.
        alone = False
    locks = [*Path(".snakemake/locks").glob("*.lock")]
    if locks and holder.read() != socket.gethostname():
        alone = False
    if alone:
        for lock in locks:
            lock.unlink()
        # Written before this run takes locks, because it may be killed right after.
        holder.truncate(0)
        holder.write(socket.gethostname())
        holder.flush()
    with suppress(OSError):
        fcntl.flock(holder, fcntl.LOCK_SH | fcntl.LOCK_NB)
    return holder, alone


def remove_leftovers(alone: bool) -> None:
    """Remove the unfinished files of killed jobs, unless another run is active."""
    for folder in [path for results in RESULTS for path in leftovers(results) if alone]:
        shutil.rmtree(folder, ignore_errors=True)


def refuse_what_cannot_be_written() -> None:
    """Exit with a line for each folder that is not writable, before the first job starts."""
    problems = [
        f"error: {folder}: found a folder that is not writable, expected a writable one"
        for folder in ("results", "logs")
        if os.path.isdir(folder) and not os.access(folder, os.W_OK)
    ]
    if problems:
        sys.exit("\n".join(problems))
