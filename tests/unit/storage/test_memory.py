"""Free memory, read from copies of the files in which Linux states it."""

from pathlib import Path

import psutil
import pytest

from attnlag.storage.memory import amount, free_memory

MB = 2**20


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a root of files whose machine has 8,000 MB available."""
    machine = psutil.virtual_memory()._replace(available=8000 * MB)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: machine)
    return tmp_path


def write(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{content}\n")


def group(folder: Path, most: object, used: int, cached: int) -> None:
    """Write a group of version 2."""
    write(folder / "memory.max", most)
    write(folder / "memory.current", used)
    write(folder / "memory.stat", f"anon 5\ninactive_file {cached}")


def test_free_memory_is_that_of_the_machine_if_no_group_limits_it(root: Path) -> None:
    assert free_memory(root) == 8000 * MB
    write(root / "proc/self/cgroup", "0::/user.slice")
    assert free_memory(root) == 8000 * MB


def test_free_memory_of_this_machine_is_at_most_its_total() -> None:
    total = int(Path("/proc/meminfo").read_text().split()[1]) * 1024
    assert 0 < free_memory() <= total


def test_a_control_group_limits_memory_and_its_cache_counts_as_free(root: Path) -> None:
    write(root / "proc/self/cgroup", "0::/slurm/job_7/step_0")
    groups = root / "sys/fs/cgroup"
    group(groups / "slurm/job_7/step_0", "max", 0, 0)
    group(groups / "slurm/job_7", 4000 * MB, 1500 * MB, 500 * MB)
    group(groups / "slurm", 9000 * MB, 100 * MB, 0)
    assert free_memory(root) == 3000 * MB
    # The group above may have less left than the job's own.
    group(groups / "slurm", 9000 * MB, 7000 * MB, 0)
    assert free_memory(root) == 2000 * MB
    group(groups / "slurm", 9000 * MB, 9001 * MB, 0)
    assert free_memory(root) == 0


def test_the_limit_of_a_container_is_read_at_the_top_of_its_groups(root: Path) -> None:
    write(root / "proc/self/cgroup", "0::/not/visible/here")
    group(root / "sys/fs/cgroup", 1000 * MB, 200 * MB, 0)
    assert free_memory(root) == 800 * MB


def test_limits_of_control_groups_of_version_1_are_read(root: Path) -> None:
    write(root / "proc/self/cgroup", "9:name=systemd:/\n4:cpu,memory:/job\n1:cpuset:/job\n0::/")
    job = root / "sys/fs/cgroup/memory/job"
    write(job / "memory.limit_in_bytes", 2000 * MB)
    write(job / "memory.usage_in_bytes", 700 * MB)
    write(job / "memory.stat", f"inactive_file 1\ntotal_inactive_file {200 * MB}")
    write(job.parent / "memory.limit_in_bytes", 2**63 - 4096)
    write(job.parent / "memory.usage_in_bytes", 9000 * MB)
    write(job.parent / "memory.stat", "cache 0")
    assert free_memory(root) == 1500 * MB


def test_free_memory_is_found_without_the_files_of_linux(tmp_path: Path) -> None:
    assert free_memory(tmp_path) > 0


def test_amounts_are_written_with_three_digits_and_a_unit() -> None:
    assert [amount(size) for size in (13_210_000_000, 538_400_000, 64_000)] == [
        "13.2 GB",
        "538 MB",
        "64 kB",
    ]
