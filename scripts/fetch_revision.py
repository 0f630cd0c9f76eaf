"""Fetch an earlier checkpoint of a model into a folder below the model's, and check it.

It must have the type and the sizes of the model; it needs no tokenizer.
"""

import json
from pathlib import Path

from attnlag.model import fetching


def main(job, settings: dict):
    final = json.loads(job.input.model.read_text(encoding="utf-8"))
    folder = Path(job.options.folder)
    fetching.fetch_revision(job.names.model, int(job.names.step), settings, folder, final)
