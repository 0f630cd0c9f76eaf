"""Free memory, read from copies of the files in which Linux states it."""

from pathlib import Path

import psutil
import pytest

from attnlag.errors import amount
from attnlag.model.memory import free_memory

MB = 2**20
JOB = "0::/slurm/job_7/step_0"
V1 = "9:name=systemd:/\n4:cpu,memory:/job\n1:cpuset:/job\n0::/"


def group(path, most, used, cached):
    """Return the files of a group of version 2."""
    stat = f"anon 5\ninactive_file {cached * MB}"
    values = {"max": most, "current": used * MB, "stat": stat}
    return {f"sys/fs/cgroup{path}/memory.{name}": value for name, value in values.items()}


def group_1(path, most, used, stat):
    """Return the files of a group of version 1."""
    values = {"limit_in_bytes": most, "usage_in_bytes": used * MB, "stat": stat}
    return {f"sys/fs/cgroup/memory{path}/memory.{name}": value for name, value in values.items()}


# The cache counts as free, and the job's own group has no limit.
JOBS = group("/slurm/job_7/step_0", "max", 0, 0)
JOBS |= group("/slurm/job_7", 4000 * MB, 1500, 500)


@pytest.mark.parametrize(
    ("cgroup", "files", "expected"),
    [
        pytest.param(None, {}, 8000, id="no files of Linux"),
        pytest.param("0::/user.slice", {}, 8000, id="no limit"),
        pytest.param(JOB, JOBS | group("/slurm", 9000 * MB, 100, 0), 3000, id="job"),
        pytest.param(JOB, JOBS | group("/slurm", 9000 * MB, 7000, 0), 2000, id="group above"),
        pytest.param(JOB, JOBS | group("/slurm", 9000 * MB, 9001, 0), 0, id="nothing left"),
        # The group is not visible in a container, whose limit is read at the top.
        pytest.param("0::/not/here", group("", 1000 * MB, 200, 0), 800, id="container"),
        pytest.param(
            V1,
            group_1("/job", 2000 * MB, 700, f"inactive_file 1\ntotal_inactive_file {200 * MB}")
            | group_1("", 2**63 - 4096, 9000, "cache 0"),
            1500,
            id="version 1",
        ),
    ],
)
def test_free_memory_is_the_least_that_the_machine_and_its_groups_leave(
    cgroup, files, expected, tmp_path, monkeypatch
):
    machine = psutil.virtual_memory()._replace(available=8000 * MB)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: machine)
    for name, content in (files | ({"proc/self/cgroup": cgroup} if cgroup else {})).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"{content}\n")
    assert free_memory(tmp_path) == expected * MB


def test_free_memory_of_this_machine_is_at_most_its_total():
    total = int(Path("/proc/meminfo").read_text().split()[1]) * 1024
    assert 0 < free_memory() <= total


def test_amounts_are_written_with_three_digits_and_a_unit():
    sizes = 13_210_000_000, 538_400_000, 64_000
    assert [amount(size) for size in sizes] == ["13.2 GB", "538 MB", "64 kB"]
