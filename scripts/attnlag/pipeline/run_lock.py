"""Locks of a run, which let plain ``snakemake`` continue after a run that was killed.

Snakemake locks what a run makes, and a run that is killed leaves its locks behind, so that the
next one would be refused. Each run therefore holds an operating-system lock on
``RUN_RECORD``, which ends with the process however the process ends. A run that obtains it
exclusively may remove the locks of a dead run.
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
    """Remove the locks that a killed run has left in this folder.

    File systems that span machines may not tell whether another machine holds a lock, so what a
    run on another machine has left stays, for ``snakemake --unlock``.

    Returns
    -------
    record : file
        The record. Its lock is held as long as it is open.
    alone : bool
        Whether this is the only run in the folder. Two runs side by side go well as long as they
        make other files.
    """
    RUN_RECORD.parent.mkdir(exist_ok=True)
    record = RUN_RECORD.open("a+")
    try:
        fcntl.flock(record, fcntl.LOCK_EX | fcntl.LOCK_NB)
        alone = True
    except OSError:
        # Another run holds it, or the file system has no locks.
        alone = False
    record.seek(0)
    machine, mark = [*record.read().split(), "", ""][:2]
    locks = [*Path(".snakemake/locks").glob("*.lock")]
    if locks and machine != socket.gethostname():
        alone = False
    if alone:
        for lock in locks:
            lock.unlink()
        # Before this run has locks of its own: it may be killed as soon as it has them.
        _write(record, mark or "none")
    with suppress(OSError):
        fcntl.flock(record, fcntl.LOCK_SH | fcntl.LOCK_NB)
    return record, alone


def begin_run(record: TextIO, alone: bool) -> None:
    """Mark this run as the newest, so that jobs of a killed one write nothing more.

    Files that such jobs have begun to write are removed. If several runs are active at the same
    time, only the first has a mark.
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
    """Write down which machine the newest run is on, and its mark."""
    record.truncate(0)
    record.write(f"{socket.gethostname()} {mark}")
    record.flush()


def refuse_what_cannot_be_written() -> None:
    """End with a line for each folder that may not be written, before the first job is started."""
    problems = [
        f"error: {folder}: found a folder that may not be written, expected one that may"
        for folder in ("results", "logs")
        if os.path.isdir(folder) and not os.access(folder, os.W_OK)
    ]
    if problems:
        sys.exit("\n".join(problems))
