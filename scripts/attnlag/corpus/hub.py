"""Data sets of the Hugging Face hub, as the Parquet files into which the hub converts them.

The branch has a folder ``CONFIGURATION/SPLIT/`` with the rows of each split, in numbered files.
"""

import glob
import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from attnlag.corpus.documents import first_in_turn
from attnlag.corpus.formats import column_kind_problems, column_problems, listed
from attnlag.corpus.settings import DatasetSettings
from attnlag.errors import UserError, nearest
from attnlag.model import hub, offline
from attnlag.storage import tables
from attnlag.storage.contents import sha256_of

log = logging.getLogger("attnlag")

# A file of a split; of a large data set the hub converts only the first part of each split.
SPLIT_FILE = re.compile(r"(?P<config>[^/]+)/(?P<partial>partial-)?(?P<split>[^/]+)/[^/]+\.parquet")


def fetch_dataset(name: str, settings: DatasetSettings, path: Path) -> dict[str, Any]:
    """Write the documents of a data set to a Parquet file, and return what they were made of.

    Parameters
    ----------
    name : str
        Name of the corpus.
    settings : DatasetSettings
        The data set, and the columns of its documents, which the file has.
    path : path
        The file. An existing one stays unchanged if anything fails.

    Returns
    -------
    dict
        The data set with its commit and licence, the configuration and the split, the number of
        rows, and the SHA-256 of each file that was read.

    Raises
    ------
    UserError
        If the hub does not give the data set, or it has no such configuration, split or column.
    """
    repository = settings.dataset
    revision = settings.revision
    try:
        with offline.lifted(), hub.problems_in_words(repository, revision, "dataset"):
            # The cache may lack files of a split, so the hub must list them.
            facts = hub.listed_facts(repository, revision, "dataset")
            files = _files(facts, settings)
            log.info("fetching %s at %s", repository, facts.commit)
            read: dict[str, Path] = {}
            rows = _write(_downloaded(facts, files, read), settings, path)
    except UserError as error:
        raise UserError([f"corpora.{name}: {problem}" for problem in error.problems]) from error
    record = {
        "name": name,
        "dataset": repository,
        "revision": facts.commit,
        "config": files[0].partition("/")[0],
        "split": settings.split,
        "rows": rows,
        "files": {file: sha256_of(cached) for file, cached in read.items()},
    }
    if facts.licence:
        record["license"] = facts.licence
    return record


def _files(facts: hub.Facts, settings: DatasetSettings) -> list[str]:
    """Return the files of a split in the repository, in order."""
    parts = [found for name in sorted(facts.names) if (found := SPLIT_FILE.fullmatch(name))]
    configs = sorted({part["config"] for part in parts})
    where = f"{facts.repository} at {facts.commit}"
    if not configs:
        raise UserError(
            f"{where} has no Parquet files, as in default/train/0000.parquet; expected a data set "
            "that the hub converts"
        )
    config = settings.config
    if config is None and len(configs) > 1:
        raise UserError(
            f"config is missing: {where} has {len(configs)} configurations, expected one of "
            f"{listed(configs)}"
        )
    config = config or configs[0]
    if config not in configs:
        raise UserError(
            f"config: found '{config}', expected one of {listed(configs)}, which {where} has"
            f"{nearest(config, configs)}"
        )
    parts_of_config = [part for part in parts if part["config"] == config]
    splits = sorted({part["split"] for part in parts_of_config})
    if settings.split not in splits:
        raise UserError(
            f"split: found '{settings.split}', expected one of {listed(splits)}, which {config} of "
            f"{where} has{nearest(settings.split, splits)}"
        )
    parts_of_split = [part for part in parts_of_config if part["split"] == settings.split]
    if any(part["partial"] for part in parts_of_split):
        log.warning("%s: the hub has converted only the first part of %s", where, settings.split)
    return [part[0] for part in parts_of_split]


def _downloaded(
    facts: hub.Facts, files: Sequence[str], read: dict[str, Path]
) -> Iterator[tuple[str, Path]]:
    """Yield files of a repository with their paths in the cache, each downloaded when it is asked.

    ``read`` gets the same.
    """
    for file in files:
        read[file] = hub.downloaded(facts, [glob.escape(file)]) / file
        yield file, read[file]


def _columns(settings: DatasetSettings) -> dict[str, str]:
    """Return the columns with a document's id, group, text and tags, those that are read."""
    names = {key: getattr(settings, key) for key in ("id", "group", "text", "tags")}
    return {key: name for key, name in names.items() if name}


def _write(files: Iterable[tuple[str, Path]], settings: DatasetSettings, path: Path) -> int:
    """Write the columns of the documents in some files to one file; return its number of rows."""
    names = _columns(settings)
    columns = list(dict.fromkeys(names.values()))
    tables_read: list[pa.Table] = []
    rows = 0
    for name, cached in files:
        file = pq.ParquetFile(cached)
        problems = column_problems(file.schema_arrow.names, names)
        problems = problems or column_kind_problems(file.schema_arrow, names)
        if problems:
            raise UserError(f"{name} of {settings.dataset}: {problem}" for problem in problems)
        tables_read.append(file.read(columns=columns))
        rows += len(tables_read[-1])
        if settings.documents is not None and not settings.group and rows >= settings.documents:
            # Later files have none of the first rows.
            break
    # A column may be dictionary-encoded in one file and not in another.
    table = pa.concat_tables(tables_read, promote_options="permissive").unify_dictionaries()
    if settings.documents is not None:
        groups = table[settings.group].to_pylist() if settings.group else [""] * len(table)
        chosen = first_in_turn(dict(enumerate(groups)), settings.documents)
        table = table.take(sorted(chosen))
    tables.write_parts(
        [table.replace_schema_metadata()], table.schema.remove_metadata(), path, dict
    )
    return len(table)
