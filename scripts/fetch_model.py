"""Fetch a model into a local folder, check it, and describe it.

The folder has the model in Hugging Face's format, ``source.json`` (the exact revision and the
SHA-256 of every file) and ``architecture.txt`` (the tree of modules). Later stages read only this
folder.
"""

import shutil
from pathlib import Path

from attnlag.model import fetching


def main(job, settings: dict):
    folder = Path(job.options.folder)
    fetching.fetch_model(
        job.names.model,
        settings,
        folder,
        # As stated in the configuration, to be compared with those of the model.
        layers=job.options.layers,
        width=job.options.width,
    )
    # A storage provider takes its own copies of these two.
    for copy in vars(job.output).values():
        if not copy.exists():
            shutil.copy(folder / copy.name, copy)
