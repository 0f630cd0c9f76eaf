# Mends a defect of Snakemake's, seen in version 9.27: the process that an executor starts on
# another machine removes the marks of incomplete output when its job ends, and leaves it to the run that
# submitted the job to write down what the output was made with. If that run was killed meanwhile, the
# next one takes the files for complete and never compares their settings. There is no public way to
# leave the marks alone. tests/workflow/test_remote_jobs.py fails once this is no longer needed.

from snakemake.persistence import PersistenceBase

note_finished = PersistenceBase.finished


async def leave_notes_to_the_run(persistence, job):
    """Note that a job is finished only where no run waits for it."""
    if persistence.dag.workflow.remote_execution_settings.immediate_submit:
        await note_finished(persistence, job)


if workflow.remote_exec:
    PersistenceBase.finished = leave_notes_to_the_run
