"""How much memory is left for a model, so that one too large is refused and not killed."""

import os
from collections.abc import Iterator
from pathlib import Path


def free_memory(root: str | Path = "/") -> int:
    """Return the bytes of main memory that this process may still take.

    That is what the machine has available, or less where a control group limits the process: a
    container, or a job of a scheduler such as Slurm. Cached files that the system gives back on
    demand count as free in both.

    Parameters
    ----------
    root : path
        Where ``proc`` and ``sys`` lie.
    """
    root = Path(root)
    return max(0, min([_available(root), *_left_in_groups(root)]))


def _available(root: Path) -> int:
    """Return what the machine has available."""
    try:
        lines = (root / "proc/meminfo").read_text().splitlines()
        stated = dict(line.split(":", 1) for line in lines)
        return int(stated["MemAvailable"].split()[0]) * 1024
    except (OSError, ValueError, KeyError):
        # Not Linux. Some systems do not say what is free, but all say what there is.
        pages = "SC_AVPHYS_PAGES" if "SC_AVPHYS_PAGES" in os.sysconf_names else "SC_PHYS_PAGES"
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf(pages)


def _left_in_groups(root: Path) -> Iterator[int]:
    """Yield what is left of each limit on this process, of both versions of control groups."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            top = root / "sys/fs/cgroup"
            files = ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            top = root / "sys/fs/cgroup/memory"
            files = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        # A group is bound by the limits of those above it too. Inside a container the path may
        # be that of the host: then only the topmost folder is there.
        group = top / path.lstrip("/")
        for folder in (group, *group.parents):
            yield from _left_in_group(folder, *files)
            if folder == top:
                break


def _left_in_group(folder: Path, limit: str, usage: str, cached: str) -> Iterator[int]:
    """Yield what is left of the limit of one group, nothing where it has none."""
    try:
        most = (folder / limit).read_text().strip()
        if most == "max":
            return
        used = int((folder / usage).read_text())
        lines = (folder / "memory.stat").read_text().splitlines()
        counts = dict(line.split() for line in lines)
        yield int(most) - used + int(counts.get(cached, 0))
    except (OSError, ValueError):
        return


def amount(size: float) -> str:
    """Return a number of bytes in words: ``13.2 GB``, ``538 MB``."""
    if size >= 1e9:
        return f"{size / 1e9:,.1f} GB"
    return f"{size / 1e6:,.0f} MB" if size >= 1e6 else f"{size / 1e3:.0f} kB"
