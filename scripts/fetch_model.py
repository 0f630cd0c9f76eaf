"""Fetch a model into a local folder, check it, and describe it.

The folder has the model in Hugging Face's format, ``source.json`` (the exact revision and the
SHA-256 of every file) and ``architecture.txt`` (the tree of modules). Later stages read only this
folder, so only this program needs the network.
"""

import shutil
from pathlib import Path

from attnlag.model import fetching


def main(job, settings: dict):
    folder = Path(job.options.folder)
    # The stated layers and width only assert something.
    layers, width = job.options.layers, job.options.width
    fetching.fetch_model(job.names.model, settings, folder, layers=layers, width=width)
    # A storage provider takes its own copies of these two.
    for copy in vars(job.output).values():
        if not copy.exists():
            shutil.copy(folder / copy.name, copy)
