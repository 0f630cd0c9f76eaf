#!/usr/bin/env python3
"""Draw the figures of slopes by class of tokens, and of lags as covariates enter."""

from pathlib import Path

from attnlag.figures import files
from attnlag.figures.inputs.regressions import ClassesInputs
from attnlag.pipeline import program

parser = program.argument_parser(__doc__)
parser.add_argument("--classes", type=Path, required=True, help="the slopes (Parquet)")
parser.add_argument("--equal-slopes", type=Path, required=True, help="their tests (Parquet)")
parser.add_argument("--steps", type=Path, required=True, help="the lags as covariates enter")
parser.add_argument("--parts", type=Path, required=True, help="what each of these changes")
parser.add_argument("--output", type=Path, nargs="+", required=True, help="files of figures")


def main(args):
    inputs = ClassesInputs(args.classes, args.equal_slopes, args.steps, args.parts)
    program.log.info("%s: drew %s", inputs.name, files.draw_figures(inputs, args.output))


if __name__ == "__main__":
    program.run(main, parser)
