"""One Slurm for all tests, and projects whose jobs run on it."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from local_slurm import COMMAND, SHARDS, Job, adapt_profile, jobs, local_slurm, submit
from projects import Project, new_project, wait_for
from warm_python import python

# Few tokens and one target: what is asked is whether the jobs run.
EFFECTS = {"targets": 1, "documents": 2, "document_tokens": 12, "batch_tokens": 64}
# At first too little for Python itself.
LITTLE_MEMORY = ("--set-resources", "prepare_corpus:mem_mb=60 * attempt ** 4")


@pytest.fixture(scope="session", autouse=True)
def slurm() -> Iterator[None]:
    # The end that a scheduler or `timeout` sends takes the daemons down too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with local_slurm():
        yield


class Chain(NamedTuple):
    """A run of the whole chain on Slurm, and what is to be known of it afterwards."""

    project: Project
    local: Project
    locked: bool
    printed: str
    jobs: list[Job]


@pytest.fixture(scope="session")
def chain(slurm: None, gpt2: Path, tmp_path_factory: pytest.TempPathFactory) -> Chain:
    """Return the whole chain after a run that was killed half-way, and one that ended it.

    The second was asked for interventions too. Beside it, the same without Slurm.
    """
    project = new_project(tmp_path_factory.mktemp("chain") / "project", gpt2)
    adapt_profile(project, "slurm")
    project.write_config(
        corpora={"small": {**project.config["corpora"]["small"], "shards": SHARDS}},
        # The analyses of the default run, without a comparison of kernels in each job.
        extraction={"keep": "vectors", "quantities": ["geometry", "heads"], "fast": "off"},
        regressions={"notebook": {"lags": [1, 2], "slopes_by": {"surprisal": "lag"}}},
        controls={"permutation": {"draws": 19}, "random_weights": {"documents": 4}},
        figures={"formats": ["svg"]},
    )
    local = project.copy(project.folder.parent / "local")
    local.write_config(causal=EFFECTS)

    before = max(jobs(), default=0)
    running = local.start("--cores", "1", interpreter=python())
    killed = project.start(*COMMAND, *LITTLE_MEMORY)
    try:
        wait_for(
            lambda: (
                killed.poll() is not None
                or any("rule_fit_regression" in job.what for job in jobs("RUNNING").values())
            ),
            *(600, "the job that fits the regression"),
        )
        assert killed.poll() is None, project.printed.read_text()
        killed.kill()
        killed.wait()
        locked = any((project.folder / ".snakemake" / "locks").iterdir())
        # The job goes on without who submitted it.
        wait_for(lambda: not jobs("PENDING,RUNNING,COMPLETING"), 600, "the end of the jobs")
        project.write_config(causal=EFFECTS)
        submit(project, *COMMAND)
        submitted = list(jobs(since=before).values())
        assert running.wait(600) == 0, local.printed.read_text()
    finally:
        # The interpreter that started at once hands this on; it could not hand on a kill.
        running.terminate()
        killed.kill()
    return Chain(project, local, locked, project.printed.read_text(), submitted)


@pytest.fixture
def finished(chain: Chain, tmp_path: Path) -> Project:
    """Return a copy of the finished project, to be changed."""
    return chain.project.copy(tmp_path / "project")
