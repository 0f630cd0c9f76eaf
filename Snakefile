# Entry point: `snakemake --cores 8` in this folder. The flow is in workflow/Snakefile.
include: "workflow/Snakefile"


from attnlag.pipeline import run_lock

# Jobs on other machines read this file too.
if workflow.is_main_process:
    run_lock.refuse_a_limit_of_files()
    LOCK, ALONE = run_lock.clear_stale_locks()


# Snakemake takes no default target from a file that is included.
rule default:
    default_target: True
    input:
        rules.all.input,
    message:
        "everything is made"


onstart:
    run_lock.refuse_what_cannot_be_written()
    run_lock.remove_leftovers(ALONE)
