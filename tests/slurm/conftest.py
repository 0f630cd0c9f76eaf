"""One Slurm for all tests, and projects whose jobs run on it."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from local_slurm import ACCOUNT, PARTITION, LocalSlurm, SlurmError
from projects import Project, new_project

# Faster than a shared cluster would like to be asked.
COMMAND = (
    *("--workflow-profile", "profiles/slurm", "--latency-wait", "10"),
    *("--slurm-init-seconds-before-status-checks", "1", "--slurm-status-command", "squeue"),
    # The nodes have two processors each.
    *("--set-threads", "extract_activations=2"),
)


class Submitting(Project):
    """A project that is run with the profile for Slurm, its two lines changed."""

    def adapt_profile(self) -> None:
        path = self.folder / "profiles" / "slurm" / "profile.yaml"
        text = path.read_text()
        for found, wanted in (("my-account", ACCOUNT), ("my-partition", PARTITION)):
            assert text.count(found) == 1
            text = text.replace(found, wanted)
        path.write_text(text)

    def submit(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run on Slurm to the end, with whatever exit status."""
        return self.snakemake(*arguments, *COMMAND)

    def submitting(self) -> "subprocess.Popen[str]":
        """Start a run on Slurm, and return at once."""
        return subprocess.Popen(
            [sys.executable, "-m", "snakemake", *COMMAND],
            cwd=self.folder,
            env={k: v for k, v in os.environ.items() if not k.startswith(("HF_", "SNAKEMAKE"))},
            stdout=(self.folder / "output.txt").open("w"),
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
        )


@pytest.fixture(scope="session")
def slurm() -> Iterator[LocalSlurm]:
    """Return a Slurm of two nodes."""
    try:
        cluster = LocalSlurm().__enter__()
    except SlurmError as error:
        pytest.exit(str(error), returncode=1)
    yield cluster
    cluster.stop()


@pytest.fixture
def project(slurm: LocalSlurm, gpt2: Path, tmp_path: Path) -> Submitting:
    """Return a project in which nothing was run yet."""
    plain = new_project(tmp_path / "project", gpt2)
    project = Submitting(plain.folder, plain.config)
    project.adapt_profile()
    return project


def wait_for(condition, seconds: float, what: str) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.2)
