#!/usr/bin/env python3
"""Build the explorer: one page that shows all studies of a run and opens without a network."""

from pathlib import Path

from attnlag.pipeline import program
from attnlag.report.explorer import page
from attnlag.storage import writing

parser = program.argument_parser(__doc__)
parser.add_argument(
    "coefficients",
    type=Path,
    nargs="+",
    help="coefficients.parquet of each study; the other tables lie where a run puts them",
)
parser.add_argument("--findings", type=Path, nargs="*", default=[], help="texts of findings")
parser.add_argument(
    "--beside", nargs="*", default=[], help="folders of tables of tokens, as token_properties"
)
parser.add_argument("--output", type=Path, required=True, help="the page (HTML)")


def main(args):
    text = page.page(args.coefficients, args.findings, args.beside)
    writing.write_text(text, args.output)
    program.log.info("%s: open it in a browser; %.1f MB", args.output, len(text.encode()) / 1e6)


if __name__ == "__main__":
    program.run(main, parser)
