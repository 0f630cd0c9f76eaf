# Shared by all rules: the library, the checked configuration, and the names of folders.

import functools
import os
import re
import sys
from pathlib import Path

# The library and the programs lie beside the rules. Whichever library is installed, it is this one.
if not workflow.current_basedir.is_local:
    sys.exit(
        "error: module attnlag: found a repository, from which Snakemake takes the rules alone; "
        "expected the path of a clone (docs/module.md)"
    )
FOLDER = Path(str(workflow.current_basedir)).parents[1]
# Snakemake takes braces in the paths of files beside the rules for wildcards.
if "{" in str(FOLDER) or "}" in str(FOLDER):
    sys.exit(f"error: {FOLDER}: found braces in the folder of attnlag, expected another name")
SCRIPTS = FOLDER / "scripts"
sys.path.insert(0, str(SCRIPTS))

from attnlag.config.problems import check, reading_problems
from attnlag.pipeline import outputs, targets
from attnlag.pipeline.analyses import is_asked
from attnlag.pipeline.targets import final_targets, in_both_formats

# A file given with --configfile replaces this one; Snakemake would merge the two. Where
# attnlag is a module, the configuration comes from the workflow that uses it.
if not workflow.overwrite_configfiles:
    if Path("config/config.yaml").exists():
        problems = reading_problems("config/config.yaml")
        if problems:
            sys.exit("\n".join(problems))

    configfile: "config/config.yaml"


# A job may run on a machine without the user's files. The submitting run has checked them.
if workflow.is_main_process:
    from attnlag.pipeline import machine, records, stale, texts

CONFIG, problems = check(
    config,
    map(os.path.relpath, workflow.configfiles),
    outputs.reserved_names(),
    texts.problems if workflow.is_main_process else lambda config: (),
)
# A scheduler sends jobs to other machines, at most so many nodes at a time.
if workflow.is_main_process and not problems and workflow.resource_settings.nodes is None:
    problems = machine.problems(CONFIG)
if workflow.is_main_process and not problems:
    notes = records.changed_settings(CONFIG)
    notes += records.changed_models(CONFIG)
    notes += CONFIG.left_out()
    # Tables of other settings, in a folder without Snakemake's records. Where a storage provider
    # has the results, none are here.
    old_tables = list(stale.stale_tables(CONFIG))
    stale.make_again(old_tables)
    notes += stale.announcements(old_tables)
    for line in notes:
        print(line, file=sys.stderr)
if problems and (CONFIG is None or workflow.is_main_process):
    sys.exit("\n".join(problems))

STUDY = "results/{model}/{corpus}"
SITE = f"{STUDY}/{{site}}"
RESULTS = f"{SITE}/{{regression}}"
HEADS = f"{STUDY}/attention/heads"
CAUSAL = f"{STUDY}/causal"

# What is measured, with which controls.
CENTRED = CONFIG.measures("centred_cosines")
DIRECTED = CONFIG.measures("geometry")
WITH_HEADS = CONFIG.measures("heads")
WITH_SOURCES = is_asked("sources", CONFIG)
PERMUTED = CONFIG.controls.permutation
COMPARED = is_asked("comparison", CONFIG)
# The section of the untrained control, or None.
RANDOM_WEIGHTS = CONFIG.controls.random_weights
# Scales of the initial weights. Norms are computed at each, all else at the first.
SCALES = RANDOM_WEIGHTS.scales if RANDOM_WEIGHTS else []
FIRST_SCALE = SCALES[0] if SCALES else ""


def any_of(names):
    """Return a pattern of some names; without any, it matches nothing."""
    return "|".join(map(re.escape, sorted(names))) or "(?!)"


wildcard_constraints:
    model=any_of(CONFIG.models),
    corpus=any_of(CONFIG.corpora),
    site=any_of(CONFIG.extraction.sites),
    # Other folders of a site have files of the same names.
    regression=any_of(CONFIG.regressions),
    pair=any_of(CONFIG.pairs_changed()),
    shard=r"\d{4}\d*",
