"""Files and folders that appear whole or not at all, whatever becomes of their writer.

What is being written lies in a hidden folder beside the target, ``.{name}.????????.tmp``, and takes
the target's place at the end. As long as the writer lives it holds a lock of the system's on a
file in that folder, so that the next writer of the same target can tell what a dead one has left,
and removes it.

A run of snakemake that is killed may leave jobs behind that live on. The next run makes their
results anew, perhaps with other settings: it puts a mark of its own in ``RUN_RECORD``, and a job
that was begun under another mark writes nothing any more. Where a job does not see that file, on
another machine, or has no mark, run by hand, it just writes. Nor does a program write whose shell
was killed: its job counts as failed, and a result would be one that Snakemake has no record of.
"""

import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from attnlag.errors import UserError
from attnlag.storage.memory import amount

# The mark of the run that a job belongs to, and where that of the newest run stands, last.
RUN_VARIABLE = "ATTNLAG_RUN"

RUN_RECORD = Path(".snakemake/attnlag.lock")

# The process of the shell that runs a job's program, see workflow/begin_job.sh.
SHELL_VARIABLE = "ATTNLAG_SHELL"

LOCK = ".lock"


@contextmanager
def written_whole(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path that takes the place of ``path`` if the block succeeds.

    On an exception the temporary file is removed and the target stays as it was. Two writers of
    one target do not mix their bytes.

    Raises
    ------
    UserError
        The disk is full, or nobody waits for this job any more.
    """
    path = Path(path)
    with _workplace(path) as folder:
        yield folder / path.name
        _refuse_if_abandoned(path)
        os.replace(folder / path.name, path)


@contextmanager
def replaced_whole(target: str | Path) -> Iterator[Path]:
    """Yield a fresh folder that takes the place of ``target`` if the block succeeds.

    An existing folder is moved aside first and deleted last. On an exception the new folder is
    removed and the target stays as it was.

    Raises
    ------
    UserError
        The disk is full, or nobody waits for this job any more.
    """
    target = Path(target)
    with _workplace(target) as folder:
        fresh, old = folder / target.name, folder / ".old"
        fresh.mkdir()
        yield fresh
        _refuse_if_abandoned(target)
        if os.path.lexists(target):
            os.rename(target, old)
        try:
            os.rename(fresh, target)
        except BaseException:
            if os.path.lexists(old):
                os.rename(old, target)
            raise


def write_text(text: str, path: str | Path) -> None:
    """Write ``text`` as UTF-8, whole or not at all."""
    with written_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def is_disk_full(error: BaseException) -> bool:
    """Return whether an error says that there is no room on a disk, or in a user's share of it."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    # Libraries that are not Python's have errors of their own.
    return os.strerror(errno.ENOSPC) in str(error)


@contextmanager
def _workplace(target: Path) -> Iterator[Path]:
    """Yield a folder beside ``target`` to write in, and remove it at the end."""
    _refuse_if_abandoned(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_what_the_dead_left(target)
        folder, lock = _locked_folder(target)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(lock)
    except Exception as error:
        if isinstance(error, UserError) or not is_disk_full(error):
            raise
        raise UserError(
            f"{target}: found no room left on its disk ({amount(room_for(target))} free), expected "
            "more, or less to write (vectors take most of the room, norms alone little)"
        ) from error


def room_for(target: Path) -> int:
    """Return the bytes that a user has left on the disk of ``target``, which need not be there."""
    folder = next(folder for folder in target.absolute().parents if folder.exists())
    return shutil.disk_usage(folder).free


def _locked_folder(target: Path) -> tuple[Path, int]:
    """Return a new folder beside ``target`` and the open file on which its lock is held."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent))
        try:
            lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        except FileNotFoundError:
            # Until the lock is held, another writer may take the folder for one that was left.
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            continue
        except OSError:
            # A file system without locks: what is left there stays.
            return folder, lock
        if (folder / LOCK).exists():
            return folder, lock
        os.close(lock)


def _remove_what_the_dead_left(target: Path) -> None:
    """Remove the folders beside ``target`` in which writers that are gone began to write it."""
    beginning = f".{target.name}."
    length = len(f"{beginning}????????.tmp")
    with os.scandir(target.parent) as entries:
        left = [
            Path(entry.path)
            for entry in entries
            if len(entry.name) == length
            and entry.name.startswith(beginning)
            and entry.name.endswith(".tmp")
        ]
    for folder in left:
        try:
            lock = os.open(folder / LOCK, os.O_RDWR)
        except OSError:
            # Its writer came no further than to make it.
            with suppress(OSError):
                folder.rmdir()
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            # Someone writes there, or the file system does not tell.
            pass
        finally:
            os.close(lock)


def _refuse_if_abandoned(target: Path) -> None:
    """Raise UserError in a job whose shell is gone, or whose run has made way for a newer one."""
    shell = os.environ.get(SHELL_VARIABLE)
    if shell:
        try:
            os.kill(int(shell), 0)
        except ProcessLookupError:
            raise UserError(f"{target}: not written: the shell of this job was killed") from None
    own = os.environ.get(RUN_VARIABLE)
    if not own:
        return
    try:
        marks = RUN_RECORD.read_text().split()
    except OSError:
        return
    if marks and marks[-1] != own:
        raise UserError(
            f"{target}: not written: the run of snakemake that began this job is over, and a "
            "newer run makes this anew"
        )
