# Works around a defect of Snakemake, seen in version 9.27. The process that an executor starts on
# another machine removes the marks of incomplete output when its job ends, and the run that
# submitted the job is to record how the output was made. If that run has been killed meanwhile, the
# next run regards the files as complete and never compares their settings. There is no public way
# to keep the marks. remote_jobs.md is the report for Snakemake. tests/workflow/test_crashes.py
# fails once this is no longer needed.

from snakemake.persistence import PersistenceBase

note_finished = PersistenceBase.finished


async def leave_notes_to_the_run(persistence, job):
    """Note that a job is finished only where no run waits for it."""
    if persistence.dag.workflow.remote_execution_settings.immediate_submit:
        await note_finished(persistence, job)


if workflow.remote_exec:
    PersistenceBase.finished = leave_notes_to_the_run
