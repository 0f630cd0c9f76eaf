"""Check that every layer of every regression was fitted; fail if one was not.

This is the last program of a run: its exit status is that of the run.
"""

import pandas as pd

from attnlag import wording
from attnlag.claims.fits import fitted_layers, unfitted_layers
from attnlag.errors import UserError, counted
from attnlag.pipeline.program import log
from attnlag.regression.labels import NO_LAYER_BEFORE
from attnlag.storage import writing


def main(job):
    lines = []
    problems = []
    for path in job.input.fits:
        fits = pd.read_parquet(path)
        name = ", ".join(fits.iloc[0][["model", "corpus", "site", "regression"]])
        lines.append(f"{name}: {wording.text(fitted_layers(fits), 'finding')}")
        # That the first layer has none before it is no failure.
        fits = fits[fits["status"] != NO_LAYER_BEFORE]
        for text in wording.texts([*unfitted_layers(fits)], "finding"):
            problems.append(f"{name}: {text}")
    if problems:
        raise UserError(problems)
    writing.write_text("\n".join(lines) + "\n", job.output.text)
    log.info(f"all layers are fitted in {counted(len(lines), 'regression')}")
