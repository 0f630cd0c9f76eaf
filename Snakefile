# Entry point: `snakemake --cores 8` in this folder. The flow is in workflow/Snakefile.
include: "workflow/Snakefile"


rule default:
    default_target: True
    input:
        rules.all.input,
    message:
        "everything is made"
