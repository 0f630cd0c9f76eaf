#!/usr/bin/env python3
"""Make a page of the characters and tokens of a corpus that a browser sorts and filters."""

from pathlib import Path

import pandas as pd

from attnlag.pipeline import program
from attnlag.report import html_tables
from attnlag.storage import tables

# A page of more rows than these is slow to open.
MOST_ROWS = 5000

parser = program.argument_parser(__doc__)
parser.add_argument("summary", type=Path, help="by document, group and corpus (Parquet)")
parser.add_argument("--output", type=Path, required=True, help="HTML")


def main(args):
    summary = pd.read_parquet(args.summary)
    record = tables.read_provenance(args.summary)
    name = f"{record['model']['name']}, {record['corpus']['name']}"
    shown = summary.head(MOST_ROWS)
    left = f" The first {MOST_ROWS:,} of {len(summary):,} rows." if len(summary) > MOST_ROWS else ""
    whole = summary.iloc[0]
    html_tables.write_page(
        shown,
        args.output,
        title=f"Corpus: {name}",
        note=f"{whole['documents']:,} documents, {whole['characters']:,} characters, "
        f"{whole['tokens']:,} tokens, {whole['characters_per_token']:.2f} characters per token; "
        f"below, the corpus, its groups and its documents.{left}",
    )
    program.log.info("%s: made a page of %d rows", name, len(shown))


if __name__ == "__main__":
    program.run(main, parser)
