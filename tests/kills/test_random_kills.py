"""Kill runs at random moments; the next plain run repairs everything: make crashes KILLS=50.

``SEED`` gives other moments.

Each time a copy of a small project, part of it made already, is run with ``snakemake --cores 2``
and something in it is killed (SIGKILL) at a random moment:

- ``workflow``: snakemake's own process. Its jobs live on, beside those of the next run.
- ``group``: snakemake and its jobs, all at once.
- ``job``: a job's program.

The same command is then run again. It must succeed, leave the same bytes as an undisturbed run and
no temporary files, and find nothing to do when it is called once more.
"""

import os
import random
import shutil
import signal
import subprocess
import time
from contextlib import suppress

import psutil
import pytest
from killing import assert_mended, jobs_of, prepare, program_of

# The last rule that has finished before a run is killed; None for a new project.
STAGES = (None, "tokenize_corpus", "extract_activations", "build_design")


@pytest.fixture(scope="module")
def prepared(gpt2, tmp_path_factory):
    # Resolved, as the folders of processes are.
    return prepare(tmp_path_factory.mktemp("prepared").resolve(), gpt2, STAGES)


def kill(run, kind, chance):
    """Kill a run or one of its jobs; return what was killed, in words."""
    while run.poll() is None:
        if kind == "group":
            os.killpg(run.pid, signal.SIGKILL)
            return kind
        if kind == "workflow":
            run.kill()
            return kind
        if jobs := sorted(jobs_of(run), key=lambda process: process.pid):
            job = chance.choice(jobs)
            with suppress(psutil.Error):
                program = program_of(job)
                job.kill()
                return program
        time.sleep(0.02)
    return "nothing"


@pytest.mark.parametrize("number", range(int(os.environ.get("KILLS", 1))))
@pytest.mark.parametrize("kind", ["workflow", "group", "job"])
def test_the_next_run_mends_what_a_kill_left(prepared, kind, number, tmp_path):
    folder = tmp_path.resolve() / "project"
    chance = random.Random(f"{os.environ.get('SEED', 0)} {kind} {number}")
    killed = "nothing"
    # A run may end before its moment comes.
    while killed == "nothing":
        (index,) = chance.choices(range(len(prepared.states)), prepared.seconds)
        shutil.rmtree(folder, ignore_errors=True)
        project = prepared.states[index].copy(folder)
        run = project.start("--cores", "2")
        with suppress(subprocess.TimeoutExpired):
            run.wait(chance.uniform(0, prepared.seconds[index]))
        killed = kill(run, kind, chance)
        run.wait()
    if kind == "job":
        assert run.returncode == 1
        assert f"scripts/run.py {killed} " in project.printed.read_text()
    assert_mended(project, prepared)
    shutil.rmtree(folder)
