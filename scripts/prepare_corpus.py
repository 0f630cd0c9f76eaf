r"""Read the files of a corpus into one Parquet table: document, text and group.

Everything after this stage reads that one table, so it need not know what the documents were
stored in. It is also where mistakes in the data are found: all of them at once, each with its
file and line, before any model is loaded.

    prepare_corpus.py data/prompts.jsonl --corpus prompts \
        --settings '{"id": "id", "text": "text", "group": "genre", "split": "none"}' \
        --output results/corpora/prompts.parquet
"""

import argparse
from pathlib import Path

from attnlag import corpora, program, tables


def main(arguments: argparse.Namespace) -> None:
    """Read, check and write one corpus, some documents at a time."""
    settings = corpora.DEFAULTS | arguments.settings
    tally = corpora.Tally()
    documents = tally.counting(corpora.read_documents(arguments.files, settings))
    tables.write_parts(
        map(corpora.corpus_table, corpora.in_batches(documents)),
        corpora.SCHEMA,
        arguments.output,
        lambda: corpora.corpus_record(arguments.corpus, tally, settings),
    )
    program.log.info("%s", corpora.corpus_summary(arguments.corpus, tally))


if __name__ == "__main__":
    parser = program.argument_parser(__doc__)
    parser.add_argument(
        "files",
        nargs="+",
        metavar="FILE",
        help=f"files in corpus order: {', '.join(corpora.FORMATS)}, also in .gz or .zst",
    )
    parser.add_argument("--corpus", required=True, metavar="NAME", help="the name of the corpus")
    parser.add_argument("--output", required=True, type=Path, help="the Parquet file to write")
    program.run(main, parser)
