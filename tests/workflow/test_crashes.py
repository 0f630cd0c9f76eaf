"""After an interrupted run the next plain run gives the results of an undisturbed one.

docs/reruns.md says what each interruption leaves behind. `make crashes` kills at random moments.
"""

import base64
import fcntl
import os
import re
import resource
import shlex
import shutil
import signal
import socket
import time
from contextlib import suppress

import psutil
import pytest
from killing import (
    assert_as_undisturbed,
    assert_mended,
    jobs_of,
    prepare,
    processes_in,
    program_of,
    wait_for_jobs,
)
from projects import TOGETHER, Project, ran, wait_for
from warm_python import python

FITS = "results/tiny/small/attention/notebook/fits.parquet"
# Runs make a fit and its findings. Figures and the explorer would take as long again, and are files
# like these; `make crashes` kills runs of everything.
TARGETS = ("results/tiny/small/attention/notebook/findings.txt",)
# They need no file that the findings do not.
FIGURES = "results/tiny/small/attention/notebook/figures"


@pytest.fixture(scope="module")
def prepared(gpt2, tmp_path_factory):
    """Return a project before anything is made and before its fits, and what it leaves."""
    stages = None, "build_design"
    return prepare(tmp_path_factory.mktemp("prepared"), gpt2, stages, TARGETS)


@pytest.fixture
def before_fits(prepared, tmp_path):
    """Return a project whose regressions are still to be fitted."""
    project = prepared.states[-1].copy(tmp_path.resolve() / "project")
    yield project
    wait_for_jobs(project.folder)
    shutil.rmtree(project.folder)


def wait_for_job(run, condition):
    """Return the process of a job of a run as soon as it meets a condition."""
    while run.poll() is None:
        for process in jobs_of(run):
            with suppress(psutil.Error):
                if condition(process):
                    return process
        time.sleep(0.02)
    raise AssertionError("the run has ended")


def fits(process):
    """Return whether a process is a fit that has come as far as to open its log."""
    logs = [file for file in process.open_files() if file.path.endswith(".log")]
    return program_of(process) == "fit_regression" and logs


def imports(process):
    """Return whether a process is past its start, and is importing what it needs."""
    return process.memory_info().rss > 50e6


def test_a_job_that_outlives_its_run_writes_what_the_next_one_does(prepared, before_fits):
    """The run of the job is killed, and the next run ends before the slow job does."""
    run = before_fits.start("--cores", "2", FITS)
    job = wait_for_job(run, fits)
    job.suspend()
    run.kill()
    run.wait(60)
    try:
        before_fits.run(*TARGETS)
    finally:
        job.resume()
    # What it writes last counts.
    wait_for_jobs(before_fits.folder)
    assert_mended(before_fits, prepared)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_run_that_is_told_to_stop_is_finished_by_the_next(prepared, before_fits, number):
    """SIGTERM goes to snakemake, which waits for its jobs. Ctrl-C goes to all processes."""
    run = before_fits.start("--cores", "2", *TARGETS)
    wait_for_job(run, imports)
    if number == signal.SIGTERM:
        run.terminate()
    else:
        os.killpg(run.pid, number)
    assert run.wait(60) == 1
    assert not list(processes_in(before_fits.folder))
    assert not list((before_fits.folder / "results").rglob(".*.tmp"))
    assert_mended(before_fits, prepared)


def test_a_job_with_too_little_memory_says_so_and_leaves_nothing(prepared, before_fits):
    before_fits.write_config(inference={"bootstrap": 10_000_000})
    run = before_fits.start("--cores", "2", FITS)
    job = wait_for_job(run, fits)
    # Room for what it has yet to import and for threads, and not for so many draws: 5 GB.
    job.rlimit(resource.RLIMIT_AS, (job.memory_info().vms + 500_000_000,) * 2)
    assert run.wait(300) == 1
    text = before_fits.printed.read_text()
    (line,) = [line for line in text.splitlines() if line.startswith("error: ")]
    assert line.startswith("error: fit_regression ran out of memory with ")
    assert "it asked for mem_mb: 2000; give it more" in line
    assert "--set-resources fit_regression:mem_mb=4000" in line
    assert "Traceback" not in text
    log = before_fits.folder / "logs/tiny/small/attention/notebook/fit_regression.log"
    assert line in log.read_text()
    before_fits.write_config(inference={"bootstrap": 2000})
    assert_mended(before_fits, prepared)


def test_a_run_that_filled_the_disk_is_finished_once_there_is_room(
    prepared, before_fits, namespaces
):
    """The disk holds the whole project, Snakemake's own files included. Then room is made."""
    folder, elsewhere = before_fits.folder, before_fits.folder.with_name("elsewhere")
    shutil.copytree(folder, elsewhere)
    snakemake = shlex.join([python(), "-m", "snakemake", "--cores", "2"])
    # Only the run sees this disk, which has room for all that is there and 160 kB. It is asked for
    # figures, which are larger: Snakemake's own files must not be what fills it.
    script = f"""
        mount -t tmpfs tmpfs {folder} && cp -a {elsewhere}/. {folder} && cd {folder} || exit
        used=$(df --output=used -B 1 . | tail -1)
        mount -o remount,size=$((used + 163840)) . || exit
        {snakemake} {FIGURES} > ../full.txt 2>&1; echo $?
        mount -o remount,size=1g . || exit
        {snakemake} {TARGETS[0]} > ../again.txt 2>&1; echo $?
        rm -r {elsewhere} && cp -a . {elsewhere}
    """
    alone = ["unshare", "--user", "--map-root-user", "--mount"]
    result = ran([*alone, "sh", "-c", script], timeout=300, **TOGETHER)
    assert result.stdout == "1\n0\n"
    printed = folder.with_name("full.txt").read_text()
    line = (
        r"^error: results/\S+: found no room left on its disk \(\d+ kB free\), expected more room"
    )
    assert re.search(line, printed, re.MULTILINE)
    assert "Traceback" not in printed
    assert "provenance.json" not in printed
    assert_as_undisturbed(Project(elsewhere, before_fits.config), prepared)


TARGET = "results/corpora/small.parquet"
RUN = (TARGET, "--forcerun", "prepare_corpus")


def lock_of(project):
    return project.folder / ".snakemake" / "attnlag.lock"


def locks_of(project):
    return list((project.folder / ".snakemake" / "locks").glob("*.lock"))


@pytest.fixture
def killed(fresh):
    """Return a project whose last run was killed in the middle."""
    run = fresh.start("--cores", "2", *RUN)

    def locked():
        # Snakemake locks outputs last, and a file that it has only opened locks nothing.
        return any(lock.stat().st_size for lock in locks_of(fresh) if ".output" in lock.name)

    wait_for(lambda: locked() or run.poll() is not None, 60, "the locks")
    assert run.poll() is None
    run.kill()
    run.wait(60)
    return fresh


def test_the_locks_of_a_live_run_stay_and_those_of_a_killed_one_are_cleared(killed):
    assert lock_of(killed).read_text() == socket.gethostname()
    with lock_of(killed).open() as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        before = locks_of(killed)
        assert "--unlock" in killed.fails(*RUN)
        assert locks_of(killed) == before
    killed.run(*RUN)
    assert not locks_of(killed)


def test_runs_of_different_targets_may_run_at_once(fresh, finished_once, subtests):
    targets = (TARGET, "data/models/tiny/source.json")
    runs = [fresh.start("--cores", "2", target, interpreter=python()) for target in targets]
    assert [run.wait(300) for run in runs] == [0, 0]
    for target in targets:
        with subtests.test(target=target):
            made = (fresh.folder / target).read_bytes()
            assert made == (finished_once[0].folder / target).read_bytes()
    assert fresh.would_run(*targets) == {}


# As snakemake/spawn_jobs.py calls what an executor starts on another machine.
REMOTE = (
    *("--snakefile", "Snakefile", "--target-jobs", "prepare_corpus:corpus=small"),
    *("--allowed-rules", "prepare_corpus", "--force", "--nolock"),
    *("--ignore-incomplete", "--no-hooks", "--mode", "remote"),
)


@pytest.mark.parametrize("mended", [True, False])
def test_a_remote_job_keeps_the_mark_of_an_incomplete_file(fresh, mended):
    """workflow/rules/remote_jobs.smk works around a defect that Snakemake still has.

    The run that submitted the job was killed. If this test fails for plain Snakemake, the file is
    no longer needed.
    """
    if not mended:
        (fresh.folder / "workflow/rules/remote_jobs.smk").write_text("")
    # As Snakemake marks what it begins to make.
    name = base64.urlsafe_b64encode(TARGET.encode()).decode()
    mark = fresh.folder / ".snakemake/incomplete" / name
    mark.parent.mkdir(parents=True)
    mark.write_text('{"external_jobid": "1"}')
    fresh.run(*REMOTE)
    assert (fresh.folder / TARGET).exists()
    assert mark.exists() == mended
