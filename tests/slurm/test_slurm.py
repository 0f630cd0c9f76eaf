"""The workflow on a real Slurm: what a user of a cluster would see."""

import re
import signal

from conftest import wait_for

SHARDS = 2
RESTING = ("RUNNING", "PENDING", "COMPLETING")


def write_shards(project):
    corpus = {**project.config["corpora"]["small"], "shards": SHARDS}
    # Without a job for the norms alone.
    project.write_config(corpora={"small": corpus}, extraction={"keep": "norms"})


def test_a_run_whose_submitting_process_was_killed_is_finished_by_the_next(project, slurm):
    """The whole chain; its results are those of a run without a cluster, byte for byte."""
    write_shards(project)
    local = project.copy(project.folder.parent / "local")
    local.run()

    before = max(slurm.jobs(), default=0)
    killed = project.submitting()

    def extracting():
        return any("extract" in job for job in slurm.jobs("RUNNING", before).values())

    wait_for(extracting, 120, "an extraction")
    killed.kill()
    killed.wait()
    assert list((project.folder / ".snakemake" / "locks").iterdir())
    result = project.submit()
    assert result.returncode == 0, result.stdout
    assert project.results() == local.results()

    jobs = slurm.jobs(since=before).values()
    rules = {re.match(r"rule_(\w+?)_wildcards", job)[1] for job in jobs}
    # Nodes have no network, and what takes less than its submission is not submitted.
    assert not rules & {"fetch_model", "check_fits", "plot_coefficients"}
    assert {"prepare_corpus", "extract_activations", "fit_regression", "plot_lags"} <= rules
    assert "nothing to be done" in project.submit().stdout.lower()


def test_a_job_killed_for_memory_gets_more(project, slurm):
    before = max(slurm.jobs(), default=0)
    memory = "prepare_corpus:mem_mb=60 * attempt ** 4"
    result = project.submit("results/corpora/small.parquet", "--set-resources", memory)
    assert result.returncode == 0, result.stdout
    assert "Trying to restart job" in result.stdout
    failed = slurm.jobs("FAILED,OUT_OF_MEMORY", before)
    assert len(failed) == 1
    assert len(slurm.jobs("COMPLETED", before)) == 1
    listed = slurm.run("squeue", "--noheader", "--states=all", "--format=%A %m").splitlines()
    asked = sorted((int(number), memory) for number, memory in map(str.split, listed))
    assert [memory for number, memory in asked if number > before] == ["60M", "960M"]


def test_the_error_of_a_failed_job_is_on_the_terminal(project, slurm):
    """It asks for a GPU and gets one, but the one that this Slurm pretends to have is no use."""
    project.run("--until", "tokenize_corpus")
    before = max(slurm.jobs(), default=0)
    project.write_config(extraction={"device": "cuda"})
    result = project.submit("--retries", "0")
    assert result.returncode == 1
    assert re.search(r"^ *error: .*cuda.*$", result.stdout, re.MULTILINE | re.IGNORECASE)
    (number,) = slurm.jobs("FAILED", before)
    assert "gpu" in slurm.run("scontrol", "show", "job", str(number))


def test_ctrl_c_cancels_the_jobs(project, slurm):
    before = max(slurm.jobs(), default=0)
    write_shards(project)
    run = project.submitting()
    wait_for(lambda: slurm.jobs("RUNNING", before), 60, "a running job")
    run.send_signal(signal.SIGINT)
    run.wait(30)
    assert run.returncode != 0
    wait_for(lambda: not slurm.jobs(",".join(RESTING), before), 15, "the end of all jobs")
    assert slurm.jobs("CANCELLED", before)
