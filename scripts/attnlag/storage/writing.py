"""Files and folders that are written completely or not at all.

A writer works in a hidden folder beside its target, ``.{name}.????????.tmp``, and moves the result
into the target's place at the end. Without room for it, UserError is raised.
"""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from attnlag.errors import UserError, amount, counted
from attnlag.escaping import text_for


@contextmanager
def written_whole(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path that takes the place of ``path`` if the block succeeds.

    On an exception the temporary file is removed and the target stays unchanged; a full disk is a
    UserError. Concurrent writers of one target do not mix their bytes.
    """
    path = Path(path)
    with _workplace(path) as folder:
        yield folder / path.name
        os.replace(folder / path.name, path)


@contextmanager
def replaced_whole(target: str | Path) -> Iterator[Path]:
    """Yield an empty folder that takes the place of ``target`` if the block succeeds.

    An existing folder is moved aside first and deleted last. On an exception the new folder is
    removed and the target stays unchanged; a full disk is a UserError.
    """
    target = Path(target)
    with _workplace(target) as folder:
        fresh = folder / target.name
        old = folder / ".old"
        fresh.mkdir()
        yield fresh
        if os.path.lexists(target):
            os.rename(target, old)
        try:
            os.rename(fresh, target)
        except BaseException:
            if os.path.lexists(old):
                os.rename(old, target)
            raise


def write_text(text: str, path: str | Path) -> None:
    """Write ``text`` as UTF-8, whole or not at all; in a .txt, control characters are escaped."""
    if Path(path).suffix == ".txt":
        text = "\n".join(text_for("line", line) for line in text.split("\n"))
    with written_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def is_disk_full(error: BaseException) -> bool:
    """Return whether an error means that the disk or the user's quota is full."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    # Libraries written in other languages raise errors of other types.
    return os.strerror(errno.ENOSPC) in str(error)


def is_too_large(error: BaseException) -> bool:
    """Return whether an error means that a file would be larger than files may be."""
    if isinstance(error, OSError) and error.errno == errno.EFBIG:
        return True
    return os.strerror(errno.EFBIG) in str(error)


def room_for(target: Path) -> int:
    """Return the free bytes on the disk of ``target``, which need not exist."""
    folder = next(folder for folder in target.absolute().parents if folder.exists())
    return shutil.disk_usage(folder).free


def room_for_shards(sizes: Mapping[Path, float], shards: int) -> str:
    """Return in words what a shard and the remaining ones write, where, and the room for it.

    ``sizes`` has the bytes of each output of this shard; shards have similar sizes. An existing
    file is kept until its new version replaces it. Too little room on the disk is a UserError.
    """
    count = 0
    total = 0.0
    for path, size in sizes.items():
        missing = 0
        for shard in range(shards):
            if not path.with_name(f"{shard:04d}{path.suffix}").exists():
                missing += 1
        missing = max(1, missing)
        count += missing
        total += missing * size
    first = next(iter(sizes))
    free = room_for(first)
    in_all = " in all" if count > 1 else ""
    room = f"{counted(count, 'file')} of {amount(total)}{in_all} to be written, {amount(free)} free"
    if total > free:
        raise UserError(
            f"{first.parent}: found {room}; expected more room or less to write "
            "(norms in place of vectors, or vectors in bfloat16)"
        )
    return f"{first.parent}: {room}"


def leftovers(folder: str | Path) -> Iterator[Path]:
    """Yield the hidden folders of writers below ``folder``, those of killed writers included."""
    return filter(Path.is_dir, Path(folder).rglob(".*.tmp"))


@contextmanager
def _workplace(target: Path) -> Iterator[Path]:
    """Yield a hidden folder beside ``target`` to write in, and remove it at the end."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(
            prefix=f".{target.name}.", suffix=".tmp", dir=target.parent, ignore_cleanup_errors=True
        ) as folder:
            yield Path(folder)
    except Exception as error:
        if isinstance(error, UserError):
            raise
        if is_too_large(error):
            raise UserError(
                f"{target}: found a limit of the size of files, expected a larger one (ulimit -f)"
            ) from error
        if not is_disk_full(error):
            raise
        room = amount(room_for(target))
        advice = "expected more room"
        if "activations" in target.parts:
            advice += " or less to write (norms alone take far less than vectors)"
        raise UserError(
            f"{target}: found no room left on its disk ({room} free), {advice}"
        ) from error
