"""Fetch a data set of the hub: the rows of one split, as Parquet, and what they were made of.

Later stages read only these two files.
"""

import json

from attnlag.corpus import hub
from attnlag.corpus.settings import DatasetSettings
from attnlag.pipeline.program import log
from attnlag.storage import writing


def main(job, settings: DatasetSettings):
    name = job.names.corpus
    record = hub.fetch_dataset(name, settings, job.output.rows)
    log.info(f"{name}: {record['rows']:,} rows of {record['dataset']} at {record['revision']}")
    text = json.dumps(record, indent=2, sort_keys=True, ensure_ascii=False)
    writing.write_text(f"{text}\n", job.output.source)
