"""Corpora: documents read from JSON lines, plain text, CSV and Parquet files into one table.

The suffix of a file, before an optional ``.gz`` or ``.zst``, determines its format. Each reader
yields rows, ``(line, values)``, as it reads them. ``read_documents`` checks every row and collects
the problems of all files, so that a user can fix them together.
"""

import hashlib
import itertools
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from dataclasses import field as attribute
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from attnlag.corpus.formats import (
    LONGEST_DOCUMENT,
    LONGEST_NAME,
    PLAIN_TEXT,
    Problems,
    file_rows,
    listed,
    name_parts,
)
from attnlag.corpus.settings import CorpusSettings
from attnlag.errors import UserError, counted, nearest, shown
from attnlag.storage import tables

# Largest number of documents, and of their characters, in memory and in a row group. A longer
# document makes up a batch by itself.
MAX_DOCUMENTS = 250
MAX_CHARACTERS = 500_000

# Largest number of groups that are shown and fitted separately: those with the most documents.
MAX_GROUPS = 24

NO_WORDS = "the text is empty; expected words"
OR_SKIP = ", or empty: skip"

Id = TypeVar("Id", str, int)

SCHEMA = pa.schema(
    [
        ("document", pa.string()),
        ("text", pa.large_string()),
        ("group", pa.dictionary(pa.int32(), pa.string())),
        ("about_tokens", pa.int32()),
    ]
)


class Document(NamedTuple):
    """One text of a corpus, with its unique id and its group (genre or source).

    ``tags`` holds its words with their parts of speech, ``"The/DET cat/NOUN"``, or None if tags
    are not read.
    """

    id: str
    group: str
    text: str
    tags: str | None = None


LEFT_OUT = Document("", "", "")


def read_documents(files: Iterable[str | Path], settings: CorpusSettings) -> Iterator[Document]:
    """Yield the documents of a corpus, in the order of the files and of the rows in them.

    Problems are raised after everything has been read; the documents yielded before are then not to
    be used. Without a field for the id, it is made of the file's name and the row's number; without
    one for the group, it is the file's name. The id of a plain-text file that is one document is
    the name of the file, and its group that of its folder. With ``empty`` ``"skip"``, `LEFT_OUT`
    stands for each document without words, and `Tally.counting` leaves it out. UserError has a line
    for each problem.
    """
    problems = Problems()
    first_places: dict[str, str] = {}
    columns: dict[str, str] = {}
    for key in Document._fields:
        field = getattr(settings, key)
        if field:
            columns[key] = field
    paths = [*map(Path, files)]
    plain = [path for path in paths if name_parts(path)[1] in PLAIN_TEXT]
    if plain and settings.tags is not None:
        others = f" and {counted(len(plain) - 1, 'other file')}" if len(plain) > 1 else ""
        problems.add(
            f"{plain[0]}{others}: no field '{settings.tags}' in plain text; expected tags in a "
            "file of their own, or documents in a format with fields"
        )
    for file in paths:
        problems_before = problems.count
        rows = 0
        stem, suffix, _ = name_parts(file)
        is_plain = suffix in PLAIN_TEXT
        is_document = is_plain and settings.split == "none"
        # The rows of plain text have no fields besides the text.
        fields = {"text": "text"} if is_plain else columns
        for rows, (line, row) in enumerate(file_rows(file, fields, is_document, problems), 1):
            if settings.empty == "skip" and _lacks_words(row.get(fields["text"], "missing")):
                yield LEFT_OUT
                continue
            place = str(file) if line is None else f"{file}:{line}"
            values = {
                "id": stem if is_document else f"{stem}-{rows:06d}",
                "group": (is_document and file.absolute().parent.name) or stem,
            }
            for key, field in fields.items():
                problem = value_problem(key, field, row)
                if problem:
                    way_out = OR_SKIP if problem == NO_WORDS else ""
                    problems.add(f"{place}: {problem}{way_out}")
                values[key] = "" if problem or row[field] is None else str(row[field])
            document = Document(**values)
            if document.id in first_places:
                problems.add(
                    f"{place}: the id {document.id!r} is that of {first_places[document.id]} too; "
                    "expected another for each document"
                )
            elif document.id:
                first_places[document.id] = place
            yield document
        if rows or problems.count > problems_before:
            continue
        if not is_plain:
            problems.add(f"{file}: no document in it; expected at least one")
        elif settings.empty == "skip":
            yield LEFT_OUT
        else:
            problems.add(f"{file}: {NO_WORDS}{OR_SKIP}")
    problems.refuse()


def in_batches(documents: Iterable[Document]) -> Iterator[list[Document]]:
    """Yield the documents in lists that fit in memory, see ``MAX_DOCUMENTS``."""
    batch: list[Document] = []
    characters = 0
    for document in documents:
        characters += len(document.text)
        if batch and (len(batch) == MAX_DOCUMENTS or characters > MAX_CHARACTERS):
            yield batch
            batch = []
            characters = len(document.text)
        batch.append(document)
    if batch:
        yield batch


def write_corpus(
    documents: Iterable[Document],
    settings: CorpusSettings,
    name: str,
    path: str | Path,
    dataset: Mapping[str, Any] | None = None,
) -> "Tally":
    """Store the documents that have words, and return what was counted of all.

    ``tags`` is among the columns only if it is read. The provenance says nothing of the place, but
    has the record of a ``dataset`` of the hub.
    """
    tags = [] if settings.tags is None else [pa.field("tags", pa.large_string())]
    schema = pa.schema([*SCHEMA, *tags])
    tally = Tally()

    def record() -> dict[str, Any]:
        facts = {"digest": tally.digest, "documents": tally.documents, "texts": tally.texts}
        corpus = {"name": name, **facts, "characters": tally.characters}
        if dataset is not None:
            corpus["dataset"] = dict(dataset)
        return tables.provenance({}, "corpus", settings, "pyarrow", corpus=corpus)

    batches = in_batches(tally.counting(documents))
    tables.write_parts((corpus_table(batch, schema) for batch in batches), schema, path, record)
    return tally


def corpus_table(documents: list[Document], schema: pa.Schema = SCHEMA) -> pa.Table:
    """Return the documents with the columns of a schema."""
    texts = pa.array([document.text for document in documents], pa.large_string())
    ids, groups, _, tags = zip(*documents, strict=True) if documents else [()] * 4
    values = {"document": ids, "text": texts, "group": groups, "tags": tags}
    values["about_tokens"] = about_tokens(texts)
    return pa.table({name: values[name] for name in schema.names}, schema=schema)


def about_tokens(texts: pa.Array) -> pa.Array:
    """Return an estimate of the number of tokens of each text: its words and other characters.

    Words are runs of the letters A to Z. The number of characters would be a worse estimate: a
    token has four of them in prose, but one in a table or in Chinese. The exact number would need
    every shard to tokenize the whole corpus.
    """
    return pc.add(pc.count_substring_regex(texts, r"[A-Za-z]+|[^A-Za-z\s]"), 1).cast(pa.int32())


def group_by_document(path: str | Path) -> dict[str, str]:
    """Return the group of each document of a stored corpus, in the order of the corpus."""
    table = pq.read_table(path, columns=["document", "group"])
    return dict(zip(table["document"].to_pylist(), table["group"].to_pylist(), strict=True))


def largest_groups(group_of: Mapping[str, str]) -> list[str]:
    """Return the ``MAX_GROUPS`` groups with the most documents, in the order of the corpus."""
    sizes = Counter(group_of.values())
    # Among groups of equal size, the first ones are kept.
    largest = dict(sizes.most_common(MAX_GROUPS))
    return [group for group in sizes if group in largest]


def first_of_groups(path: str | Path, count: int | Literal["all"]) -> list[str]:
    """Return the ids of at most ``count`` documents, taking one of each group in turn; or of all.

    All are in the order of the corpus.
    """
    groups = group_by_document(path)
    if count == "all":
        return list(groups)
    return first_in_turn(groups, count)


def first_in_turn(group_of: Mapping[Id, Any], count: int) -> list[Id]:
    """Return at most ``count`` ids, taking one of each group in turn, given the group of each."""
    ids_by_group: dict[Any, list[Id]] = {}
    for document, group in group_of.items():
        ids_by_group.setdefault(group, []).append(document)
    chosen: list[Id] = []
    for one_of_each in itertools.zip_longest(*ids_by_group.values()):
        # An id may be the number 0.
        chosen += [document for document in one_of_each if document is not None]
    return chosen[:count]


def stored_batches(
    path: str | Path, start: int = 0, stop: int = sys.maxsize
) -> Iterator[pa.RecordBatch]:
    """Yield the rows ``start`` to ``stop`` of a stored corpus, one row group at a time."""
    file = pq.ParquetFile(path, pre_buffer=False)
    first = 0
    for group in range(file.num_row_groups):
        end = first + file.metadata.row_group(group).num_rows
        if start < end and first < stop:
            rows = file.read_row_group(group)[max(start - first, 0) : stop - first]
            yield from rows.to_batches()
        first = end


@dataclass
class Tally:
    """Counts over a corpus, updated as its documents pass."""

    documents: int = 0
    characters: int = 0
    empty: int = 0
    groups: set[str] = attribute(default_factory=set)
    # Ids of the documents whose text is that of an earlier one.
    repeated: list[str] = attribute(default_factory=list)
    _texts: set[bytes] = attribute(default_factory=set)
    _sha256: Any = attribute(default_factory=hashlib.sha256)

    def counting(self, documents: Iterable[Document]) -> Iterator[Document]:
        """Yield the documents that have words, and count all.

        Raise UserError after the last document if all lack words.
        """
        for document in documents:
            if document is LEFT_OUT:
                self.empty += 1
                continue
            self.documents += 1
            self.characters += len(document.text)
            self.groups.add(document.group)
            text = hashlib.blake2b(document.text.encode(), digest_size=16).digest()
            if text in self._texts:
                self.repeated.append(document.id)
            self._texts.add(text)
            for value in document:
                if value is not None:
                    encoded = value.encode()
                    self._sha256.update(len(encoded).to_bytes(8, "little"))
                    self._sha256.update(encoded)
            yield document
        if self.empty and not self.documents:
            raise UserError("found only documents without words, expected words in one at least")

    @property
    def texts(self) -> int:
        """The number of different texts."""
        return self.documents - len(self.repeated)

    @property
    def notice(self) -> str | None:
        """A warning if texts occur more than once, otherwise None."""
        if not self.repeated:
            return None
        return (
            f"{counted(len(self.repeated), 'document')}, '{self.repeated[0]}' the first, with the "
            "text of an earlier one; expected different texts: errors take documents to be "
            "independent"
        )

    @property
    def summary(self) -> str:
        """A phrase such as ``128 documents in 13 groups, 112,345 characters``."""
        empty = f"; {counted(self.empty, 'document')} without words left out" if self.empty else ""
        documents = f"{counted(self.documents, 'document')} in {counted(len(self.groups), 'group')}"
        return f"{documents}, {counted(self.characters, 'character')}{empty}"

    @property
    def digest(self) -> str:
        """The SHA-256 of all ids, groups and texts, each preceded by its length in bytes."""
        return self._sha256.hexdigest()


def shards_problem(name: str, shards: int, documents: int) -> str | None:
    """Return the problem of a corpus with fewer documents than shards, otherwise None."""
    if shards <= documents:
        return None
    return (
        f"corpora.{name}.shards: found {shards:,}, expected at most {documents:,}: the corpus has "
        f"{counted(documents, 'document')}"
    )


def _lacks_words(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def value_problem(key: str, field: str, row: Mapping[str, Any]) -> str | None:
    """Return why ``row[field]`` cannot be a document's id, group, text or tags; None if it can."""
    if field not in row:
        return f"no field '{field}'; found {listed(row)}{nearest(field, row)}"
    value = row[field]
    if key == "tags" and value in (None, ""):
        return None  # The document has no tags.
    if _lacks_words(value):
        return NO_WORDS if key == "text" else f"the {key} is empty; expected a value"
    is_name = key in ("id", "group")
    # True and False are integers to Python, not to a user.
    number = isinstance(value, int) and not isinstance(value, bool)
    if not (isinstance(value, str) or (is_name and number)):
        expected = "a string or a whole number" if is_name else "a string"
        return f"the {key} is {shown(value)}; expected {expected}"
    longest = LONGEST_NAME if is_name else LONGEST_DOCUMENT
    if isinstance(value, str) and len(value) > longest:
        return f"the {key} has {len(value):,} characters; expected at most {longest:,}"
    try:
        str(value).encode()
    except UnicodeEncodeError as error:
        # JSON can escape half of a surrogate pair, which no UTF-8 file can hold.
        return (
            f"the {key} has {value[error.start]!a} as its character {error.start + 1:,}, "
            "half of a surrogate pair; expected whole characters"
        )
    return None
