"""Free memory: a model that needs more is refused before the system kills the job."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil


def free_memory(root: str | Path = "/") -> int:
    """Return the number of bytes of main memory that this process may still allocate.

    This is what the machine has available, or less where a control group limits the process, as
    in a container or a job of a scheduler such as Slurm. Cached files count as free in both
    cases, because the system releases them on demand. ``proc`` and ``sys`` in the folder ``root``
    describe the control groups.
    """
    root = Path(root)
    return max(0, min([psutil.virtual_memory().available, *_left_in_groups(root)]))


def _left_in_groups(root: Path) -> Iterator[int]:
    """Yield the remaining bytes under each limit on this process, for both versions of cgroups."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            top = root / "sys/fs/cgroup"
            limit = "memory.max"
            usage = "memory.current"
            cached = "inactive_file"
        elif "memory" in controllers.split(","):
            top = root / "sys/fs/cgroup/memory"
            limit = "memory.limit_in_bytes"
            usage = "memory.usage_in_bytes"
            cached = "total_inactive_file"
        else:
            continue
        # The limits of all enclosing groups apply too. Inside a container the path may be the
        # host's; then only the topmost folder exists.
        group = top / path.lstrip("/")
        for folder in (group, *group.parents):
            # A group without a limit says "max", which is no number.
            with suppress(OSError, ValueError):
                most = int((folder / limit).read_text())
                used = int((folder / usage).read_text())
                statistics = (folder / "memory.stat").read_text().splitlines()
                counts = dict(line.split() for line in statistics)
                yield most - used + int(counts.get(cached, 0))
            if folder == top:
                break
