# The job of each rule: what its program gets, and what makes it run again.

from attnlag.pipeline import job, stages
from attnlag.pipeline.digests import code_digests
from attnlag.storage import contents

CODE = code_digests(SCRIPTS)
# Rules ask again and again for the digests of equal files.
digests_of = functools.cache(contents.digests_in_words)


def job_params(name, program=None, given=None, **options):
    """Return the params of a rule: its program, the job, and what runs it again when it changes.

    Snakemake compares the settings, the digest of the code and those of the user's files, which
    ``given`` returns, beside the inputs and the rule's text. It does not compare the job, which
    depends on the inputs and outputs. The job also has ``options``, which change speed and memory,
    but results only by rounding; with ``dtype: auto`` a GPU runs weights in half precision as they
    are. The settings of a rule are made by its entry in STAGES (pipeline/stages.py).
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


# The folder of a model, as an option: no storage provider has it.
MODEL_FOLDER = lambda wildcards: f"data/models/{wildcards.model}"
