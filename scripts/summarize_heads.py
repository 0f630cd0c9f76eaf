"""Give what each attention head writes and attends to, and the regression of its log norm.

The regressions stand beside their controls, and beside those of layers with and without the tokens
at their floor. In a large corpus, all but the attention to first tokens is that of a sample of
documents.
"""

import tempfile
from pathlib import Path

import attnlag.pipeline.program as program

import pyarrow.parquet as pq

from attnlag.adjustments.columns import HEADS_KEY, SINKS_KEY, layers_in
from attnlag.corpus.documents import group_by_document
from attnlag.errors import counted
from attnlag.regression.beyond import heads, lags_of_heads
from attnlag.regression.estimation import sampling
from attnlag.regression.settings import HeadsSettings
from attnlag.report.heads import heads_findings
from attnlag.storage import tables, writing


def main(job):
    settings, given, output = job.settings, job.input, job.output
    sample = sampling.sample_of(given.heads)
    documents = sample.documents if sample.end else None
    group_of = group_by_document(given.corpus) if settings.cluster == "group" else None
    lags = lags_of_heads.NOTHING.copy()
    with tempfile.TemporaryDirectory() as folder:
        of_heads, norms, sequences = of_sample(given, documents, Path(folder))
        parts = heads.table(of_heads, norms, given.sinks, sequences, drop_first=settings.drop_first)
        if settings.design is not None:
            lags = lags_of_heads.of_files(
                of_heads, norms, vars(given), documents, settings, group_of=group_of
            )
    parts["sampled"] = documents is not None
    shared = tables.of_all_shards(given.heads)
    facts = {"sample_end": sample.end}
    record = tables.provenance(shared, "heads_table", settings, "numpy", "scipy", **facts)
    name = tables.write_results({output.heads: parts}, record, site="attention")
    names = {"site": "attention", "regression": settings.regression}
    tables.write_results({output.head_coefficients: lags}, record, **names)
    if documents is not None:
        name += f", a sample of {counted(len(documents), 'document')}"
    proof = pq.read_metadata(given.heads[0]).metadata[HEADS_KEY].decode()
    sunk = pq.read_metadata(given.sinks[0]).metadata[SINKS_KEY].decode()
    text = heads_findings(parts, lags, name, settings.regression, proof, sunk)
    writing.write_text(text, output.findings)
    layers = len(layers_in(pq.read_schema(given.heads[0])))
    program.log.info(f"{name}: heads of {layers} layers")


def of_sample(given, documents, folder):
    """Return the files of norms of heads, of adjustments, and of heads where attention is known.

    If documents are given, the first two hold these alone, and the last those of the attention.
    """
    if documents is None:
        return given.heads, given.norms, given.heads
    known = [pq.read_table(path, columns=["document"])[0].to_pylist() for path in given.sinks]
    parts = {"heads": (given.heads, documents), "norms": (given.norms, documents)}
    parts["sequences"] = given.heads, sorted(set().union(*known))
    return [sampling.copied(*part, folder / name) for name, part in parts.items()]


if __name__ == "__main__":
    program.run(main, HeadsSettings)
