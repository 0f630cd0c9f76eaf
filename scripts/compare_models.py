#!/usr/bin/env python3
"""Compare models over relative depth: one table of all coefficients, and one row per pair.

Takes the coefficients of any number of regressions, models, corpora and sites; the
cross-products, from which the bootstrap by document is reckoned, are looked for in the folder
``crossproducts`` beside each. Writes the tidy table of all of them, the table of pairs of models
and the findings that the run ends with.
"""

from dataclasses import asdict
from pathlib import Path

from attnlag.pipeline import program
from attnlag.regression import comparison
from attnlag.regression.settings import ComparisonSettings
from attnlag.storage import tables, writing

parser = program.argument_parser(__doc__, ComparisonSettings)
parser.add_argument("studies", type=Path, nargs="+", help="coefficients.parquet of each study")
parser.add_argument("--coefficients", type=Path, required=True, help="Parquet; CSV beside it")
parser.add_argument("--pairs", type=Path, required=True, help="Parquet; CSV beside it")
parser.add_argument("--findings", type=Path, required=True, help="text")


def main(args):
    settings = args.settings
    studies = [comparison.read_study(path) for path in args.studies]
    inference = comparison.common_inference(studies)
    pairs = comparison.pairs(
        studies, draws=settings.draws, seed=settings.seed, alpha=inference["alpha"]
    )

    # What made each study is on record as it was in the study's own table.
    made = [{**{k: getattr(s, k) for k in comparison.KEYS}, "record": s.record} for s in studies]
    record = tables.provenance(
        {"stages": {"regression": inference}},
        "comparison",
        asdict(settings),
        "numpy",
        "pandas",
        studies=made,
    )
    for table, path in (
        (comparison.coefficients(studies), args.coefficients),
        (pairs, args.pairs),
    ):
        tables.write_frame(table, path, path.with_suffix(".csv"), record)
    writing.write_text(comparison.findings(pairs, inference["alpha"]), args.findings)
    program.log.info("compared %d studies in %d pairs and lags", len(studies), len(pairs))


if __name__ == "__main__":
    program.run(main, parser)
