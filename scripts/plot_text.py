#!/usr/bin/env python3
"""Show documents with every token shaded by its norm: a page with all layers, a figure of one.

Of the corpus, a sample of tokens gives each layer its scale; of the documents that are shown all
tokens are read, so that memory does not grow with the corpus.
"""

from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from tqdm import tqdm

from attnlag.adjustments import columns
from attnlag.adjustments.norms import log_norms
from attnlag.corpus.documents import group_by_document, stored_batches
from attnlag.errors import UserError
from attnlag.figures import drawing, files, text_by_token
from attnlag.figures.settings import NormsFiguresSettings
from attnlag.pipeline import program
from attnlag.storage import tables, writing

ROWS = 16_384

parser = program.argument_parser(__doc__, NormsFiguresSettings)
parser.add_argument("norms", type=Path, help="the first shard; the others lie beside it")
parser.add_argument("--tokens", type=Path, required=True, help="likewise")
parser.add_argument("--corpus", type=Path, required=True, help="the corpus (Parquet)")
parser.add_argument("--site", default="attention", help="the sublayer, for the labels")
parser.add_argument("--page", type=Path, required=True, help="HTML, with all layers")
parser.add_argument("--output", type=Path, nargs="+", required=True, help="one file per format")


def main(args):
    settings = args.settings
    record = tables.read_provenance(args.norms)
    group_of = group_by_document(args.corpus)
    chosen = text_by_token.chosen_documents(settings.documents, group_of, record["corpus"]["name"])
    paths = tables.shards(args.norms)
    names = columns.layers_in(pq.read_schema(paths[0]))
    layers = list(map(columns.layer_number, names))
    first = text_by_token.chosen_layer(settings.text_layer, layers)

    rows = drawing.rows_shown(tables.row_count(paths))
    rows = rows[tables.values_of(paths, "position", rows) >= settings.drop_first]
    limits = [
        text_by_token.limits_of(log_norms(tables.values_of(paths, name, rows)))
        for name in tqdm(names, desc="layers", unit="layer", delay=2)
    ]
    texts = texts_of(args.corpus, chosen)
    sequences = rows_of(tables.shards(args.tokens), chosen, "tokens")
    norms = rows_of(paths, chosen, "norms")
    documents = []
    for name in chosen:
        text_of = {
            (row["window"], position): token
            for row in sequences.filter(pc.field("document") == name).to_pylist()
            for position, token in enumerate(
                text_by_token.token_texts(texts[name], row["char_start"], row["char_end"])
            )
        }
        own = norms.filter(pc.field("document") == name).slice(0, text_by_token.MOST_TOKENS)
        places = zip(own["window"].to_pylist(), own["position"].to_pylist(), strict=True)
        tokens = [text_of[place] for place in places]
        if tokens:
            documents.append(
                text_by_token.ShadedDocument(
                    name=name,
                    group=group_of[name],
                    tokens=tokens,
                    dropped=own["position"].to_numpy() < settings.drop_first,
                    logs=np.stack([log_norms(own[layer].to_numpy()) for layer in names]),
                )
            )
    if not documents:
        raise UserError(f"{args.norms}: found no norms of {', '.join(chosen)}, expected some")
    title = f"{record['model']['name']}, {record['corpus']['name']}, {args.site}"
    shown = {"first": first, "title": f"The text itself: {title}", "site": args.site}
    writing.write_text(text_by_token.page(documents, limits, layers, **shown), args.page)
    draw = partial(text_by_token.text_by_token, documents, limits, layers, **shown)
    files.save_in_sizes(draw, args.output)
    program.log.info("%s: shaded the tokens of %d documents", title, len(documents))


def rows_of(paths, documents, progress):
    """Return the rows of some documents, in order."""
    wanted = pa.array(documents, pa.string())
    found = []
    for path in paths:
        for batch in tables.batches(path, ROWS, progress):
            own = batch.column("document").cast(pa.string())
            part = pa.table(batch).filter(pc.is_in(own, wanted))
            place = part.schema.get_field_index("document")
            found.append(part.set_column(place, "document", part["document"].cast(pa.string())))
    return pa.concat_tables([part.replace_schema_metadata() for part in found])


def texts_of(corpus, documents):
    """Return the texts of some documents, by document; one row group is in memory at a time."""
    wanted, texts = set(documents), {}
    for table in stored_batches(corpus, 0, None, columns=["document", "text"]):
        for name, text in zip(*(column.to_pylist() for column in table.columns), strict=True):
            if name in wanted:
                texts[name] = text
    return texts


if __name__ == "__main__":
    program.run(main, parser)
