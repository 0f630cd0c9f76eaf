r"""Read the files of a corpus into one Parquet table: document, text and group.

All later stages read this table, so they do not depend on the format of the files. This stage also
reports mistakes in the data, all at once and each with its file and line, before any model is
loaded.

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
from attnlag.pipeline import few_documents, program
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
    if tally.notice:
        program.log.warning("%s: %s", arguments.corpus, tally.notice)
    if notice := few_documents.notice(tally.documents, arguments.covariance):
        program.log.warning("%s: %s", arguments.corpus, notice)


if __name__ == "__main__":
    parser = program.argument_parser(__doc__, CorpusSettings)
    parser.add_argument(
        "files",
        nargs="+",
        metavar="FILE",
        help=f"files in corpus order: {', '.join(formats.FORMATS)}, also in .gz or .zst",
    )
    parser.add_argument("--corpus", required=True, metavar="NAME", help="the name of the corpus")
    parser.add_argument(
        "--covariance", default="none", help="errors that regressions are to have, for a notice"
    )
    parser.add_argument("--output", required=True, type=Path, help="the Parquet file to write")
    program.run(main, parser)
