# Entry point: `snakemake --cores 8` in this folder. The flow is in workflow/Snakefile.
include: "workflow/Snakefile"


from contextlib import suppress

from attnlag.pipeline import run_lock

# Jobs on other machines read this file too.
if workflow.is_main_process:
    run_lock.refuse_a_limit_of_files()
    LOCK, ALONE = run_lock.clear_stale_locks()

# This file reappears only after the last job, when everything else has been made.
LAST_LOG = Path(rules.check_fits.log[0])


rule default:
    default_target: True
    input:
        rules.all.input,
    message:
        "everything is made"


onstart:
    run_lock.refuse_what_cannot_be_written()
    run_lock.remove_leftovers(ALONE)
    LAST_LOG.unlink(missing_ok=True)


onsuccess:
    write_record(complete=LAST_LOG.exists())
    print(closing_words())


onerror:
    # On a full disk, the job that failed has said so.
    with suppress(SystemExit):
        write_record()
    # If a layer could not be fitted, everything else has been made and is worth reading.
    if LAST_LOG.exists():
        print(closing_words())
