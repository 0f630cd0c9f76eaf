# What the rules share: the checked configuration, the settings of each stage, the code it runs.

import fcntl
import json
import logging
import os
import re
import shutil
import socket
import sys
import tarfile
import tempfile
import textwrap
import uuid
from contextlib import suppress
from pathlib import Path
from shlex import quote

from snakemake.exceptions import LockException, WorkflowError
from snakemake.persistence import PersistenceBase

# As a module, attnlag makes the files of another workflow, whose run it is.
IS_MODULE = not workflow.modifier.is_main_snakefile()
# What that workflow has named before, stays its target.
IS_TARGET = workflow.default_target is None

if IS_MODULE:
    # Scripts find some files beside others, by names that Snakemake would not change for them.
    for folder in ("data/", "logs/", "results/"):
        if (moved := workflow.modifier.path_modifier.replace_prefix(folder)) != folder:
            sys.exit(
                f"attnlag as a module: found a prefix, which makes {moved} of {folder}, expected none"
            )


def project_folder():
    """Return attnlag's folder on this machine.

    Of a repository elsewhere, such as one that a module names with ``github(...)``, Snakemake reads
    the files that hold rules; what jobs run is unpacked below ``.snakemake/``, where they see it
    on other machines too.
    """
    source = workflow.current_basedir
    if source.is_local:
        return Path(str(source)).parents[1]
    if not hasattr(source, "hosted_repo"):
        sys.exit(f"attnlag: found {source}, expected a path, or a repository as in github(...)")
    repository = source.hosted_repo.repo
    commit = repository.commit(source.ref).hexsha
    folder = Path(".snakemake", "attnlag", commit).absolute()
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with (
            tempfile.TemporaryDirectory(dir=folder.parent) as place,
            tempfile.TemporaryFile() as tar,
        ):
            repository.archive(tar, commit, path=["scripts", "workflow"])
            tar.seek(0)
            files = Path(place, "files")
            with tarfile.open(fileobj=tar) as archive:
                archive.extractall(files, filter="data")
            # Unless another process was faster.
            with suppress(OSError):
                files.rename(folder)
    return folder


SCRIPTS = project_folder() / "scripts"
sys.path.insert(0, str(SCRIPTS))

from attnlag.config.problems import check, name_problem, reading_problems
from attnlag.config.reading import section_of
from attnlag.config.schema import canonical
from attnlag.figures.sizes import SIZES, suffix_of
from attnlag.pipeline.digests import code_digest
from attnlag.storage.names import NAME_PATTERN
from attnlag.storage.writing import RUN_RECORD, RUN_VARIABLE

# The jobs run this interpreter, whether or not its environment is activated.
os.environ.update(
    PATH=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
)

# The software is set up with pip, from requirements.txt. This names the same packages for whoever
# asks Snakemake to deploy software with conda.
ENVIRONMENT = "../envs/attnlag.yaml"

# A file given with --configfile stands for itself; Snakemake would merge it into this one.
if not workflow.overwrite_configfiles and not IS_MODULE:
    if problems := reading_problems("config/config.yaml"):
        sys.exit("\n".join(problems))

    configfile: "config/config.yaml"


FILES, SECTION = list(map(os.path.relpath, workflow.configfiles)), ()
if IS_MODULE:
    # What another workflow hands over may be all that it has read, a section of it, or neither.
    SECTION = section_of(config, workflow.modifier_stack[0].globals["config"])
    FILES, SECTION = ([], ()) if SECTION is None else (FILES, SECTION)
CONFIG, problems = check(config, FILES, SECTION)
# A job may run where the user's files are not: the run that submitted it has looked.
if problems and (CONFIG is None or workflow.is_main_process):
    sys.exit("\n".join(problems))


def on_record():
    """Return the machine and process of the run on record in this folder, and its mark."""
    RECORD.seek(0)
    return [*RECORD.read().split(), "?", "?", "?"][:3]


def put_on_record(mark):
    """Name this run as the one that is alone in this folder."""
    RECORD.truncate(0)
    RECORD.write(f"{socket.gethostname()} {os.getpid()} {mark}")
    RECORD.flush()


def clear_stale_locks():
    """Remove the locks of Snakemake's that a run which was killed has left in this folder.

    Every run shares a lock of the system's on the record, as long as it lives. Who gets that lock
    for itself is alone here; but file systems over several machines may not tell, so that what
    another machine has left stays.

    Returns
    -------
    str
        ``alone``; ``beside others``, which goes well as long as they make other files; ``unknown``.
    """
    locks = [*Path(".snakemake/locks").glob("*.lock")]
    try:
        fcntl.flock(RECORD, fcntl.LOCK_EX | fcntl.LOCK_NB)
        state = "alone"
    except BlockingIOError:
        state = "beside others"
    except OSError:
        return "unknown"
    machine, _, mark = on_record()
    if state == "alone" and locks and machine != socket.gethostname():
        state = "unknown"
    if state == "alone":
        for lock in locks:
            lock.unlink()
        # Before this run has locks of its own, for it may be killed as soon as it has them.
        put_on_record(mark)
    fcntl.flock(RECORD, fcntl.LOCK_SH)
    return state


def refuse_what_cannot_be_written():
    """Stop before the first job: Snakemake would end in a traceback of its own."""
    folders = [folder for folder in ("results", "logs") if os.path.isdir(folder)]
    problems = [
        f"error: {folder}: found a folder that may not be written, expected one that may"
        for folder in folders
        if not os.access(folder, os.W_OK)
    ]
    if problems:
        sys.exit("\n".join(problems))


def begin_run():
    """Mark this run as the newest, so that jobs which outlived a killed one write nothing more.

    Of runs side by side only the first has a mark: the others do not end its jobs.
    """
    os.environ.pop(RUN_VARIABLE, None)
    if STATE == "alone":
        mark = uuid.uuid4().hex
        put_on_record(mark)
        os.environ.update({RUN_VARIABLE: mark})


def explain_locks(error):
    """Give Snakemake's error about locks a text that says whose they are, and what to type."""
    machine, process, _ = on_record()
    begun = f"begun on {machine} as process {process}"
    if STATE == "beside others":
        text = (
            f"error: found another run in this folder ({begun}) that makes the same files, "
            "expected none: wait for its end or stop it, and call snakemake again"
        )
    else:
        text = (
            f"error: found the locks of another run in this folder ({begun}), and cannot tell from "
            f"{socket.gethostname()} whether it goes on: once it does not, call "
            "'snakemake --unlock', and snakemake again"
        )
    WorkflowError.__init__(error, text)


# Not in the jobs, which are processes of their own, and not for a run that is another's.
if workflow.is_main_process and not IS_MODULE:
    RUN_RECORD.parent.mkdir(exist_ok=True)
    RECORD = RUN_RECORD.open("a+")
    STATE = clear_stale_locks()
    LockException.__init__ = explain_locks
    # On a full disk each line of Snakemake's own log would print a traceback.
    logging.raiseExceptions = False
    # Between jobs it would say twice that it goes on, and after the error that a program has told,
    # with status 1, what the command was.
    NOISE = re.compile(
        r"Select jobs to execute|Execute \d+ job|RuleException:\s*CalledProcessError .*status 1\.",
        re.DOTALL,
    )
    logger.addFilter(lambda record: not NOISE.match(str(record.msg)))


note_finished = PersistenceBase.finished


async def leave_notes_to_the_run(persistence, job):
    """Do nothing, in place of Snakemake's noting that a job is finished, unless no run waits."""
    if persistence.dag.workflow.remote_execution_settings.immediate_submit:
        await note_finished(persistence, job)


# The process that a cluster starts for a job takes the mark off its files that they are incomplete,
# and writes down nothing of what they were made with: that is for the run that submitted it. Of a
# run that was killed before, the next would take them for made, whatever its settings are.
if workflow.remote_exec:
    PersistenceBase.finished = leave_notes_to_the_run

# The rules name programs by their path in attnlag's folder, wherever a run is: what begins a job's
# shell finds them. Elsewhere than here, it is itself named by its whole path.
BEGIN = SCRIPTS.parent / "workflow" / "begin_job.sh"
if Path.cwd().samefile(SCRIPTS.parent):
    BEGIN = BEGIN.relative_to(SCRIPTS.parent)


class shell(shell):
    """Snakemake's own, so that the prefix is that of these rules and of no other workflow's."""


shell.prefix(
    f"set -euo pipefail; source {quote(str(BEGIN))}; ".replace("{", "{{").replace("}", "}}")
)


wildcard_constraints:
    model=NAME_PATTERN,
    corpus=NAME_PATTERN,
    site="|".join(CONFIG.extraction.sites),
    regression=NAME_PATTERN,
    shard=r"\d{4}\d*",
    format="svg|png",


def named(regressions):
    """Return a pattern for the names of these regressions, and for nothing else."""
    return "|".join(map(re.escape, regressions)) or r"[^\s\S]"


# A regression of permuted documents goes its own way from the norms to the coefficients.
REGRESSIONS = [name for name, r in CONFIG.regressions.items() if r.permute == "none"]
NULLS = [name for name in CONFIG.regressions if name not in REGRESSIONS]
FITTED, PERMUTED = named(REGRESSIONS), named(NULLS)


def code(rule_name):
    """Return a digest of the script of a rule and the library modules that it imports."""
    return code_digest(SCRIPTS / f"{rule_name}.py")


def shards(corpus):
    """Return the names of a corpus' shards."""
    return [f"{shard:04d}" for shard in range(CONFIG.corpora[corpus].shards)]


def shards_of(pattern):
    """Return an input function for the files of all shards, in order.

    A script is given the first and finds the others beside it: the paths of thousands are more
    than one command line holds.
    """
    return lambda wildcards: expand(pattern, shard=shards(wildcards.corpus), allow_missing=True)


def memory(base, per_mb=0):
    """Return a function for the MB that a job needs: a base, and so much for each MB of input.

    A job that is tried again, perhaps killed for memory, gets as much again.
    """

    def with_input(wildcards, input, attempt):
        return attempt * round(base + per_mb * input.size_mb)

    return with_input if per_mb else lambda wildcards, attempt: attempt * base


def minutes(count):
    """Return a function for the time that a job needs; one that is tried again gets as much again."""
    return lambda wildcards, attempt: f"{attempt * count}m"


def memory_of_extraction(wildcards, input, attempt):
    """Return the MB for the model and a batch. On a GPU, weights only pass through main memory.

    A model that is not there yet raises FileNotFoundError: Snakemake asks again once it is.
    """
    folder = Path(folder_of_model(wildcards))
    os.stat(folder / "source.json")
    weights = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    # Half precision is stored in 2 bytes and computed in 4, while the stored weights are at hand.
    copies = 1.5 if CONFIG.extraction.device.startswith("cuda") else 3
    batch = CONFIG.extraction.batch_tokens / 4
    return attempt * round(2500 + copies * weights / 1e6 + batch)


def for_covariate(covariate, pattern):
    """Return an input function for a file that a regression needs for one of its covariates."""

    def file(wildcards):
        asked = CONFIG.regressions[wildcards.regression].covariates
        return pattern if covariate in asked else []

    return file


def folder_of_model(wildcards):
    """Return the folder of a model. It is on disk, also where a storage provider has the results."""
    return f"data/models/{wildcards.model}"


def source_files(wildcards):
    """Return the files that a model is made from, so that a change in them is seen."""
    model = CONFIG.models[wildcards.model]
    if model.source == "random":
        return [f"data/models/{model.of}/source.json"]
    if model.source != "path":
        return []
    if model.path.is_file():
        return local(str(model.path))
    # Other files may lie there too, with names of any kind.
    files = (path for path in model.path.iterdir() if path.is_file() and not name_problem(path))
    return sorted(local(str(path)) for path in files)


def settings_of_model(wildcards):
    return canonical(
        CONFIG.models[wildcards.model].model_dump(exclude={"modules", "layers", "width"})
    )


def settings_of_corpus(wildcards):
    fields = {"id", "text", "group", "split"}
    return canonical(CONFIG.corpora[wildcards.corpus].model_dump(include=fields))


def settings_of_tokens(wildcards):
    shards = CONFIG.corpora[wildcards.corpus].shards
    return canonical({**CONFIG.tokens.model_dump(), "shards": shards})


def settings_of_extraction(wildcards):
    fields = {"sites", "keep", "dtype", "attention_implementation", "fast"}
    if CONFIG.extraction.keep == "vectors":
        fields.add("storage_dtype")
    model = CONFIG.models[wildcards.model]
    modules = model.modules
    if modules is None and model.source == "random":
        modules = CONFIG.models[model.of].modules  # the same architecture, so the same modules
    return canonical({**CONFIG.extraction.model_dump(include=fields), "modules": modules})


def settings_of_design(wildcards):
    fields = {"lags", "leads", "covariates"}
    regression = CONFIG.regressions[wildcards.regression]
    if "position" in regression.covariates:
        fields.add("position_knots")
    rows = {"drop_first": CONFIG.norms.drop_first, "sample": CONFIG.sample()}
    return canonical({**regression.model_dump(include=fields), **rows})


def settings_of_regression(wildcards):
    fields = {"fixed_effects", "bias_correction"}
    regression = CONFIG.regressions[wildcards.regression]
    return canonical(
        {"inference": CONFIG.inference, "regression": regression.model_dump(include=fields)}
    )


def settings_of_groups(wildcards):
    regression = CONFIG.regressions[wildcards.regression]
    fields = {"covariance", "alpha", "adjust", "stack_mb"}
    inference = CONFIG.inference.model_dump(include=fields)
    return canonical({**inference, "fixed_effects": regression.fixed_effects})


def settings_of_crossproducts(wildcards):
    regression = CONFIG.regressions[wildcards.regression]
    return canonical({"halves": regression.bias_correction == "half-panel"})


def settings_of_residuals(wildcards):
    regression = CONFIG.regressions[wildcards.regression]
    fields = {"fixed_effects"}
    return canonical(
        {**regression.model_dump(include=fields), "hac_lags": CONFIG.inference.hac_lags}
    )


def settings_of_permutations(wildcards):
    regression = CONFIG.regressions[wildcards.regression]
    return canonical(
        {
            "design": json.loads(settings_of_design(wildcards)),
            "draws": regression.permutations,
            "seed": regression.seed,
            "fixed_effects": regression.fixed_effects,
        }
    )


def settings_of_null(wildcards):
    return canonical(CONFIG.inference.model_dump(include={"alpha", "adjust"}))


def settings_of_norms(wildcards):
    return canonical({"drop_first": CONFIG.norms.drop_first})


def settings_of_text(wildcards):
    chosen = CONFIG.figures.documents or {}
    return canonical(
        {
            "documents": chosen.get(wildcards.corpus),
            "layer": CONFIG.figures.text_layer,
            "drop_first": CONFIG.norms.drop_first,
        }
    )


def settings_of_table(wildcards):
    null = wildcards.regression in NULLS
    return settings_of_null(wildcards) if null else settings_of_regression(wildcards)


def settings_of_panels(wildcards):
    return canonical({"layers": CONFIG.figures.layers})


def settings_of_comparison(wildcards):
    return canonical(CONFIG.comparison)


RESULTS = "results/{model}/{corpus}/{site}/{regression}"
COMPARISON_FIGURE = "results/comparison/figures/{site}/{regression}/coefficients_by_depth"
# What all regressions of a site share; no regression has this name.
SPECIFICATIONS = "results/{model}/{corpus}/{site}/figures/specifications_by_layer"
# What all sites of a regression share; no site has this name.
BESIDE_SITES = "results/{model}/{corpus}/figures/{regression}"


# What the names of figures end with, before the format.
ENDINGS = [suffix_of(name) for name in SIZES if name in CONFIG.figures.sizes]


def studies(pattern, regressions=tuple(CONFIG.regressions)):
    """Return ``pattern`` for every model, corpus, site and regression of the configuration."""
    return expand(
        pattern,
        model=CONFIG.models,
        corpus=CONFIG.corpora,
        site=CONFIG.extraction.sites,
        regression=regressions,
        format=CONFIG.figures.formats,
        size=ENDINGS,
    )


# In the report in this order, which is that of the flow: it sorts its categories by name.
CATEGORIES = {
    "corpus": "1 Corpus",
    "norms": "2 Norms",
    "coefficients": "3 Coefficients",
    "diagnostics": "4 Diagnostics",
    "comparison": "5 Comparison",
}


def in_report(path, caption, category, subcategory, shows, **labels):
    """Return an output for the report, labelled by what it is of."""
    by_default = {
        "model": "{model}",
        "corpus": "{corpus}",
        "site": "{site}",
        "regression": "{regression}",
        "layer": "all",
    }
    return report(
        path,
        caption=f"../report/{caption}.rst",
        category=CATEGORIES[category],
        subcategory=subcategory,
        labels={**by_default, **labels, "shows": shows},
    )


def figure(pattern, *about, **labels):
    """Return the files of a figure, one per size and format; the report shows the first one.

    That is the page's, in the format that scales best.
    """
    formats = sorted(CONFIG.figures.formats)[::-1]
    files = expand(pattern, size=ENDINGS, format=formats, allow_missing=True)
    return [in_report(files[0], *about, shows="figure", **labels), *files[1:]]


def every_shard(pattern):
    """Return ``pattern`` for every shard of every study, but those of permuted documents."""
    paths = []
    for corpus in CONFIG.corpora:
        of_corpus = expand(pattern, corpus=corpus, shard=shards(corpus), allow_missing=True)
        paths += [path for each in of_corpus for path in studies(each, REGRESSIONS)]
    return paths


def null_of(wildcards):
    """Return the coefficients of the regression of permuted documents with the same terms."""
    own = CONFIG.regressions[wildcards.regression]
    fields = {"lags", "leads", "covariates", "fixed_effects"}
    fields |= {"position_knots"} if "position" in own.covariates else set()
    same = own.model_dump(include=fields)
    of_null = f"{RESULTS}/coefficients.parquet".replace("{regression}", "{null}")
    return [
        expand(of_null, null=name, allow_missing=True)[0]
        for name in NULLS
        if CONFIG.regressions[name].model_dump(include=fields) == same
        and own.bias_correction == own.permute == "none"
    ][:1]


def joint_of(wildcards):
    """Return what joint bands rest on, if the figures are to have them."""
    joint = CONFIG.figures.bands == "joint" and wildcards.regression in REGRESSIONS
    return f"{RESULTS}/joint.json" if joint else []


# With a single model and corpus there is nothing to compare.
COMPARED = bool(REGRESSIONS) and len(CONFIG.models) * len(CONFIG.corpora) > 1


def everything():
    """Return what a run makes: tables, summaries and figures."""
    patterns = [
        f"{RESULTS}/coefficients.html",
        f"{RESULTS}/findings.txt",
        "results/{model}/{corpus}/token_summary.html",
        "results/{model}/{corpus}/{site}/figures/norms_by_layer{size}.{format}",
        "results/{model}/{corpus}/{site}/figures/norms_by_position{size}.{format}",
        "results/{model}/{corpus}/{site}/figures/text.html",
        "results/{model}/{corpus}/{site}/figures/text_by_token{size}.{format}",
        f"{RESULTS}/figures/coefficients_by_layer{{size}}.{{format}}",
    ]
    if len(CONFIG.regressions) > 1:
        patterns.append(f"{SPECIFICATIONS}{{size}}.{{format}}")
    paths = [path for pattern in patterns for path in studies(pattern)]
    of_fits = [
        f"{RESULTS}/figures/outcome_by_lag{{size}}.{{format}}",
        f"{RESULTS}/figures/diagnostics{{size}}.{{format}}",
        f"{RESULTS}/groups.csv",
        f"{RESULTS}/figures/groups_by_layer{{size}}.{{format}}",
    ]
    if len(CONFIG.extraction.sites) > 1:
        of_fits.append(f"{BESIDE_SITES}/sites_by_layer{{size}}.{{format}}")
    if COMPARED:
        of_fits += ["results/comparison/coefficients.html", "results/comparison/pairs.html"]
        of_fits += [f"{COMPARISON_FIGURE}{{size}}.{{format}}"]
    paths += [path for pattern in of_fits for path in studies(pattern, REGRESSIONS)]
    return sorted(set(paths))


def closing_words():
    """Return where the results are and the findings of every regression and comparison."""
    lines = []
    compared = ["results/comparison/findings.txt"] if COMPARED else []
    prefix = workflow.storage_settings.default_storage_prefix
    for path in studies(f"{RESULTS}/findings.txt") + compared:
        if prefix:
            lines += [f"{prefix}/{path}"]
            continue
        findings = Path(path)
        if findings.exists():
            lines += [findings.read_text(encoding="utf-8") + f"  in {findings.parent}/"]
    text = "\n".join(lines)
    if not sys.stdout.isatty():
        return text
    width = shutil.get_terminal_size().columns
    return "\n".join(
        textwrap.fill(line, width, subsequent_indent="    ", break_on_hyphens=False)
        for line in text.split("\n")
    )


def write_record():
    """Write results/provenance.json, which says what made every file.

    Results in a storage provider's hands are not read back for it.
    """
    if not workflow.storage_settings.default_storage_provider:
        # Only here: every job reads this file, and need not wait for what this imports.
        from attnlag.pipeline import records
        from attnlag.errors import UserError

        try:
            records.write(workflow)
        except UserError as error:
            print(*(f"error: {problem}" for problem in error.problems), sep="\n", file=sys.stderr)
