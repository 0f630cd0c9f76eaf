"""workflow/rules/remote_jobs.smk works around a defect that Snakemake still has.

The process that an executor starts on another machine is started here as it is there. The run
that submitted it was killed, so that its mark of an incomplete file is left.
"""

import base64

import pytest

TARGET = "results/corpora/small.parquet"
# As snakemake/spawn_jobs.py calls it.
REMOTE = (
    *("--snakefile", "Snakefile", "--target-jobs", "prepare_corpus:corpus=small"),
    *("--allowed-rules", "prepare_corpus", "--force", "--nolock"),
    *("--ignore-incomplete", "--no-hooks", "--mode", "remote"),
)


MARK = f".snakemake/incomplete/{base64.urlsafe_b64encode(TARGET.encode()).decode()}"


@pytest.mark.parametrize("mended", [True, False])
def test_a_remote_job_keeps_the_mark_of_an_incomplete_file(fresh, mended):
    """If this test fails for plain Snakemake, remote_jobs.smk is no longer needed."""
    if not mended:
        (fresh.folder / "workflow/rules/remote_jobs.smk").write_text("")
    # As Snakemake marks what it begins to make.
    (fresh.folder / MARK).parent.mkdir(parents=True)
    (fresh.folder / MARK).write_text('{"external_jobid": "1"}')
    fresh.run(*REMOTE)
    assert (fresh.folder / TARGET).exists()
    assert (fresh.folder / MARK).exists() == mended
