# Entry point: `snakemake --cores 8` in this folder. The flow is in workflow/Snakefile.
include: "workflow/Snakefile"


import logging

from attnlag.pipeline import run_lock

# Jobs on other machines read this file, too.
if workflow.is_main_process:
    RUN = run_lock.clear_stale_locks()
    # On a full disk, each line of Snakemake's own log would print a traceback.
    logging.raiseExceptions = False

# It is there again only once the last job has run: everything else is made by then.
LAST_LOG = Path(rules.check_fits.log[0])


rule default:
    default_target: True
    input:
        rules.all.input,
    message:
        "everything is made"


onstart:
    run_lock.refuse_what_cannot_be_written()
    run_lock.begin_run(*RUN)
    LAST_LOG.unlink(missing_ok=True)


onsuccess:
    write_record()
    print(closing_words())


# With a layer that could not be fitted, everything else is made and worth reading.
onerror:
    write_record()
    if LAST_LOG.exists():
        print(closing_words())
