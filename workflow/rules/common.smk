# Shared by all rules: the checked configuration, and the job of each stage.

import functools
import itertools
import os
import re
import sys
from pathlib import Path

from attnlag.config.problems import check, reading_problems
from attnlag.pipeline import job, outputs, stages, targets
from attnlag.pipeline.analyses import is_asked
from attnlag.pipeline.digests import code_digests
from attnlag.pipeline.targets import final_targets, in_both_formats
from attnlag.storage import contents

# A file given with --configfile replaces this one; Snakemake would merge the two. Where
# attnlag is a module, the configuration comes from the workflow that uses it.
if not workflow.overwrite_configfiles:
    if Path("config/config.yaml").exists() and (problems := reading_problems("config/config.yaml")):
        sys.exit("\n".join(problems))

    configfile: "config/config.yaml"


# A job may run on a machine without the user's files. The submitting run has checked them.
if workflow.is_main_process:
    from attnlag.pipeline import records, stale, texts

CONFIG, problems = check(
    config,
    map(os.path.relpath, workflow.configfiles),
    outputs.reserved_names(),
    texts.problems if workflow.is_main_process else lambda config: (),
)
if workflow.is_main_process and not problems:
    changes = [*records.changed_settings(CONFIG), *records.changed_models(CONFIG)]
    # Where a storage provider has the results, none are here.
    stale_lines = stale.make_again(list(stale.stale_tables(CONFIG)))
    for line in [*changes, *CONFIG.left_out(), *stale_lines]:
        print(line, file=sys.stderr)
if problems and (CONFIG is None or workflow.is_main_process):
    sys.exit("\n".join(problems))

# A terminal or a file in another encoding than UTF-8 gets what it has no character for as \u….
for stream in (sys.stdout, sys.stderr):
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(errors="backslashreplace")

# In a log file, a progress bar that is updated ten times a second is a very long line.
if not sys.stderr.isatty():
    os.environ.setdefault("TQDM_MININTERVAL", "30")

# Passes over a model free and take large arrays again and again. Without these limits, glibc gives
# their pages back to the system, which then has to clear others.
for limit in ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"):
    os.environ.setdefault(limit, str(2**31 - 1))

STUDY = "results/{model}/{corpus}"
SITE, RESULTS = f"{STUDY}/{{site}}", f"{STUDY}/{{site}}/{{regression}}"
HEADS, CAUSAL = f"{STUDY}/attention/heads", f"{STUDY}/causal"

# What is measured, with which controls.
CENTRED = CONFIG.measures("centred_cosines")
WITH_HEADS, TRACED = CONFIG.measures("heads"), CONFIG.with_sources()
DIRECTED, UNTRAINED = CONFIG.measures("geometry"), CONFIG.controls.random_weights
# Endings of the files of further scales of the weights after that of the first, which has none.
SCALES = ["", *(f"_{scale}" for scale in (UNTRAINED.scales[1:] if UNTRAINED else ()))]
PERMUTED = CONFIG.controls.permutation

ON_GPU = int(CONFIG.extraction.device.startswith("cuda"))
CODE = code_digests(SCRIPTS)
# Rules ask again and again for the digests of equal files.
digests_of = functools.cache(contents.digests_in_words)
# A pattern of some names; without any, it matches nothing.
any_of = lambda names: "|".join(map(re.escape, sorted(names))) or "(?!)"


wildcard_constraints:
    model=any_of(CONFIG.models),
    corpus=any_of(CONFIG.corpora),
    site=any_of(CONFIG.extraction.sites),
    # Other folders of a site have files of the same names.
    regression=any_of(CONFIG.regressions),
    pair=any_of(CONFIG.pairs_changed()),
    shard=r"\d{4}\d*",


def resolved(files, wildcards):
    """Return files, or what an input function gives for some wildcards."""
    return files(wildcards) if callable(files) else files


def job_params(name, program=None, given=None, **options):
    """Return the params of a rule: its program, the job, and what a change of runs it again.

    Snakemake compares the settings, the digest of the code and those of the user's files, which
    ``given`` returns. It does not compare the job, which also depends on the inputs and on
    ``options``, settings that change no output.
    """
    settings = stages.settings_of(name, CONFIG)

    def job_text(wildcards, input, output):
        names, values = dict(wildcards.items()), settings and settings(wildcards)
        of_job = {key: resolved(option, wildcards) for key, option in options.items()}
        return job.argument(job.text_of(name, input, output, names, values, of_job))

    compared = {"settings": settings} if settings else {}
    if given:
        # By itself, Snakemake does not see that a file has been replaced by an older one.
        compared["given"] = lambda wildcards: digests_of(*given(wildcards))
    return {"program": program or name, "job": job_text, "code": CODE[name], **compared}


# Options of the programs that run a model. They change speed and memory, but no result.
SPEED = {
    # No storage provider has the folder of a model.
    "folder": lambda wildcards: f"data/models/{wildcards.model}",
    "device": CONFIG.extraction.device,
    "batch_tokens": CONFIG.extraction.batch_tokens,
}
