# The job of each rule: what its program gets, and the environment that it runs in.

from attnlag.pipeline import job, stages
from attnlag.pipeline.digests import code_digests
from attnlag.storage import contents

os.environ.update(
    # Name of attnlag's folder in the shells of jobs.
    ATTNLAG="." if Path.cwd().samefile(FOLDER) else str(FOLDER),
    # Jobs use the interpreter that runs Snakemake, whether or not its environment is activated.
    PATH=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
)

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

CODE = code_digests(SCRIPTS)
# Rules ask again and again for the digests of equal files.
digests_of = functools.cache(contents.digests_in_words)


def job_params(name, program=None, given=None, **options):
    """Return the params of a rule: its program, the job, and what a change of runs it again.

    Snakemake compares the settings, the digest of the code and those of the user's files, which
    ``given`` returns. It does not compare the job, because that depends on the inputs and outputs;
    it also has ``options``, settings that change no output. The settings of a rule are made by its
    entry in STAGES (pipeline/stages.py).
    """
    settings = stages.settings_of(name, CONFIG)

    def job_text(wildcards, input, output):
        stated = settings(wildcards) if settings else None
        chosen = {key: resolved(option, wildcards) for key, option in options.items()}
        text = job.text_of(name, input, output, dict(wildcards.items()), stated, chosen)
        return job.argument(text)

    params = {"program": program or name, "job": job_text, "code": CODE[name]}
    if settings:
        params["settings"] = settings
    if given:
        # By itself, Snakemake does not see that a file has been replaced by an older one.
        params["given"] = lambda wildcards: digests_of(*given(wildcards))
    return params


# Options of the programs that run a model. They change speed and memory, but no result.
SPEED = {
    # No storage provider has the folder of a model.
    "folder": lambda wildcards: f"data/models/{wildcards.model}",
    "device": CONFIG.extraction.device,
    "batch_tokens": CONFIG.extraction.batch_tokens,
}
