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

from attnlag.corpus import formats
from attnlag.corpus.documents import (
    Tally,
    corpus_record,
    corpus_summary,
    corpus_table,
    in_batches,
    read_documents,
    schema_of,
)
from attnlag.corpus.settings import CorpusSettings
from attnlag.pipeline import program
from attnlag.storage import tables


def main(arguments: argparse.Namespace) -> None:
    """Read, check and write one corpus, some documents at a time."""
    settings = arguments.settings
    tally = Tally()
    schema = schema_of(settings)
    documents = tally.counting(read_documents(arguments.files, settings))
    tables.write_parts(
        (corpus_table(batch, schema) for batch in in_batches(documents)),
        schema,
        arguments.output,
        lambda: corpus_record(arguments.corpus, tally, settings),
    )
    program.log.info("%s", corpus_summary(arguments.corpus, tally))


if __name__ == "__main__":
    parser = program.argument_parser(__doc__, CorpusSettings)
    parser.add_argument(
        "files",
        nargs="+",
        metavar="FILE",
        help=f"files in corpus order: {', '.join(formats.FORMATS)}, also in .gz or .zst",
    )
    parser.add_argument("--corpus", required=True, metavar="NAME", help="the name of the corpus")
    parser.add_argument("--output", required=True, type=Path, help="the Parquet file to write")
    program.run(main, parser)
