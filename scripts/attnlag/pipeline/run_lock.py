"""Locks of a run, which let plain ``snakemake`` continue after a run that was killed.

Snakemake locks the outputs of a run, and a killed run leaves its locks behind, so that the next run
would be refused. Each run therefore also holds an operating-system lock on ``RUN_RECORD``, which is
released however the process ends. A run that obtains this lock exclusively may remove the locks of
a dead run.
"""

import fcntl
import os
import shutil
import socket
import sys
import uuid
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from attnlag.storage.writing import RUN_RECORD, RUN_VARIABLE, leftovers

RESULTS = ("results", "data/models")


def clear_stale_locks() -> tuple[TextIO, bool]:
    """Remove the locks of a killed run in this folder; return the record, and whether we are alone.

    The record holds the lock while it is open. Concurrent runs are possible if they make different
    files. Network file systems may not reveal the locks of other machines, so the locks of a run on
    another machine stay; ``snakemake --unlock`` removes them.
    """
    RUN_RECORD.parent.mkdir(exist_ok=True)
    # Opened for reading and writing, created if it does not exist.
    record = os.fdopen(os.open(RUN_RECORD, os.O_RDWR | os.O_CREAT, 0o666), "r+")
    try:
        fcntl.flock(record, fcntl.LOCK_EX | fcntl.LOCK_NB)
        alone = True
    except OSError:
        # Another run holds the lock, or the file system does not support locks.
        alone = False
    record.seek(0)
    machine, mark = [*record.read().split(), "", ""][:2]
    locks = [*Path(".snakemake/locks").glob("*.lock")]
    if locks and machine != socket.gethostname():
        alone = False
    if alone:
        for lock in locks:
            lock.unlink()
        # The mark is written before this run takes locks, because it may be killed right after.
        _write(record, mark or "none")
    with suppress(OSError):
        fcntl.flock(record, fcntl.LOCK_SH | fcntl.LOCK_NB)
    return record, alone


def begin_run(record: TextIO, alone: bool) -> None:
    """Mark this run as the newest, so that jobs of a killed run write nothing more.

    Unfinished files of such jobs are removed. If several runs are active at the same time, only the
    first has a mark.
    """
    os.environ.pop(RUN_VARIABLE, None)
    if not alone:
        return
    mark = uuid.uuid4().hex
    _write(record, mark)
    os.environ[RUN_VARIABLE] = mark
    for results in RESULTS:
        for folder in leftovers(results):
            shutil.rmtree(folder, ignore_errors=True)


def _write(record: TextIO, mark: str) -> None:
    """Record the machine and the mark of the newest run.

    The record is never empty, not even for a moment in which the run may be killed.
    """
    record.seek(0)
    record.write(f"{socket.gethostname()} {mark}")
    # This writes what is buffered first.
    record.truncate()


def refuse_what_cannot_be_written() -> None:
    """Exit with a line for each folder that is not writable, before the first job starts."""
    problems = [
        f"error: {folder}: found a folder that is not writable, expected a writable one"
        for folder in ("results", "logs")
        if os.path.isdir(folder) and not os.access(folder, os.W_OK)
    ]
    if problems:
        sys.exit("\n".join(problems))
